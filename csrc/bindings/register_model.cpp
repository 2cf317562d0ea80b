#include "engine/context.h"
#include "interrupt.h"
#include "llama-model.h"
#include "register.h"
#include "text.h"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>
#include <pybind11/typing.h>

#include <filesystem>
#include <optional>

namespace py = pybind11;

static std::shared_ptr<rys::weights> load(const std::filesystem::path &                                  path,
                                          rys::weights_params                                            params,
                                          const std::optional<py::typing::Callable<py::object(float)>> & progress) {
    std::exception_ptr error;

    params.progress = [&](float fraction) {
        py::gil_scoped_acquire acquire;
        try {
            if (progress) {
                (*progress)(fraction);
            }
            if (PyErr_CheckSignals() != 0) {
                throw py::error_already_set();
            }
        } catch (...) {
            error = std::current_exception();  // must not pass through llama.cpp, which would log and drop it
            return false;
        }
        return true;
    };
    try {
        py::gil_scoped_release release;  // reading the file takes its time
        return std::make_shared<rys::weights>(path.string(), params);
    } catch (const rys::interrupted &) {
        std::rethrow_exception(error);
    }
}

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

static py::str description(const rys::model & model) {
    char text[256];
    llama_model_desc(model.get(), text, sizeof(text));
    return decode_text(text);
}

using float_array = py::array_t<float, py::array::c_style | py::array::forcecast>;

// hand a vector over to numpy without a copy
static py::array_t<float> to_array(std::vector<float> && values, std::vector<py::ssize_t> shape) {
    auto *      owned = new std::vector<float>(std::move(values));
    py::capsule owner(owned, [](void * pointer) { delete static_cast<std::vector<float> *>(pointer); });
    return py::array_t<float>(std::move(shape), owned->data(), owner);
}

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
        logits ? py::object(to_array(std::move(result.logits), { n_tokens, (py::ssize_t) model->n_vocab() })) :
                 py::none(),
        hidden ? py::object(to_array(std::move(result.hidden),
                                     { n_slot + 1, n_tokens, n_embd * (py::ssize_t) model->n_stream() })) :
                 py::none());
}

// what a layer of the file mixes tokens with, as llama.cpp's caches see it
struct layer_description {
    bool     has_attention;
    bool     has_window;
    bool     has_kv;  // of its own, and not another layer's
    bool     is_recurrent;
    uint32_t n_head;
    uint32_t n_head_kv;
};

static std::vector<layer_description> describe_layers(const rys::weights & weights) {
    const llama_model &   model   = *weights.base();
    const llama_hparams & hparams = model.hparams;

    std::vector<layer_description> layers;
    for (uint32_t il = 0; il < hparams.n_layer_all; ++il) {
        layers.push_back({
            /* has_attention */ !hparams.is_recr(il) || model.arch == LLM_ARCH_FALCON_H1,  // which has both
            /* has_window    */ hparams.swa_type != LLAMA_SWA_TYPE_NONE && hparams.is_swa(il),
            /* has_kv        */ hparams.has_kv(il),
            /* is_recurrent  */ hparams.is_recr(il),
            /* n_head        */ hparams.n_head(il),
            /* n_head_kv     */ hparams.n_head_kv(il),
        });
    }
    return layers;
}

void register_model(py::module_ & m) {
    using namespace rys;

    py::class_<context_params>(m, "ContextParams")
        .def(py::init<>())
        .def_readwrite("n_ctx", &context_params::n_ctx)
        .def_readwrite("n_batch", &context_params::n_batch)
        .def_readwrite("n_ubatch", &context_params::n_ubatch)
        .def_readwrite("n_seq_max", &context_params::n_seq_max)
        .def_readwrite("n_threads", &context_params::n_threads)
        .def_readwrite("n_threads_batch", &context_params::n_threads_batch)
        .def_readwrite("flash_attn", &context_params::flash_attn)
        .def_readwrite("type_k", &context_params::type_k)
        .def_readwrite("type_v", &context_params::type_v)
        .def_readwrite("offload_kqv", &context_params::offload_kqv)
        .def_readwrite("op_offload", &context_params::op_offload)
        .def_readwrite("swa_full", &context_params::swa_full)
        .def_readwrite("rope_scaling_type", &context_params::rope_scaling_type)
        .def_readwrite("rope_freq_base", &context_params::rope_freq_base)
        .def_readwrite("rope_freq_scale", &context_params::rope_freq_scale)
        .def_readwrite("yarn_ext_factor", &context_params::yarn_ext_factor)
        .def_readwrite("yarn_attn_factor", &context_params::yarn_attn_factor)
        .def_readwrite("yarn_beta_fast", &context_params::yarn_beta_fast)
        .def_readwrite("yarn_beta_slow", &context_params::yarn_beta_slow)
        .def_readwrite("yarn_orig_ctx", &context_params::yarn_orig_ctx);

    py::class_<weights_params>(m, "WeightsParams")
        .def(py::init<>())
        .def_readwrite("devices", &weights_params::devices)
        .def_readwrite("n_gpu_layers", &weights_params::n_gpu_layers)
        .def_readwrite("split_mode", &weights_params::split_mode)
        .def_readwrite("main_gpu", &weights_params::main_gpu)
        .def_readwrite("tensor_split", &weights_params::tensor_split)
        .def_readwrite("use_mmap", &weights_params::use_mmap)
        .def_readwrite("use_mlock", &weights_params::use_mlock)
        .def_readwrite("check_tensors", &weights_params::check_tensors)
        .def_readwrite("load_mtp", &weights_params::load_mtp)
        .def_readwrite("metadata_only", &weights_params::metadata_only)
        .def(
            "add_lora",
            [](weights_params & self, const std::filesystem::path & path, float scale) {
                self.loras.emplace_back(path.string(), scale);
            },
            py::arg("path"), py::arg("scale"));

    py::class_<layer_description>(m, "LayerDescription")
        .def_readonly("has_attention", &layer_description::has_attention)
        .def_readonly("has_window", &layer_description::has_window)
        .def_readonly("has_kv", &layer_description::has_kv)
        .def_readonly("is_recurrent", &layer_description::is_recurrent)
        .def_readonly("n_head", &layer_description::n_head)
        .def_readonly("n_head_kv", &layer_description::n_head_kv);

    py::class_<weights, std::shared_ptr<weights>>(m, "Weights")
        .def(py::init(&load), py::arg("path"), py::arg("params"), py::arg("progress") = py::none())
        .def_property_readonly("architecture",
                               [](const weights & self) { return decode_text(self.base()->arch_name()); })
        .def_property_readonly("n_layer", [](const weights & self) { return llama_model_n_layer(self.base()); })
        .def_property_readonly("n_layer_nextn",
                               [](const weights & self) { return llama_model_n_layer_nextn(self.base()); })
        .def_property_readonly("layers", &describe_layers, "Of all layers, the MTP layers last.")
        .def_property_readonly("file_type",
                               [](const weights & self) { return llama_ftype_name(llama_model_ftype(self.base())); })
        .def_property_readonly("is_tensor_split", &weights::is_tensor_split)
        .def_property_readonly("is_causal", [](const weights & self) { return self.base()->hparams.causal_attn; })
        .def(
            "path_unsupported", [](const weights & self) { return llama_layer_path_unsupported(*self.base()); },
            "Return why no layer path is possible for the architecture, or an empty string.")
        .def(
            "check_path",
            [](const weights & self, const std::vector<uint32_t> & path) {
                return llama_layer_path_check(*self.base(), path);
            },
            py::arg("path"), "Return why this layer path is not possible, or an empty string.");

    py::class_<model, std::shared_ptr<model>>(m, "Model")
        .def(py::init<std::shared_ptr<const weights>, const std::vector<uint32_t> &>(), py::arg("weights"),
             py::arg("path"))
        .def_property_readonly("n_slot", [](const model & self) { return llama_model_n_layer(self.get()); })
        .def_property_readonly("n_vocab", &model::n_vocab)
        .def_property_readonly("n_embd", [](const model & self) { return llama_model_n_embd(self.get()); })
        .def_property_readonly("n_ctx_train", [](const model & self) { return llama_model_n_ctx_train(self.get()); })
        .def_property_readonly("n_pos_max", &model::n_pos_max)
        .def_property_readonly("n_stream", &model::n_stream)
        .def_property_readonly("size", [](const model & self) { return llama_model_size(self.get()); })
        .def_property_readonly("n_params", [](const model & self) { return llama_model_n_params(self.get()); })
        .def_property_readonly("description", &description)
        .def_property_readonly("has_tokenizer", &model::has_tokenizer)
        .def_property_readonly("has_memory", &model::has_memory)
        .def_property_readonly("has_encoder", [](const model & self) { return llama_model_has_encoder(self.get()); })
        .def_property_readonly("has_decoder", [](const model & self) { return llama_model_has_decoder(self.get()); })
        .def_property_readonly("is_recurrent",
                               [](const model & self) {
                                   return llama_model_is_recurrent(self.get()) || llama_model_is_hybrid(self.get());
                               })
        .def_property_readonly("is_diffusion", [](const model & self) { return llama_model_is_diffusion(self.get()); })
        .def_property_readonly("add_bos", [](const model & self) { return llama_vocab_get_add_bos(self.vocab()); })
        .def_property_readonly("add_eos", [](const model & self) { return llama_vocab_get_add_eos(self.vocab()); })
        .def(
            "memory_bytes",
            [](const model & self, const context_params & params) {
                py::gil_scoped_release release;  // sets up the bookkeeping of every token
                return memory_bytes(self, params);
            },
            py::arg("params"), "Return the bytes of KV cache and recurrent state that a Context would have.")
        .def("special_tokens", &special_tokens)
        .def(
            "is_eog", [](const model & self, llama_token token) { return llama_vocab_is_eog(self.vocab(), token); },
            py::arg("token"))
        .def("tokenize", &tokenize, py::arg("text"), py::arg("add_special"), py::arg("parse_special"))
        .def("detokenize", &detokenize, py::arg("tokens"), py::arg("remove_special"), py::arg("unparse_special"))
        .def("token_piece", &token_piece, py::arg("token"))
        .def("evaluate", &evaluate, py::arg("params"), py::arg("tokens"), py::arg("embd"), py::arg("logits"),
             py::arg("hidden"),
             "Run one sequence in a context of its own: (logits [T, V] or None, residual stream [n_slot + 1, T, D] or "
             "None).");

    py::class_<context, std::shared_ptr<context>>(m, "Context")
        .def(py::init([](std::shared_ptr<const model> model, const context_params & params) {
                 py::gil_scoped_release release;  // allocates and plans the graph
                 return std::make_shared<context>(std::move(model), params);
             }),
             py::arg("model"), py::arg("params"))
        .def_property_readonly("n_ctx", &context::n_ctx)
        .def_property_readonly("is_broken", &context::is_broken);
}
