#include "arrays.h"
#include "engine/evaluation.h"
#include "engine/memory_bytes.h"
#include "interrupt.h"
#include "llama-model.h"
#include "register.h"
#include "text.h"
#include "tokenizer.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <optional>

namespace py = pybind11;

static py::str description(const rys::model & model) {
    char text[256];
    llama_model_desc(model.get(), text, sizeof(text));
    return decode_text(text);
}

using float_array = py::array_t<float, py::array::c_style | py::array::forcecast>;

using evaluated = py::typing::Tuple<py::object, py::object>;

static evaluated evaluate(std::shared_ptr<const rys::model>  model,
                          const rys::context_params &        params,
                          const std::vector<llama_token> &   tokens,
                          const std::optional<float_array> & embd,
                          bool                               logits,
                          bool                               hidden) {
    const int64_t n_embd = llama_model_n_embd(model->get());

    std::vector<float> stream;
    if (embd) {
        if (embd->ndim() != 2 || embd->shape(1) != n_embd) {
            throw rys::request_error("the residual stream must have the shape [n_tokens, " + std::to_string(n_embd) +
                                     "]");
        }
        stream.assign(embd->data(), embd->data() + embd->size());
    }
    rys::evaluation result = run_interruptible([&](const rys::interrupt_fn & interrupt) {
        return rys::evaluation::run(model, params, tokens, stream, logits, hidden, interrupt);
    });

    const py::ssize_t n_tokens = embd ? embd->shape(0) : tokens.size();
    const py::ssize_t n_slot   = llama_model_n_layer(model->get());
    return py::make_tuple(
        logits ? py::object(move_to_array(std::move(result.logits), { n_tokens, (py::ssize_t) model->n_vocab() })) :
                 py::none(),
        hidden ? py::object(move_to_array(std::move(result.hidden),
                                          { n_slot + 1, n_tokens, n_embd * (py::ssize_t) model->n_stream() })) :
                 py::none());
}

void register_model(py::module_ & m) {
    using namespace rys;

    model_class type(m, "Model");
    type.def(py::init<std::shared_ptr<const weights>, const std::vector<uint32_t> &>(), py::arg("weights"),
             py::arg("path"))
        .def_property_readonly("n_slot", [](const model & self) { return llama_model_n_layer(self.get()); })
        .def_property_readonly("n_vocab", &model::n_vocab)
        .def_property_readonly("n_embd", [](const model & self) { return llama_model_n_embd(self.get()); })
        .def_property_readonly("n_ctx_train", [](const model & self) { return llama_model_n_ctx_train(self.get()); })
        .def_property_readonly("n_pos_max", &model::n_pos_max)
        .def_property_readonly("size", [](const model & self) { return llama_model_size(self.get()); })
        .def_property_readonly("description", &description)
        .def_property_readonly("has_memory", &model::has_memory)
        .def_property_readonly("has_decoder", [](const model & self) { return llama_model_has_decoder(self.get()); })
        .def_property_readonly("is_recurrent",
                               [](const model & self) {
                                   return llama_model_is_recurrent(self.get()) || llama_model_is_hybrid(self.get());
                               })
        .def_property_readonly("is_diffusion", [](const model & self) { return llama_model_is_diffusion(self.get()); })
        .def(
            "memory_bytes",
            [](const model & self, const context_params & params) {
                py::gil_scoped_release release;  // sets up the bookkeeping of every token
                return memory_bytes(self, params);
            },
            py::arg("params"), "Return the bytes of KV cache and recurrent state that a Context would have.")
        .def("evaluate", &evaluate, py::arg("params"), py::arg("tokens"), py::arg("embd"), py::arg("logits"),
             py::arg("hidden"),
             "Run one sequence in a context of its own: (logits [T, V] or None, residual stream [n_slot + 1, T, D] or "
             "None).");

    define_tokenizer(type);
}
