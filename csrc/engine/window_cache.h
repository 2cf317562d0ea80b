#pragma once

// The cells that layers with a sliding window keep of each sequence, where they are fewer than those of the context.

#include "model.h"

class llama_kv_cache;

namespace rys {

// llama.cpp uses a cell of this cache again when it lies outside of the window of its sequence, but only if it belongs
// to one sequence. It has room for the windows of all sequences and one ubatch. So there is always room if a sequence
// that shares cells with others gives up those that its window has left, and does not go on by more than a ubatch
// before it does.
class window_cache {
  public:
    // `memory` is that of a context of the model with `n_ctx` cells, and outlives this.
    window_cache(llama_memory_t memory, const model & model, uint32_t n_ctx);

    // Whether the model has such a cache. If not, cells of the context are all that has to be counted.
    bool is_small() const { return cache_ != nullptr; }

    // tokens that a windowed layer sees, 0 = there is none
    uint32_t n_window() const { return n_window_; }

    // Give up the cells that are outside of the window of the sequence, which has `n_pos` tokens.
    void trim(llama_seq_id id, uint32_t n_pos) const;

    // Whether a sequence of `n_pos` tokens may have cells within its window that are older than `n_before`.
    bool reaches(uint32_t n_pos, uint32_t n_before) const { return is_small() && n_pos < n_before + n_window_; }

  private:
    llama_kv_cache * cache_    = nullptr;
    uint32_t         n_window_ = 0;
    bool             chunked_  = false;  // the window begins anew every n_window_ tokens
};

}  // namespace rys
