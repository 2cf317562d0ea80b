#pragma once

// Loaded weights, and a model that runs them along a layer path.

#include "guard.h"
#include "llama-cpp.h"
#include "llama/layer_path.h"
#include "token_texts.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace rys {

// a path that the model cannot run along; the text is the reason
struct layer_path_error : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

// a model that cannot run along any path but the order of the file; the text is the reason
struct unsupported_architecture_error : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

struct weights_params {
    std::vector<std::string> devices;      // ggml device names, empty = all that there are

    int32_t            n_gpu_layers = -1;  // -1 = all
    int32_t            split_mode   = LLAMA_SPLIT_MODE_LAYER;
    int32_t            main_gpu     = 0;
    std::vector<float> tensor_split;
    bool               use_mmap      = true;
    bool               use_mlock     = false;
    bool               check_tensors = false;
    bool               metadata_only = false;          // no tensor data: a model to ask, not to run

    std::vector<std::pair<std::string, float>> loras;  // path, scale

    // progress in [0, 1]; returns false to stop loading
    std::function<bool(float)> progress;
};

// The weights of one file, or of one set of split files. Shared by all models that run them.
class weights {
  public:
    // Throws engine_error with llama.cpp's own last error line, and interrupted if `progress` returned false.
    weights(const std::string & path, const weights_params & params);

    llama_model * base() const { return base_.get(); }

    const std::vector<llama_adapter_lora *> & loras() const { return loras_; }

    const std::vector<float> & lora_scales() const { return lora_scales_; }

    // the texts of the vocabulary; made when they are first asked for
    const rys::token_texts & token_texts() const;

    // whether paths along these weights are possible with the way they are split over the devices
    bool is_tensor_split() const { return tensor_split_; }

  private:
    llama_model_ptr                   base_;
    std::vector<llama_adapter_lora *> loras_;  // owned by base_
    std::vector<float>                lora_scales_;
    bool                              tensor_split_;

    mutable std::once_flag                    texts_made_;
    mutable std::unique_ptr<rys::token_texts> texts_;
};

// Weights and the order in which to run them.
class model {
  public:
    // An empty path means the order of the file. Throws layer_path_error or unsupported_architecture_error.
    model(std::shared_ptr<const weights> weights, const std::vector<uint32_t> & path);

    const llama_model * get() const { return view_ ? view_.get() : weights_->base(); }

    const llama_vocab * vocab() const { return llama_model_get_vocab(weights_->base()); }

    const rys::weights & source() const { return *weights_; }

    bool     has_tokenizer() const;
    bool     has_memory() const;  // can generate token by token
    uint32_t n_pos_max() const;   // rows of the learned position table, 0 = there is none
    uint32_t n_stream() const;    // parallel residual streams of n_embd each
    uint32_t n_vocab() const;

  private:
    std::shared_ptr<const weights> weights_;  // outlives the view
    llama_model_view_ptr           view_;
};

}  // namespace rys
