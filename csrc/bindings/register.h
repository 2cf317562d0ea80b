#pragma once

#include <pybind11/pybind11.h>

// one function per topic, each in a file of its name
void register_errors(pybind11::module_ & m);
void register_build_info(pybind11::module_ & m);
void register_gguf(pybind11::module_ & m);
void register_params(pybind11::module_ & m);
void register_weights(pybind11::module_ & m);
void register_model(pybind11::module_ & m);
void register_context(pybind11::module_ & m);
void register_requests(pybind11::module_ & m);
void register_scheduler(pybind11::module_ & m);
