#include "context.h"

#include <algorithm>
#include <new>

#ifdef __GLIBC__
#    include <malloc.h>
#endif

namespace rys {

uint32_t max_outputs(const model & model, const context_params & params) {
    const uint64_t n_rows = (64ull << 20) / (std::max(1u, model.n_vocab()) * sizeof(float));
    return std::max<uint64_t>(params.n_seq_max, std::min<uint64_t>(n_rows, params.n_batch));
}

static llama_context_params to_llama(const context_params & params, uint32_t n_outputs_max) {
    llama_context_params cparams = llama_context_default_params();

    cparams.n_ctx                 = params.n_ctx;
    cparams.n_batch               = params.n_batch;
    cparams.n_ubatch              = params.n_ubatch;
    cparams.n_seq_max             = params.n_seq_max;
    cparams.n_outputs_max         = n_outputs_max;
    cparams.n_outputs_max_per_seq = 0;
    cparams.n_threads             = params.n_threads;
    cparams.n_threads_batch       = params.n_threads_batch;
    cparams.flash_attn_type       = (llama_flash_attn_type) params.flash_attn;
    cparams.type_k                = (ggml_type) params.type_k;
    cparams.type_v                = (ggml_type) params.type_v;
    cparams.offload_kqv           = params.offload_kqv;
    cparams.op_offload            = params.op_offload;
    cparams.swa_full              = params.swa_full;
    cparams.kv_unified            = true;  // sequences share the cells, and a shared prefix is stored once
    cparams.rope_scaling_type     = (llama_rope_scaling_type) params.rope_scaling_type;
    cparams.rope_freq_base        = params.rope_freq_base;
    cparams.rope_freq_scale       = params.rope_freq_scale;
    cparams.yarn_ext_factor       = params.yarn_ext_factor;
    cparams.yarn_attn_factor      = params.yarn_attn_factor;
    cparams.yarn_beta_fast        = params.yarn_beta_fast;
    cparams.yarn_beta_slow        = params.yarn_beta_slow;
    cparams.yarn_orig_ctx         = params.yarn_orig_ctx;
    return cparams;
}

context::context(std::shared_ptr<const model> model, const context_params & params, uint32_t n_outputs_max) :
    model_(std::move(model)),
    params_(params),
    n_outputs_max_(n_outputs_max > 0 ? n_outputs_max : max_outputs(*model_, params)) {
    if (params.n_batch == 0 || params.n_ubatch == 0 || params.n_seq_max == 0) {
        throw request_error("n_batch, n_ubatch and n_seq_max must be at least 1");
    }
    llama_context_params cparams = to_llama(params, n_outputs_max_);
    cparams.abort_callback       = [](void * self) {
        return static_cast<context *>(self)->should_stop();
    };
    cparams.abort_callback_data = this;

    guard guard(params.n_threads == 1 && params.n_threads_batch == 1);

    try {
        // llama.cpp takes the model as mutable for historical reasons only; a context does not change it
        ctx_.reset(llama_init_from_model(const_cast<llama_model *>(model_->get()), cparams));
    } catch (const std::bad_alloc &) {
        throw engine_error("there is not enough memory for a context of n_ctx=" + std::to_string(params.n_ctx) +
                           ", n_batch=" + std::to_string(params.n_batch) + ", n_ubatch=" +
                           std::to_string(params.n_ubatch) + ", n_seq_max=" + std::to_string(params.n_seq_max));
    }
    if (!ctx_) {
        throw engine_error(guard.last_error("llama.cpp could not make a context and gave no reason"));
    }

    std::vector<llama_adapter_lora *> loras  = model_->source().loras();
    std::vector<float>                scales = model_->source().lora_scales();
    if (!loras.empty() && llama_set_adapters_lora(ctx_.get(), loras.data(), loras.size(), scales.data()) != 0) {
        throw engine_error(guard.last_error("llama.cpp could not set the LoRA adapters"));
    }
}

context::~context() {
    ctx_.reset();
#ifdef __GLIBC__
    malloc_trim(0);  // what a context frees is worth giving back: a sweep makes hundreds, of different sizes
#endif
}

bool context::should_stop() {
    const auto now = std::chrono::steady_clock::now();
    if (interrupt_ == nullptr || now < next_check_) {
        return false;
    }
    next_check_ = now + std::chrono::milliseconds(100);
    return (*interrupt_)();
}

void context::decode(const llama_batch & batch, const interrupt_fn & interrupt) {
    guard guard(params_.n_threads == 1 && params_.n_threads_batch == 1);

    interrupt_  = interrupt ? &interrupt : nullptr;
    next_check_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    broken_     = true;  // until llama.cpp has returned

    int32_t status;
    try {
        status = memory() != nullptr ? llama_decode(get(), batch) : llama_encode(get(), batch);
    } catch (const std::bad_alloc &) {
        interrupt_ = nullptr;
        throw engine_error("there is not enough memory to evaluate a batch of " + std::to_string(batch.n_tokens) +
                           " tokens");
    } catch (const std::exception & error) {
        interrupt_ = nullptr;
        throw engine_error(error.what());
    }
    broken_    = false;
    interrupt_ = nullptr;
    if (status == 2) {
        throw interrupted();
    }
    if (status == 1) {
        throw no_room_error("llama.cpp found no room in the KV cache for a batch of " + std::to_string(batch.n_tokens) +
                            " tokens");
    }
    if (status != 0) {
        throw engine_error(guard.last_error("llama_decode returned " + std::to_string(status)));
    }
}

}  // namespace rys
