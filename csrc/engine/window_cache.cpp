#include "window_cache.h"

#include "llama-kv-cache-dsa-iswa.h"
#include "llama-kv-cache-iswa.h"
#include "llama-memory-hybrid-iswa.h"
#include "llama-model.h"

#include <algorithm>

namespace rys {

// The part of the memory that belongs to the windowed layers, or nullptr. The cache of deepseek4 is not one of these:
// its sequences share no cells.
static llama_kv_cache * find_cache(llama_memory_t memory) {
    if (auto * hybrid = dynamic_cast<llama_memory_hybrid_iswa *>(memory)) {
        return hybrid->get_mem_attn()->get_swa();
    }
    if (auto * sparse = dynamic_cast<llama_kv_cache_dsa_iswa *>(memory)) {
        return sparse->get_swa();
    }
    auto * windowed = dynamic_cast<llama_kv_cache_iswa *>(memory);
    return windowed != nullptr ? windowed->get_swa() : nullptr;
}

window_cache::window_cache(llama_memory_t memory, const model & model, uint32_t n_ctx) {
    n_window_ = model.get()->hparams.swa_type != LLAMA_SWA_TYPE_NONE ? model.get()->hparams.n_swa : 0;
    chunked_  = model.get()->hparams.swa_type == LLAMA_SWA_TYPE_CHUNKED;

    llama_kv_cache * const cache = find_cache(memory);
    if (cache != nullptr && cache->get_size() < n_ctx) {
        cache_ = cache;  // else a cell of the context stands for one of the window, too
    }
}

void window_cache::trim(llama_seq_id id, uint32_t n_pos) const {
    if (cache_ == nullptr || n_pos < n_window_) {
        return;
    }
    const uint32_t begin = chunked_ ? n_pos / n_window_ * n_window_ : n_pos - n_window_ + 1;
    // the last token stays: llama.cpp reads from it where the sequence goes on
    cache_->seq_rm(id, 0, std::min(begin, n_pos - 1));
}

}  // namespace rys
