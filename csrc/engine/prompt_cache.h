#pragma once

// Sequences that stay in the memory of a context after their requests, for later ones that begin with the same tokens.

#include "cell_budget.h"
#include "context.h"
#include "window_cache.h"

#include <cstdint>
#include <vector>

namespace rys {

// A sequence can be continued at its end, or at any earlier token if the memory still holds all that the next one sees:
// always with full attention, never with a recurrent state, and with windows if the last one is still complete.
//
// They take cells and sequences that nothing else needs: whoever finds no room evicts them first.
class prompt_cache {
  public:
    // All must outlive this.
    prompt_cache(context & context, cell_budget & budget, const window_cache & windows) :
        context_(context),
        budget_(budget),
        windows_(windows) {}

    // what a request can take over: `n` tokens of an entry
    struct match {
        int32_t  entry = -1;
        uint32_t n     = 0;
    };

    // a sequence that continues an entry; it holds the span
    struct continuation {
        llama_seq_id id;
        int32_t      span;
        uint32_t     n_prefix;  // tokens that it may share with others
    };

    bool is_empty() const { return entries_.empty(); }

    // Find the entry that saves most of a prompt, of which at most `n_max` tokens are wanted.
    match find(const std::vector<llama_token> & tokens, uint32_t n_max) const;

    // Keep a sequence with its tokens and its span, of which `n_prefix` tokens may be shared with others.
    void keep(llama_seq_id id, std::vector<llama_token> tokens, int32_t span, uint32_t n_prefix);

    // Keep a copy of a sequence that goes on. A sequence must be free.
    void keep_copy(llama_seq_id id, std::vector<llama_token> tokens, int32_t span);

    // Give up the entry that was not used for longest, but not that of the match. Returns whether there was one, and
    // keeps the match up to date.
    bool evict(match & match);

    // Give up what the entry has beyond the match. It is continued in its own sequence then.
    void truncate(const match & match);

    // Continue the entry: in a copy that leaves it as it is, if a sequence is free, else in its own sequence. An entry
    // that is continued at its end is always taken.
    continuation take(const match & match);

    // All entries are gone, with the memory or the budget.
    void forget() { entries_.clear(); }

  private:
    struct entry {
        llama_seq_id             id;
        std::vector<llama_token> tokens;
        int32_t                  span;
        uint32_t                 n_prefix;
        uint64_t                 last_use;
    };

    context &            context_;
    cell_budget &        budget_;
    const window_cache & windows_;
    std::vector<entry>   entries_;
    uint64_t             n_uses_ = 0;

    bool can_continue(const entry & entry, uint32_t n) const;
    void release(size_t ie);
};

}  // namespace rys
