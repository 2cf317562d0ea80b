#include "memory_bytes.h"

#include "llama-cparams.h"
#include "llama-memory.h"
#include "llama-model.h"

#include <algorithm>

namespace rys {

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
        throw engine_error("there is not enough memory for the bookkeeping of " + std::to_string(params.n_ctx) +
                           " cells and " + std::to_string(params.n_seq_max) + " sequences");
    } catch (const std::exception & error) {
        throw engine_error(error.what());
    }
    return n_bytes;
}

}  // namespace rys
