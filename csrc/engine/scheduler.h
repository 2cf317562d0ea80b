#pragma once

// Runs a list of requests on a context: continuous batching over parallel sequences, shared prefixes evaluated once.

#include "answers.h"
#include "context.h"
#include "prefix_tree.h"

#include <memory>
#include <vector>

namespace rys {

class scheduler {
  public:
    // The context must not be used by anybody else until the scheduler is gone. `n_ctx` is the largest number of
    // tokens that one request may have, at most the cells of the context.
    // Throws request_error if a request cannot be right; a request that is too long fails alone, as `context_full`.
    scheduler(std::shared_ptr<context> context, std::vector<request> requests, uint32_t n_ctx);
    ~scheduler();

    scheduler(const scheduler &)             = delete;
    scheduler & operator=(const scheduler &) = delete;

    // Empty the context and leave it to others; the results stay.
    void close();

    // Compute batches until all requests are done or, after at least one batch, `seconds` have passed.
    // Returns whether all are done. Throws what context::decode throws; nothing but destruction is possible then.
    bool advance(double seconds, const interrupt_fn & interrupt);

    const rys::answers & answers() const { return answers_; }

    uint64_t n_tokens() const { return n_tokens_; }  // evaluated so far

  private:
    // a sequence of the context and what it is doing
    struct sequence {
        llama_seq_id id;
        uint32_t     node;       // whose prefix it continues
        int32_t      generates;  // request, or -1 while it evaluates the node's tokens
        uint32_t     n_pos;      // tokens that it holds
        uint32_t     n_cells;    // cells set aside for it, those of its spans not included
        int32_t      span;       // the last one that it holds
    };

    struct node_state {
        bool     expanded = false;  // its children and generations are in the queue
        int32_t  seq      = -1;     // held sequence with exactly the prefix, or -1
        int32_t  span     = -1;     // the last one that `seq` holds
        uint32_t n_left   = 0;      // children and generations that have yet to fork from it
    };

    // the cells of one evaluation of a node: one that is evicted and evaluated again can have several at a time
    struct span {
        int32_t  parent;   // the span before it, or -1
        uint32_t n_cells;
        uint32_t n_users;  // sequences that hold it
    };

    // what waits for a sequence: a node to evaluate, or a generation whose first token is known
    struct task {
        uint32_t node;
        int32_t  generates;  // request, or -1
    };

    std::shared_ptr<context> context_;
    rys::answers             answers_;

    std::vector<prefix_node>  nodes_;
    std::vector<node_state>   states_;
    std::vector<span>         spans_;
    std::vector<task>         queue_;  // last in, first out: depth first keeps few prefixes alive
    std::vector<sequence>     active_;
    std::vector<llama_seq_id> free_seqs_;
    uint32_t                  n_cells_free_;
    uint64_t                  n_tokens_ = 0;

    uint32_t cells_of(const task & task) const;
    bool     start(const task & task);
    bool     is_active(uint32_t node) const;
    void     forget_fork(int32_t node);
    void     start_queued();
    void     evict_prefixes(int32_t keep, bool ancestors);
    void     hold_spans(int32_t span, int32_t change);
    void     release(llama_seq_id id, int32_t span, uint32_t n_cells);
    void     step(const interrupt_fn & interrupt);
    void     on_node_evaluated(sequence & seq);
};

}  // namespace rys
