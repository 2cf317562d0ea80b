#include "prefix_tree.h"

#include <algorithm>
#include <numeric>

namespace rys {

// prompts in lexicographic order, in which those that share a prefix are neighbours
struct sorted_prompts {
    std::vector<uint32_t> indices;
    std::vector<uint32_t> n_common;  // number of leading tokens that a prompt shares with the one before it
};

static sorted_prompts sort_prompts(const std::vector<prompt> & prompts) {
    sorted_prompts sorted;
    sorted.indices.resize(prompts.size());
    std::iota(sorted.indices.begin(), sorted.indices.end(), 0);
    std::stable_sort(sorted.indices.begin(), sorted.indices.end(), [&](uint32_t a, uint32_t b) {
        const auto ta = prompts[a].tokens->begin();
        const auto tb = prompts[b].tokens->begin();
        return std::lexicographical_compare(ta, ta + prompts[a].size, tb, tb + prompts[b].size);
    });

    sorted.n_common.resize(prompts.size(), 0);
    for (size_t i = 1; i < prompts.size(); ++i) {
        const prompt & a = prompts[sorted.indices[i - 1]];
        const prompt & b = prompts[sorted.indices[i]];

        const auto begin   = a.tokens->begin();
        const auto end     = begin + std::min(a.size, b.size);
        sorted.n_common[i] = std::mismatch(begin, end, b.tokens->begin()).first - begin;
    }
    return sorted;
}

// nodes with their prompts, but without children and readers
static std::vector<prefix_node> make_nodes(const std::vector<prompt> & prompts,
                                           const sorted_prompts &      sorted,
                                           uint32_t                    min_saved) {
    const auto & indices  = sorted.indices;
    const auto & n_common = sorted.n_common;
    const auto   size     = [&](size_t i) {
        return prompts[indices[i]].size;
    };

    std::vector<prefix_node> nodes;

    // prompts [lo, hi) share their first `depth` tokens, of which `begin` are evaluated by `parent` and above
    struct range {
        size_t   lo, hi;
        uint32_t begin, depth;
        int32_t  parent;
    };

    std::vector<range> todo = {
        { 0, indices.size(), 0, 0, -1 }
    };

    while (!todo.empty()) {
        const range r = todo.back();
        todo.pop_back();

        for (size_t lo = r.lo, hi; lo < r.hi; lo = hi) {
            uint32_t shared = size(lo);
            for (hi = lo + 1; hi < r.hi && n_common[hi] > r.depth; ++hi) {
                shared = std::min(shared, n_common[hi]);
            }
            const bool identical = shared == size(hi - 1);
            const bool pays      = identical || (hi - lo - 1) * (shared - r.begin) >= min_saved;
            if (hi - lo > 1 && (min_saved == no_sharing || !pays)) {
                todo.push_back({ lo, hi, r.begin, shared, r.parent });
                continue;
            }

            prefix_node node = {};
            node.parent      = r.parent;
            node.request     = *std::min_element(indices.begin() + lo, indices.begin() + hi);
            node.begin       = r.begin;
            node.end         = shared;

            size_t rest = lo;
            for (; rest < hi && size(rest) == shared; ++rest) {
                node.ending.push_back(indices[rest]);
            }
            if (rest < hi) {
                todo.push_back({ rest, hi, shared, shared, (int32_t) nodes.size() });
            }
            nodes.push_back(std::move(node));
        }
    }
    return nodes;
}

static void link_children(std::vector<prefix_node> & nodes) {
    for (size_t in = 0; in < nodes.size(); ++in) {
        if (nodes[in].parent >= 0) {
            nodes[nodes[in].parent].children.push_back(in);
        }
    }
    for (prefix_node & node : nodes) {
        std::sort(node.children.begin(), node.children.end(),
                  [&](uint32_t a, uint32_t b) { return nodes[a].request < nodes[b].request; });
    }
}

// a request reads in the node where its prompt ends, and in those above it down to its first output
static void link_readers(std::vector<prefix_node> &    nodes,
                         const std::vector<prompt> &   prompts,
                         const std::vector<uint32_t> & order) {
    std::vector<int32_t> node_of(prompts.size(), -1);  // where the prompt ends
    for (size_t in = 0; in < nodes.size(); ++in) {
        for (const uint32_t ir : nodes[in].ending) {
            node_of[ir] = in;
        }
    }
    for (const uint32_t ir : order) {
        for (int32_t in = node_of[ir]; in >= 0 && nodes[in].end > prompts[ir].first_output; in = nodes[in].parent) {
            nodes[in].readers.push_back(ir);
        }
    }
}

std::vector<prefix_node> build_prefix_tree(const std::vector<prompt> & prompts, uint32_t min_saved) {
    const sorted_prompts     sorted = sort_prompts(prompts);
    std::vector<prefix_node> nodes  = make_nodes(prompts, sorted, min_saved);

    link_children(nodes);
    link_readers(nodes, prompts, sorted.indices);
    return nodes;
}

}  // namespace rys
