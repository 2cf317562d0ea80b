#include "tokenizer.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <cstring>
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

// Without scores SentencePiece merges as it happens to, and without types no control token is known.
static py::typing::List<py::str> missing_keys(const rys::model & model) {
    if (!model.has_tokenizer()) {
        return {};
    }
    const llama_vocab * vocab = model.vocab();

    // a normal token that llama.cpp takes for one of control, by its text, is both
    const auto is_normal = [&](llama_token token) {
        return llama_vocab_get_attr(vocab, token) & (LLAMA_TOKEN_ATTR_NORMAL | LLAMA_TOKEN_ATTR_UNUSED);
    };
    bool has_scores = false;
    bool has_types  = false;
    int  n_words    = 0;  // of several characters, into which others are merged
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); token++) {
        const char * text     = llama_vocab_get_text(vocab, token);
        // the bytes of a character after its first are 10xxxxxx
        const auto   is_first = [](char byte) {
            return (byte & 0xC0) != 0x80;
        };
        has_scores = has_scores || llama_vocab_get_score(vocab, token) != 0.0f;
        has_types  = has_types || !is_normal(token);
        n_words += is_normal(token) && std::count_if(text, text + strlen(text), is_first) > 1;
    }

    py::typing::List<py::str> result;
    const auto                type = llama_vocab_type(vocab);
    if (type == LLAMA_VOCAB_TYPE_SPM && has_types && n_words > 10 && !has_scores) {
        result.append("tokenizer.ggml.scores");
    }
    if ((type == LLAMA_VOCAB_TYPE_SPM || type == LLAMA_VOCAB_TYPE_BPE) && !has_types) {
        result.append("tokenizer.ggml.token_type");
    }
    if (type == LLAMA_VOCAB_TYPE_BPE && llama_model_meta_val_str(model.get(), "tokenizer.ggml.pre", nullptr, 0) < 0) {
        result.append("tokenizer.ggml.pre");
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
        .def("missing_keys", &missing_keys,
             "Return the keys of the file without which llama.cpp cuts texts into tokens in a way of its own.")
        .def("tokenize", &tokenize, py::arg("text"), py::arg("add_special"), py::arg("parse_special"))
        .def("detokenize", &detokenize, py::arg("tokens"), py::arg("remove_special"), py::arg("unparse_special"))
        .def("token_piece", &token_piece, py::arg("token"));
}
