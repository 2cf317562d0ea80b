#include "prefix_tree.h"

#include <algorithm>

namespace rys {

uint32_t n_evaluated(const request & request) {
    return request.tokens.size() - (request.kind == request_kind::loglikelihood ? 1 : 0);
}

uint32_t first_output(const request & request) {
    switch (request.kind) {
        case request_kind::logits:
            return 0;
        case request_kind::loglikelihood:
            return request.n_context - 1;
        default:
            return n_evaluated(request) - 1;
    }
}

std::vector<prefix_node> build_prefix_tree(const std::vector<request> & requests,
                                           std::vector<uint32_t>        indices,
                                           uint32_t                     min_saved) {
    const auto size = [&](size_t i) {
        return n_evaluated(requests[indices[i]]);
    };

    // in lexicographic order, requests that share a prefix are neighbours
    std::stable_sort(indices.begin(), indices.end(), [&](uint32_t a, uint32_t b) {
        const auto & ta = requests[a].tokens;
        const auto & tb = requests[b].tokens;
        return std::lexicographical_compare(ta.begin(), ta.begin() + n_evaluated(requests[a]), tb.begin(),
                                            tb.begin() + n_evaluated(requests[b]));
    });

    // number of leading tokens that a request shares with the one before it
    std::vector<uint32_t> n_common(indices.size(), 0);
    for (size_t i = 1; i < indices.size(); ++i) {
        const auto & ta = requests[indices[i - 1]].tokens;
        const auto & tb = requests[indices[i]].tokens;
        n_common[i] =
            std::mismatch(ta.begin(), ta.begin() + std::min(size(i - 1), size(i)), tb.begin()).first - ta.begin();
    }

    std::vector<prefix_node> nodes;
    std::vector<int32_t>     node_of(requests.size(), -1);  // where the prompt ends

    // requests [lo, hi) share their first `depth` tokens, of which `begin` are evaluated by `parent` and above
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
                node_of[indices[rest]] = nodes.size();
            }
            if (rest < hi) {
                todo.push_back({ rest, hi, shared, shared, (int32_t) nodes.size() });
            }
            nodes.push_back(std::move(node));
        }
    }

    for (size_t i = 0; i < nodes.size(); ++i) {
        if (nodes[i].parent >= 0) {
            nodes[nodes[i].parent].children.push_back(i);
        }
    }
    for (prefix_node & node : nodes) {
        std::sort(node.children.begin(), node.children.end(),
                  [&](uint32_t a, uint32_t b) { return nodes[a].request < nodes[b].request; });
    }
    for (const uint32_t ir : indices) {
        for (int32_t in = node_of[ir]; in >= 0 && nodes[in].end > first_output(requests[ir]); in = nodes[in].parent) {
            nodes[in].readers.push_back(ir);
        }
    }
    return nodes;
}

}  // namespace rys
