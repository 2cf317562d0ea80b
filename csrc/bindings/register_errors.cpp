#include "engine/model.h"
#include "register.h"
#include "text.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <exception>
#include <new>
#include <stdexcept>

namespace py = pybind11;

static void raise(const char * name, const std::exception & error) {
    py::object type = py::module_::import("rys.errors").attr(name);
    PyErr_SetObject(type.ptr(), decode_text(error.what()).ptr());
}

// All that C++ throws becomes an error of rys here, but for what pybind11 itself throws: IndexError, TypeError and so on.
static void translate(std::exception_ptr pointer) {
    try {
        std::rethrow_exception(pointer);
    } catch (const py::builtin_exception &) {
        throw;
    } catch (const py::error_already_set &) {
        throw;
    } catch (const rys::layer_path_error & error) {
        raise("LayerPathError", error);
    } catch (const rys::unsupported_architecture_error & error) {
        raise("UnsupportedArchitectureError", error);
    } catch (const rys::request_error & error) {
        raise("RequestError", error);
    } catch (const std::bad_alloc &) {
        raise("EngineError", std::runtime_error("there is not enough memory"));
    } catch (const std::exception & error) {
        raise("EngineError", error);
    }
}

static py::typing::List<py::typing::Tuple<py::int_, py::str>> drain_log() {
    py::typing::List<py::typing::Tuple<py::int_, py::str>> lines;
    for (const auto & [level, text] : rys::drain_log()) {
        lines.append(py::make_tuple(level, decode_text(text)));
    }
    return lines;
}

void register_errors(py::module_ & m) {
    py::register_local_exception_translator(&translate);

    m.def("set_log_level", &rys::set_log_level, py::arg("level"),
          "Keep llama.cpp's log lines of at least this ggml_log_level: 1 debug, 2 info, 3 warning, 4 error.");
    m.def("drain_log", &drain_log, "Take the kept log lines, oldest first: (ggml_log_level, text).");
}
