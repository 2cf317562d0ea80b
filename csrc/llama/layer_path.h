#pragma once

// A layer path is the sequence of layers of the file that a forward pass visits, slot by slot. A view is a llama_model
// that runs another model's layers along such a path: the tensors are shared, every slot owns its KV cache or
// recurrent state.

#include "llama.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// Return why layer paths cannot be right for the model's architecture, or an empty string when they can.
LLAMA_API std::string llama_layer_path_unsupported(const llama_model & model);

// Return why the model cannot run along the path, or an empty string when it can. The reasons are those of the
// architecture (cross-layer state) and of llama.cpp (number of slots, layer indices out of range).
LLAMA_API std::string llama_layer_path_check(const llama_model & model, const std::vector<uint32_t> & path);

struct llama_model_view_deleter {
    LLAMA_API void operator()(llama_model * view) const;
};

typedef std::unique_ptr<llama_model, llama_model_view_deleter> llama_model_view_ptr;

// Make a view of the model along the path. The model must not be a view itself and must outlive the view, together
// with the LoRA adapters that it has loaded. MTP layers stay behind the path.
// Throws std::invalid_argument with the text of llama_layer_path_check() if the model cannot run along the path.
LLAMA_API llama_model_view_ptr llama_model_init_view(const llama_model & model, const std::vector<uint32_t> & path);
