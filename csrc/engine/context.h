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

    // Compute a batch. Throws interrupted (the memory then holds a part of the batch) or engine_error.
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

// Return the bytes of KV cache and recurrent state that a context would have. With weights of metadata only, the KV
// cache is not allocated. Throws request_error if a cache type does not fit the heads, engine_error if llama.cpp fails.
uint64_t memory_bytes(const model & model, const context_params & params);

// One sequence in one pass, in a context of its own: the logits and, if asked for, the residual stream of every token.
// For models without a KV cache this is the only way to run.
struct evaluation {
    std::vector<float> logits;  // [n_tokens, n_vocab]
    std::vector<float> hidden;  // [n_slot + 1, n_tokens, n_stream*n_embd], empty if not asked for

    // Exactly one of `tokens` and `embd` ([n_tokens, n_embd], the residual stream before slot 0) is not empty.
    static evaluation run(std::shared_ptr<const model>     model,
                          context_params                   params,
                          const std::vector<llama_token> & tokens,
                          const std::vector<float> &       embd,
                          bool                             want_logits,
                          bool                             want_hidden,
                          const interrupt_fn &             interrupt);
};

}  // namespace rys
