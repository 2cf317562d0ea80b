#include "engine/model.h"
#include "llama-model.h"
#include "register.h"
#include "text.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>
#include <pybind11/typing.h>

#include <exception>
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

void register_weights(py::module_ & m) {
    using namespace rys;

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
}
