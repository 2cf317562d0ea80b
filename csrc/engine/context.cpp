#include "context.h"

#include "llama-cparams.h"
#include "llama-ext.h"
#include "llama-memory.h"
#include "llama-model.h"

#include <algorithm>
#include <cstring>

#ifdef __GLIBC__
#    include <malloc.h>
#endif

namespace rys {

// rows of logits that a batch may ask for: each is n_vocab floats, in the compute buffer and in the output buffer
static uint32_t max_outputs(const model & model, const context_params & params) {
    const uint64_t n_rows = (64ull << 20) / (std::max(1u, model.n_vocab()) * sizeof(float));
    return std::max<uint64_t>(params.n_seq_max, std::min<uint64_t>(n_rows, params.n_batch));
}

context::context(std::shared_ptr<const model> model, const context_params & params, uint32_t n_outputs_max) :
    model_(std::move(model)),
    params_(params),
    n_outputs_max_(n_outputs_max > 0 ? n_outputs_max : max_outputs(*model_, params)) {
    if (params.n_batch == 0 || params.n_ubatch == 0 || params.n_seq_max == 0) {
        throw request_error("n_batch, n_ubatch and n_seq_max must be at least 1");
    }
    llama_context_params cparams = llama_context_default_params();

    cparams.n_ctx                 = params.n_ctx;
    cparams.n_batch               = params.n_batch;
    cparams.n_ubatch              = params.n_ubatch;
    cparams.n_seq_max             = params.n_seq_max;
    cparams.n_outputs_max         = n_outputs_max_;
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
    cparams.abort_callback        = [](void * self) {
        return static_cast<context *>(self)->should_stop();
    };
    cparams.abort_callback_data = this;

    guard guard(params.n_threads == 1 && params.n_threads_batch == 1);

    // llama.cpp takes the model as mutable for historical reasons only; a context does not change it
    ctx_.reset(llama_init_from_model(const_cast<llama_model *>(model_->get()), cparams));
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
        throw;
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
        throw engine_error("llama.cpp found no room in the KV cache for a batch of " + std::to_string(batch.n_tokens) +
                           " tokens");
    }
    if (status != 0) {
        throw engine_error(guard.last_error("llama_decode returned " + std::to_string(status)));
    }
}

// as llama_init_from_model() checks them, which memory_bytes() does not pass through
static void check_cache_types(const model & model, const context_params & params) {
    const llama_hparams & hparams = model.get()->hparams;
    const ggml_type       type_k  = (ggml_type) params.type_k;
    const ggml_type       type_v  = (ggml_type) params.type_v;

    if ((hparams.is_mla() || model.get()->arch == LLM_ARCH_DEEPSEEK4) && type_k != type_v) {
        throw request_error("type_k and type_v must be the same for this model, which keeps no values of their own");
    }
    for (uint32_t il = 0; il < hparams.n_layer(); ++il) {
        if (hparams.n_embd_head_k(il) % ggml_blck_size(type_k) != 0 ||
            hparams.n_embd_head_v(il) % ggml_blck_size(type_v) != 0) {
            throw request_error(std::string("a KV cache of ") + ggml_type_name(type_k) + " and " +
                                ggml_type_name(type_v) + " is not possible: the values of a block (" +
                                std::to_string(ggml_blck_size(type_k)) + ", " + std::to_string(ggml_blck_size(type_v)) +
                                ") do not divide those of a head (" + std::to_string(hparams.n_embd_head_k(il)) + ", " +
                                std::to_string(hparams.n_embd_head_v(il)) + ")");
        }
    }
}

uint64_t memory_bytes(const model & model, const context_params & params) {
    check_cache_types(model, params);

    const llama_hparams & hparams = model.get()->hparams;

    const uint64_t state = (uint64_t(hparams.n_embd_r()) + hparams.n_embd_s()) * sizeof(float);
    if (state * params.n_seq_max * hparams.n_layer() > (uint64_t(4) << 30)) {  // llama.cpp does allocate these
        throw engine_error("the layers have recurrent states of " + std::to_string(state) + " bytes a sequence");
    }

    llama_memory_params memory_params = {};
    memory_params.type_k              = (ggml_type) params.type_k;
    memory_params.type_v              = (ggml_type) params.type_v;
    memory_params.swa_full            = params.swa_full;

    llama_cparams cparams = {};
    cparams.n_ctx         = GGML_PAD(params.n_ctx, 256);
    cparams.n_ctx_seq     = cparams.n_ctx;
    cparams.n_batch       = std::min(params.n_batch, cparams.n_ctx);
    cparams.n_ubatch      = std::min(params.n_ubatch, cparams.n_batch);
    cparams.n_seq_max     = params.n_seq_max;
    cparams.flash_attn    = params.flash_attn != LLAMA_FLASH_ATTN_TYPE_DISABLED;
    cparams.kv_unified    = true;

    guard guard(/* single_threaded */ true);

    uint64_t n_bytes = 0;
    try {
        const llama_memory_ptr memory(model.get()->create_memory(memory_params, cparams));
        if (memory) {
            for (const auto & [buffer_type, size] : memory->memory_breakdown()) {
                n_bytes += size;
            }
        }
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception & error) {
        throw engine_error(error.what());
    }
    return n_bytes;
}

evaluation evaluation::run(std::shared_ptr<const model>     model,
                           context_params                   params,
                           const std::vector<llama_token> & tokens,
                           const std::vector<float> &       embd,
                           bool                             want_logits,
                           bool                             want_hidden,
                           const interrupt_fn &             interrupt) {
    const uint32_t n_embd   = llama_model_n_embd(model->get());
    const uint32_t n_vocab  = model->n_vocab();
    const uint32_t n_slot   = llama_model_n_layer(model->get());
    const uint32_t n_row    = n_embd * model->n_stream();
    const uint32_t n_tokens = tokens.empty() ? embd.size() / n_embd : tokens.size();

    // As many tokens at a time as there may be rows of logits: every row is asked for, since builders drop the others
    // from the last slot. Models that attend in both directions see all tokens at once.
    params.n_ctx     = std::max(params.n_ctx, n_tokens);
    params.n_seq_max = 1;
    params.n_batch   = model->has_memory() ? std::min(n_tokens, std::max(32u, max_outputs(*model, params))) : n_tokens;
    params.n_ubatch  = params.n_batch;

    context ctx(model, params, /* n_outputs_max */ params.n_batch);

    guard guard(/* single_threaded */ true);

    if (want_hidden) {
        for (uint32_t is = 0; is <= n_slot; ++is) {
            llama_set_embeddings_layer_inp(ctx.get(), is, true);
        }
    }

    evaluation result;
    result.logits.resize(want_logits ? (size_t) n_tokens * n_vocab : 0);
    result.hidden.resize(want_hidden ? (size_t) (n_slot + 1) * n_tokens * n_row : 0);

    for (uint32_t i0 = 0; i0 < n_tokens; i0 += params.n_batch) {
        const uint32_t n = std::min(n_tokens - i0, params.n_batch);

        // M-RoPE takes four positions of a token, but makes them itself only of tokens: the last one is 0 for text
        const uint32_t n_pos = tokens.empty() ? model->get()->hparams.n_pos_per_embd() : 1;

        std::vector<llama_pos>      pos((size_t) n * n_pos, 0);
        std::vector<int32_t>        n_seq_id(n, 1);
        llama_seq_id                seq_id = 0;
        std::vector<llama_seq_id *> seq_ids(n, &seq_id);
        std::vector<int8_t>         outputs(n, 1);
        for (uint32_t i = 0; i < n * std::max(1u, n_pos - 1); ++i) {
            pos[i] = i0 + i % n;
        }

        llama_batch batch = {};
        batch.n_tokens    = n;
        batch.token       = tokens.empty() ? nullptr : const_cast<llama_token *>(tokens.data()) + i0;
        batch.embd        = tokens.empty() ? const_cast<float *>(embd.data()) + (size_t) i0 * n_embd : nullptr;
        batch.pos         = pos.data();
        batch.n_seq_id    = n_seq_id.data();
        batch.seq_id      = seq_ids.data();
        batch.logits      = outputs.data();

        if (ctx.memory() != nullptr && llama_model_has_encoder(model->get())) {
            // an encoder-decoder reads the tokens on both sides
            if (llama_encode(ctx.get(), batch) != 0) {
                throw engine_error(guard.last_error("llama_encode failed"));
            }
        }
        ctx.decode(batch, interrupt);
        llama_synchronize(ctx.get());

        for (uint32_t i = 0; want_logits && i < n; ++i) {
            std::memcpy(&result.logits[(size_t) (i0 + i) * n_vocab], llama_get_logits_ith(ctx.get(), i),
                        n_vocab * sizeof(float));
        }
        for (uint32_t is = 0; want_hidden && is <= n_slot; ++is) {
            const float * src = llama_get_embeddings_layer_inp(ctx.get(), is);
            float *       dst = &result.hidden[((size_t) is * n_tokens + i0) * n_row];
            if (model->get()->arch == LLM_ARCH_GEMMA3N) {  // stream by stream instead of token by token
                for (uint32_t i = 0; i < n * model->n_stream(); ++i) {
                    std::memcpy(dst + (i % n) * n_row + (i / n) * n_embd, src + i * n_embd, n_embd * sizeof(float));
                }
            } else {
                std::memcpy(dst, src, (size_t) n * n_row * sizeof(float));
            }
        }
    }
    return result;
}

}  // namespace rys
