#pragma once

// A llama_context that can be interrupted, and whose failures are exceptions.

#include "model.h"

#include <chrono>

namespace rys {

struct context_params {
    uint32_t n_ctx           = 4096;  // cells of the KV cache, shared by all sequences
    uint32_t n_batch         = 2048;
    uint32_t n_ubatch        = 512;
    uint32_t n_seq_max       = 64;
    int32_t  n_threads       = 1;
    int32_t  n_threads_batch = 1;
    int32_t  flash_attn      = LLAMA_FLASH_ATTN_TYPE_AUTO;
    int32_t  type_k          = GGML_TYPE_F16;
    int32_t  type_v          = GGML_TYPE_F16;
    bool     offload_kqv     = true;
    bool     op_offload      = true;
    bool     swa_full        = false;

    int32_t  rope_scaling_type = LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED;
    float    rope_freq_base    = 0.0f;
    float    rope_freq_scale   = 0.0f;
    float    yarn_ext_factor   = -1.0f;
    float    yarn_attn_factor  = -1.0f;
    float    yarn_beta_fast    = -1.0f;
    float    yarn_beta_slow    = -1.0f;
    uint32_t yarn_orig_ctx     = 0;
};

class context {
  public:
    // n_outputs_max: rows of logits that a batch may ask for, 0 = what fits into 64 MiB.
    // Throws engine_error if llama.cpp cannot make the context.
    context(std::shared_ptr<const model> model, const context_params & params, uint32_t n_outputs_max = 0);
    ~context();

    context(const context &)             = delete;
    context & operator=(const context &) = delete;

    const rys::model & source() const { return *model_; }

    std::shared_ptr<const model> shared_source() const { return model_; }

    llama_context * get() const { return ctx_.get(); }

    llama_memory_t memory() const { return llama_get_memory(ctx_.get()); }

    uint32_t n_ctx() const { return llama_n_ctx(ctx_.get()); }

    uint32_t n_seq_max() const { return params_.n_seq_max; }

    uint32_t n_batch() const { return llama_n_batch(ctx_.get()); }  // llama.cpp lowers it to n_ctx

    uint32_t n_outputs_max() const { return n_outputs_max_; }

    // After an exception that left llama.cpp in an unknown state the context must be thrown away.
    bool is_broken() const { return broken_; }

    void set_broken() { broken_ = true; }

    // Compute a batch. Throws interrupted (the memory then holds a part of the batch), no_room_error or
    // another engine_error.
    void decode(const llama_batch & batch, const interrupt_fn & interrupt);

  private:
    bool should_stop();

    std::shared_ptr<const model> model_;  // outlives the context
    context_params               params_;
    uint32_t                     n_outputs_max_;
    llama_context_ptr            ctx_;
    bool                         broken_ = false;

    const interrupt_fn *                  interrupt_ = nullptr;
    std::chrono::steady_clock::time_point next_check_;
};

// Rows of logits that a batch may ask for: each is n_vocab floats, in the compute buffer and in the output buffer.
uint32_t max_outputs(const model & model, const context_params & params);

}  // namespace rys
