#include "cell_budget.h"

namespace rys {

cell_budget::cell_budget(uint32_t n_cells, uint32_t n_seqs) : n_cells_(n_cells), n_seqs_(n_seqs) {
    reset();
}

void cell_budget::reset() {
    n_cells_free_ = n_cells_;
    spans_.clear();
    free_spans_.clear();
    free_seqs_.clear();
    for (uint32_t is = n_seqs_; is > 0; --is) {
        free_seqs_.push_back(is - 1);
    }
}

llama_seq_id cell_budget::take_seq() {
    const llama_seq_id id = free_seqs_.back();
    free_seqs_.pop_back();
    return id;
}

void cell_budget::free_seq(llama_seq_id id) {
    free_seqs_.push_back(id);
}

int32_t cell_budget::make_span(int32_t parent, uint32_t n_cells) {
    if (free_spans_.empty()) {
        spans_.push_back({ parent, n_cells, 0 });
        return spans_.size() - 1;
    }
    const int32_t is = free_spans_.back();
    free_spans_.pop_back();
    spans_[is] = { parent, n_cells, 0 };
    return is;
}

int32_t cell_budget::split_span(int32_t is, uint32_t n_cells) {
    uint32_t begin = 0;  // of the span, in the chain
    for (int32_t before = spans_[is].parent; before != no_span; before = spans_[before].parent) {
        begin += spans_[before].n_cells;
    }
    while (begin >= n_cells) {
        is = spans_[is].parent;
        if (is == no_span) {
            return no_span;
        }
        begin -= spans_[is].n_cells;
    }
    if (begin + spans_[is].n_cells == n_cells) {
        return is;
    }
    const int32_t head     = make_span(spans_[is].parent, n_cells - begin);
    spans_[head].n_holders = spans_[is].n_holders;
    spans_[is].parent      = head;
    spans_[is].n_cells -= n_cells - begin;
    return head;
}

void cell_budget::hold_span(int32_t is) {
    for (; is != no_span; is = spans_[is].parent) {
        if (spans_[is].n_holders++ == 0) {
            n_cells_free_ -= spans_[is].n_cells;
        }
    }
}

void cell_budget::release_span(int32_t is) {
    for (; is != no_span; is = spans_[is].parent) {
        if (--spans_[is].n_holders == 0) {
            n_cells_free_ += spans_[is].n_cells;
            free_spans_.push_back(is);
        }
    }
}

}  // namespace rys
