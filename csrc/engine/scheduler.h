#pragma once

// Evaluates requests on a context: continuous batching over parallel sequences, shared prefixes evaluated once.
// Requests come and go while others are evaluated.

#include "cell_budget.h"
#include "context.h"
#include "prompt_cache.h"
#include "request_group.h"
#include "window_cache.h"

#include <atomic>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rys {

// Requests that are inserted together are a group. Groups take turns: each starts one request, with the prefixes that
// lead to it, and one that finds no room is not overtaken, so every request comes to its turn. Prefixes that wait for
// others to fork from them take sequences and cells, so only a few groups that have such prefixes are under way at a
// time, the oldest ones; if they still get into each other's way it is one, until some group is done. What a generation
// may need is set aside when it starts.
//
// Requests that are inserted with `cache_prompt` leave their sequences behind, for others like them that begin with the
// same tokens, see prompt_cache: those that were inserted alone, and of the others those that end last, so that none
// takes other cells than without it.
//
// The memory of the context is cleared whenever nothing is left to do and nothing was left behind, and before requests
// without `cache_prompt`, or several that begin with nothing of what was left behind. So measurements do not depend on
// what came before, not even in their rounding. What a mask only hides would otherwise outlive its request: a recurrent
// state, or a NaN, which stays one when it is multiplied by 0. For the same reason a request whose logits are not
// finite is evaluated again, alone in a cleared memory, unless it was alone from the start; what was evaluated beside
// it begins again as well. Generations keep the tokens that they have chosen.
//
// If llama.cpp finds no room for a batch, against all that was set aside, its requests are evaluated again one by one,
// each in a cleared memory. One that finds no room there fails, and no other one does.
//
// Not for several threads, but for hurry().
class scheduler {
  public:
    // The context must not be used by anybody else while there are requests. `n_ctx` is the largest number of tokens
    // that one request may have, at most the cells of the context.
    scheduler(std::shared_ptr<context> context, uint32_t n_ctx);
    ~scheduler();

    scheduler(const scheduler &)             = delete;
    scheduler & operator=(const scheduler &) = delete;

    // Take requests, which share prefixes with each other, and return their ids in the same order.
    // Throws request_error if one of them cannot be right, and then takes none; a request that is too long fails
    // alone, as `context_full`.
    std::vector<request_id> insert(std::vector<request> requests, bool cache_prompt = false);

    // Drop requests, whether they wait, are evaluated or are done. Their cells and sequences are free afterwards.
    // Ids that are not known, such as those of results that were given away, are passed over.
    void cancel(const std::vector<request_id> & ids);

    // Compute batches until nothing is left to do or, after at least one batch, `seconds` have passed or `n_results`
    // results can be taken (0 = any number). Returns whether nothing is left to do. Throws what context::decode throws.
    // After `interrupted` the requests are still there and go on with the next call; after any other exception all that
    // were not done have failed, and the scheduler is as good as its context, see context::is_broken().
    bool advance(double seconds, size_t n_results, const interrupt_fn & interrupt);

    // Let advance() return after the batch that is being computed, or the next one. For other threads.
    void hurry() { hurry_ = true; }

    // Give away the result of a request that is done, in the order in which they were; nothing if there is none.
    std::optional<std::pair<request_id, result>> next();

    // the bytes of a generation's text, from `begin` on, that later tokens cannot take back; throws std::out_of_range
    // if there is no such request, or its result was given away
    std::string settled_text(request_id id, size_t begin) const;

    uint64_t n_tokens() const { return n_tokens_; }  // evaluated so far

    uint32_t n_cells_free() const { return budget_.n_cells_free(); }

    uint32_t n_seqs_free() const { return budget_.n_seqs_free(); }

    // requests, nodes and spans that are kept
    size_t n_kept() const;

  private:
    using task = request_group::task;

    // a sequence of the context and what it is doing
    struct sequence {
        llama_seq_id    id;
        request_group * group;
        uint32_t        node;       // whose prefix it continues
        int32_t         generates;  // member of the group, or -1 while it evaluates the node's tokens
        uint32_t        n_pos;      // tokens that it holds
        uint32_t        n_cells;    // cells set aside for it, those of its spans not included
        int32_t         span;       // the last one that it holds
        uint32_t        n_prefix;   // tokens that it shares with the sequence that it was forked from
    };

    struct batch;

    enum class outcome { started, started_prefix, waits, no_room };

    std::shared_ptr<context> context_;
    uint32_t                 n_ctx_;
    cell_budget              budget_;
    window_cache             windows_;
    prompt_cache             cache_;

    std::map<request_id, std::shared_ptr<response>> responses_;  // whose results were not given away
    std::deque<request_id>                          finished_;
    std::list<request_group>                        groups_;     // in the order of their turns
    std::vector<sequence>                           active_;
    std::vector<std::shared_ptr<response>>          suspects_;   // not finite in this batch, perhaps not by themselves

    uint64_t          n_tokens_         = 0;
    uint64_t          n_groups_         = 0;      // so far
    bool              is_crowded_       = false;  // a group had to give up prefixes for another one
    uint32_t          n_started_        = 0;      // evaluations since the memory was cleared
    bool              data_must_vanish_ = false;  // the data of the memory as well, and not only what is where
    std::atomic<bool> hurry_{ false };

    // which request starts next: scheduler_turns.cpp
    void                start_queued();
    uint64_t            last_open_tree() const;
    outcome             start_next(request_group & group);
    outcome             start_with_evictions(request_group & group, const task & task);
    bool                start(request_group & group, const task & task);
    void                fork(sequence & seq, request_group::node_state & prefix, uint32_t n_pos);
    void                begin(sequence & seq, const prompt_cache::match & match);
    bool                find_room(uint32_t n_cells, uint32_t n_seqs, prompt_cache::match & match);
    prompt_cache::match find_cached(const request_group & group, uint32_t node) const;
    bool                is_active(const request_group & group, uint32_t node) const;
    void                forget_fork(request_group & group, int32_t node);
    bool                evict_prefixes(const request_group * group, int32_t keep, bool ancestors);

    // what is computed: scheduler_batches.cpp
    void     step(const interrupt_fn & interrupt);
    uint32_t n_batch() const;
    void     fill(batch & batch);
    void     read(const batch & batch);
    void     settle(request_group & group, uint32_t ir);
    void     trim_windows();
    bool     is_done() const;
    bool     is_generating(const request_group & group, uint32_t ir) const;
    void     retire_sequences();
    void     on_node_evaluated(sequence & seq);

    // what ends, or begins again
    void release(llama_seq_id id, int32_t span, uint32_t n_cells);
    bool can_keep(const sequence & seq) const;
    void keep(const sequence & seq);
    void keep_copy(const sequence & seq);
    bool is_cache_of_use(const std::vector<std::shared_ptr<response>> & members) const;
    void prune(request_group & group);
    void drop_empty_groups();
    void requeue_active();
    void isolate_suspects();
    void make_room(const std::string & error);
    void evaluate_alone(const std::vector<std::shared_ptr<response>> & members);
    void fail_all(const std::string & error);
    void clear_memory();
};

}  // namespace rys
