#pragma once

// The methods of Model that turn text into tokens and back.

#include "engine/model.h"

#include <pybind11/pybind11.h>

#include <memory>

using model_class = pybind11::class_<rys::model, std::shared_ptr<rys::model>>;

void define_tokenizer(model_class & type);
