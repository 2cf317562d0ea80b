#pragma once

// Requests that were inserted together: the tree of their prompts, and how far its evaluation has come.

#include "cell_budget.h"
#include "prefix_tree.h"
#include "response.h"

#include <memory>
#include <vector>

namespace rys {

class request_group {
  public:
    // what waits for a sequence: a node to evaluate, or a generation whose first token is known
    struct task {
        uint32_t node;
        int32_t  generates;  // member, or -1
    };

    struct node_state {
        bool     is_expanded = false;    // its children and generations are, or were, in the queue
        bool     is_wanted   = true;     // some member at or below it is here
        int32_t  seq         = -1;       // held sequence with exactly the prefix, or -1
        int32_t  span        = no_span;  // the last one that `seq` holds
        uint32_t n_left      = 0;        // children and generations that have yet to fork from it
        uint32_t n_cached    = 0;        // its first tokens that were not evaluated for this group
    };

    std::vector<prefix_node> nodes;
    std::vector<node_state>  states;  // of the nodes
    std::vector<task>        queue;   // last in, first out: depth first keeps few prefixes alive

    // nothing else may be in the context while it runs
    const bool is_alone;

    // whether its prompts may begin with what others have left in the memory, and stay there themselves
    const bool caches_prompts;

    // groups with a smaller number were there before
    const uint64_t number;

    // The members must not be done. They share a prefix if that saves `min_saved` tokens, see build_prefix_tree().
    request_group(std::vector<std::shared_ptr<response>> members,
                  uint32_t                               min_saved,
                  bool                                   is_alone,
                  bool                                   caches_prompts,
                  uint64_t                               number);

    response & member(uint32_t ir) const { return *members_[ir]; }

    const std::shared_ptr<response> & shared_member(uint32_t ir) const { return members_[ir]; }

    size_t n_members() const { return members_.size(); }

    // Whether the member is still evaluated here; not if it is done, cancelled or part of another group by now.
    bool is_here(uint32_t ir) const { return is_here_[ir]; }

    bool is_empty() const { return n_here_ == 0; }

    // The member is not evaluated here any more. Its tokens are kept, for other members may share them.
    void leave(uint32_t ir);

    // whether sequences are held for others to fork from
    bool is_tree() const { return nodes.size() > 1 || nodes[0].ending.size() > 1; }

    // whether others fork from what the task evaluates
    bool is_shared(const task & task) const;

    // the node that a task forks from, or -1
    int32_t prefix_of(const task & task) const;

    llama_token token(uint32_t node, uint32_t pos) const;

    // tokens of a request that passes through the node; the first ones are those up to its end
    const std::vector<llama_token> & tokens(uint32_t node) const { return members_[nodes[node].request]->tokens(); }

    // position of the first token of the node whose logits are read, `end` if there is none
    uint32_t first_read(uint32_t node) const;

    // whether a prompt that is not shared goes on as a generation in the same sequence
    bool goes_on(uint32_t node) const;

    // cells that a task needs beyond the tokens of its node
    uint32_t n_cells(const task & task) const;

    // tokens of a prompt that ends in the node which are evaluated for other members anyway, or were before
    uint32_t n_shared(uint32_t node, uint32_t ir) const;

    // members that are here and whose prompts go through the node
    std::vector<uint32_t> members_below(uint32_t node) const;

    // Find out which nodes are still wanted, after members have left without being done.
    void update_wanted();

    // whether a task still leads to something; update_wanted() comes first
    bool is_wanted(const task & task) const;

    // Put an evaluation that was lost back into the queue; it forks from its prefix once more.
    void requeue(uint32_t node);

  private:
    std::vector<std::shared_ptr<response>> members_;
    std::vector<bool>                      is_here_;
    uint32_t                               n_here_;
};

}  // namespace rys
