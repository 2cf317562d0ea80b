#pragma once

#include <pybind11/numpy.h>

#include <utility>
#include <vector>

// an array with a copy of the values
inline pybind11::array_t<float> copy_to_array(const std::vector<float> & values) {
    return pybind11::array_t<float>(values.size(), values.data());
}

// an array that owns the values, which are not copied
inline pybind11::array_t<float> move_to_array(std::vector<float> && values, std::vector<pybind11::ssize_t> shape) {
    auto *            owned = new std::vector<float>(std::move(values));
    pybind11::capsule owner(owned, [](void * pointer) { delete static_cast<std::vector<float> *>(pointer); });
    return pybind11::array_t<float>(std::move(shape), owned->data(), owner);
}
