#pragma once

// The prompts of several requests as a tree: a prefix that they share is one node, evaluated once.

#include "llama.h"

#include <cstdint>
#include <vector>

namespace rys {

// what the tree needs to know of a request
struct prompt {
    const std::vector<llama_token> * tokens;
    uint32_t                         size;          // number of leading tokens that have to be evaluated, at least 1
    uint32_t                         first_output;  // the first token whose logits are wanted
};

struct prefix_node {
    int32_t  parent;   // -1 = starts with an empty context
    uint32_t request;  // one of those that pass through here, the first in their order
    uint32_t begin;    // the node evaluates tokens [begin, end) of that request
    uint32_t end;

    std::vector<uint32_t> children;  // nodes
    std::vector<uint32_t> ending;    // requests whose prompt ends here
    std::vector<uint32_t> readers;   // requests that want the logits of some token of the node
};

constexpr uint32_t no_sharing = UINT32_MAX;

// Build the tree of the prompts, by whose indices the nodes name requests. Parents stand before their children, and
// siblings in the order of their requests. A shared prefix becomes a node if that saves at least `min_saved` tokens, or
// all of the prompt; with no_sharing every request has a node of its own.
std::vector<prefix_node> build_prefix_tree(const std::vector<prompt> & prompts, uint32_t min_saved);

}  // namespace rys
