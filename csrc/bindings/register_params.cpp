#include "engine/context.h"
#include "engine/model.h"
#include "register.h"

#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>

namespace py = pybind11;

void register_params(py::module_ & m) {
    using namespace rys;

    py::class_<context_params>(m, "ContextParams")
        .def(py::init<>())
        .def(py::init<const context_params &>(), py::arg("other"), "Copy.")
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
        .def_readwrite("metadata_only", &weights_params::metadata_only)
        .def(
            "add_lora",
            [](weights_params & self, const std::filesystem::path & path, float scale) {
                self.loras.emplace_back(path.string(), scale);
            },
            py::arg("path"), py::arg("scale"));
}
