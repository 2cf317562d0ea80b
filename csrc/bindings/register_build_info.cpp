#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"
#include "register.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#ifdef GGML_BACKEND_DL
#    include <dlfcn.h>

#    include <filesystem>
#endif

namespace py = pybind11;

// with GGML_BACKEND_DL the backends are modules beside libllama, where ggml does not look by itself
static void load_backends() {
#ifdef GGML_BACKEND_DL
    static const bool loaded = [] {
        Dl_info info;
        if (dladdr(reinterpret_cast<void *>(&llama_version), &info) != 0) {
            ggml_backend_load_all_from_path(std::filesystem::path(info.dli_fname).parent_path().c_str());
        }
        return true;
    }();
    (void) loaded;
#endif
}

static const char * device_type_name(enum ggml_backend_dev_type type) {
    switch (type) {
        case GGML_BACKEND_DEVICE_TYPE_CPU:
            return "cpu";
        case GGML_BACKEND_DEVICE_TYPE_GPU:
            return "gpu";
        case GGML_BACKEND_DEVICE_TYPE_IGPU:
            return "igpu";
        case GGML_BACKEND_DEVICE_TYPE_ACCEL:
            return "accel";
        case GGML_BACKEND_DEVICE_TYPE_META:
            return "meta";
    }
    return "unknown";
}

using info_dict = py::typing::Dict<py::str, py::object>;

static info_dict device_info(ggml_backend_dev_t device) {
    ggml_backend_dev_props props;
    {
        // the first question to a GPU starts its driver, which can take seconds
        py::gil_scoped_release release;
        ggml_backend_dev_get_props(device, &props);
    }
    info_dict result;
    result["name"]         = props.name;
    result["description"]  = props.description;
    result["type"]         = device_type_name(props.type);
    result["memory_free"]  = props.memory_free;
    result["memory_total"] = props.memory_total;
    return result;
}

static info_dict build_info() {
    py::list backends;
    for (size_t i = 0; i < ggml_backend_reg_count(); i++) {
        backends.append(ggml_backend_reg_name(ggml_backend_reg_get(i)));
    }
    py::list devices;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        devices.append(device_info(ggml_backend_dev_get(i)));
    }
    info_dict result;
    result["llama_cpp_version"] = llama_version();
    result["llama_cpp_commit"]  = RYS_LLAMA_CPP_COMMIT;
    result["llama_cpp_origin"]  = RYS_LLAMA_CPP_ORIGIN;
    result["ggml_version"]      = ggml_version();
    result["system_info"]       = llama_print_system_info();
    result["backends"]          = backends;
    result["devices"]           = devices;
    return result;
}

void register_build_info(py::module_ & m) {
    load_backends();

    m.def("build_info", &build_info,
          "Return what was compiled in, and the devices that are there now; memory in bytes.");
}
