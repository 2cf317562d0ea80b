#pragma once

// Which cells and sequences of a context are free. Cells are set aside before they are used, so that llama.cpp always
// finds room. Cells that several sequences hold, those of a shared prefix, count once.

#include "llama.h"

#include <cstdint>
#include <vector>

namespace rys {

constexpr int32_t no_span = -1;

class cell_budget {
  public:
    cell_budget(uint32_t n_cells, uint32_t n_seqs);

    uint32_t n_cells_free() const { return n_cells_free_; }

    uint32_t n_seqs_free() const { return free_seqs_.size(); }

    uint32_t n_spans() const { return spans_.size() - free_spans_.size(); }

    // Everything is free again.
    void reset();

    llama_seq_id take_seq();
    void         free_seq(llama_seq_id id);

    void take_cells(uint32_t n) { n_cells_free_ -= n; }

    void free_cells(uint32_t n) { n_cells_free_ += n; }

    // A span is the cells of one evaluation of a node, behind those of its parent. A prefix that is given up and
    // evaluated again can have several at a time. It is free when no sequence holds it.
    int32_t make_span(int32_t parent, uint32_t n_cells);

    // Cut the chain that ends with the span behind its first `n_cells` cells, and return the last span before the cut.
    // Whoever holds the one still holds the other, so nothing becomes free.
    int32_t split_span(int32_t span, uint32_t n_cells);

    // One sequence more, or less, holds the span and those before it.
    void hold_span(int32_t span);
    void release_span(int32_t span);

  private:
    struct span {
        int32_t  parent;
        uint32_t n_cells;
        uint32_t n_holders;
    };

    uint32_t                  n_cells_;
    uint32_t                  n_seqs_;
    uint32_t                  n_cells_free_ = 0;
    std::vector<llama_seq_id> free_seqs_;
    std::vector<span>         spans_;
    std::vector<int32_t>      free_spans_;  // indices of spans_ that can be used again
};

}  // namespace rys
