#pragma once

#include <pybind11/pybind11.h>

#include <string>

// Text that may quote a file, which is untrusted: bytes that are not UTF-8 become U+FFFD.
inline pybind11::str decode_text(const std::string & text) {
    PyObject * decoded = PyUnicode_DecodeUTF8(text.data(), text.size(), "replace");
    if (decoded == nullptr) {
        throw pybind11::error_already_set();
    }
    return pybind11::reinterpret_steal<pybind11::str>(decoded);
}
