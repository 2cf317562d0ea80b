#include "tokenizer.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <string>
#include <vector>

namespace py = pybind11;

static std::vector<llama_token> tokenize(const rys::model & model,
                                         const py::bytes &  bytes,
                                         bool               add_special,
                                         bool               parse_special) {
    const std::string text = bytes;
    if (text.size() > INT32_MAX) {
        throw rys::request_error("the text is longer than 2 GiB");
    }
    py::gil_scoped_release release;  // a book takes a second

    rys::guard guard(/* single_threaded */ true);

    std::vector<llama_token> tokens(text.size() + 16);
    int32_t n = llama_tokenize(model.vocab(), text.data(), text.size(), tokens.data(), tokens.size(), add_special,
                               parse_special);
    if (n < 0) {
        tokens.resize(-n);
        n = llama_tokenize(model.vocab(), text.data(), text.size(), tokens.data(), tokens.size(), add_special,
                           parse_special);
    }
    tokens.resize(n);
    return tokens;
}

static py::bytes detokenize(const rys::model &               model,
                            const std::vector<llama_token> & tokens,
                            bool                             remove_special,
                            bool                             unparse_special) {
    rys::guard guard(/* single_threaded */ true);

    std::string text(tokens.size() * 8 + 16, '\0');
    int32_t n = llama_detokenize(model.vocab(), tokens.data(), tokens.size(), text.data(), text.size(), remove_special,
                                 unparse_special);
    if (n < 0) {
        text.resize(-n);
        n = llama_detokenize(model.vocab(), tokens.data(), tokens.size(), text.data(), text.size(), remove_special,
                             unparse_special);
    }
    return py::bytes(text.data(), n);
}

static py::bytes token_piece(const rys::model & model, llama_token token) {
    if (token < 0 || (uint32_t) token >= model.n_vocab()) {
        throw rys::request_error("token " + std::to_string(token) + " is outside of the vocabulary");
    }
    rys::guard guard(/* single_threaded */ true);

    std::string piece(64, '\0');
    int32_t     n = llama_token_to_piece(model.vocab(), token, piece.data(), piece.size(), 0, /* special */ true);
    if (n < 0) {
        piece.resize(-n);
        n = llama_token_to_piece(model.vocab(), token, piece.data(), piece.size(), 0, true);
    }
    return py::bytes(piece.data(), n);
}

using token_dict = py::typing::Dict<py::str, py::int_>;

static token_dict special_tokens(const rys::model & model) {
    const llama_vocab * vocab = model.vocab();
    py::dict            result;
    const auto          add = [&](const char * name, llama_token token) {
        if (token != LLAMA_TOKEN_NULL) {
            result[name] = token;
        }
    };
    add("bos", llama_vocab_bos(vocab));
    add("eos", llama_vocab_eos(vocab));
    add("eot", llama_vocab_eot(vocab));
    add("sep", llama_vocab_sep(vocab));
    add("nl", llama_vocab_nl(vocab));
    add("pad", llama_vocab_pad(vocab));
    add("mask", llama_vocab_mask(vocab));
    return result;
}

using added_token = py::typing::Tuple<py::int_, py::bytes, py::int_, py::bool_>;

// What is looked for in a text as a whole, before the rest is split into tokens.
static py::typing::List<added_token> added_tokens(const rys::model & model) {
    const llama_vocab * vocab = model.vocab();
    const int           added = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN | LLAMA_TOKEN_ATTR_USER_DEFINED;

    py::typing::List<added_token> result;
    for (llama_token token = 0; model.has_tokenizer() && token < llama_vocab_n_tokens(vocab); token++) {
        const int attr = llama_vocab_get_attr(vocab, token);
        if (attr & added) {
            result.append(py::make_tuple(token, py::bytes(llama_vocab_get_text(vocab, token)), attr,
                                         llama_vocab_is_eog(vocab, token)));
        }
    }
    return result;
}

void define_tokenizer(model_class & type) {
    using rys::model;

    type.def_property_readonly("has_tokenizer", &model::has_tokenizer)
        .def_property_readonly("add_bos", [](const model & self) { return llama_vocab_get_add_bos(self.vocab()); })
        .def_property_readonly("add_eos", [](const model & self) { return llama_vocab_get_add_eos(self.vocab()); })
        .def("special_tokens", &special_tokens)
        .def("added_tokens", &added_tokens,
             "Return (id, text, llama_token_attr, whether it ends an answer) of each control, unknown and user-defined "
             "token.")
        .def("tokenize", &tokenize, py::arg("text"), py::arg("add_special"), py::arg("parse_special"))
        .def("detokenize", &detokenize, py::arg("tokens"), py::arg("remove_special"), py::arg("unparse_special"))
        .def("token_piece", &token_piece, py::arg("token"));
}
