#include "prompt_cache.h"

#include <algorithm>

namespace rys {

// Every entry is looked at by the attention of all others, so it costs time, too. These serve a few conversations that
// take turns.
static constexpr size_t n_entries_max = 4;

// A shorter match in the middle of an entry is nearly always by chance, such as a BOS token and the words of a
// template.
static constexpr uint32_t n_match_min = 32;

prompt_cache::match prompt_cache::find(const std::vector<llama_token> & tokens, uint32_t n_max) const {
    match best;
    for (size_t ie = 0; ie < entries_.size(); ++ie) {
        const entry &  entry = entries_[ie];
        const uint32_t most  = std::min<size_t>({ n_max, tokens.size(), entry.tokens.size() });
        const uint32_t n =
            std::mismatch(tokens.begin(), tokens.begin() + most, entry.tokens.begin()).first - tokens.begin();
        if (n > best.n && (n == entry.tokens.size() || n >= n_match_min) && can_continue(entry, n)) {
            best = { (int32_t) ie, n };
        }
    }
    return best;
}

// whether the memory has all that a token behind the first n sees
bool prompt_cache::can_continue(const entry & entry, uint32_t n) const {
    if (n == entry.tokens.size()) {
        return true;
    }
    // memories that cannot go back say that they begin with their last token
    const int64_t first = llama_memory_seq_pos_min(context_.memory(), entry.id);
    return first <= std::max<int64_t>(0, (int64_t) n - std::max(1u, windows_.n_window()));
}

void prompt_cache::keep(llama_seq_id id, std::vector<llama_token> tokens, int32_t span, uint32_t n_prefix) {
    match none;
    while (entries_.size() >= n_entries_max && evict(none)) {
    }
    entries_.push_back({ id, std::move(tokens), span, n_prefix, n_uses_++ });
}

void prompt_cache::keep_copy(llama_seq_id id, std::vector<llama_token> tokens, int32_t span) {
    const llama_seq_id copy = budget_.take_seq();
    llama_memory_seq_cp(context_.memory(), id, copy, -1, -1);
    budget_.hold_span(span);
    const uint32_t n_prefix = tokens.size();
    keep(copy, std::move(tokens), span, n_prefix);
}

bool prompt_cache::evict(match & match) {
    int32_t oldest = -1;
    for (int32_t ie = 0; ie < (int32_t) entries_.size(); ++ie) {
        if (ie != match.entry && (oldest < 0 || entries_[ie].last_use < entries_[oldest].last_use)) {
            oldest = ie;
        }
    }
    if (oldest < 0) {
        return false;
    }
    release(oldest);
    match.entry -= oldest < match.entry;
    return true;
}

void prompt_cache::release(size_t ie) {
    const entry & entry = entries_[ie];
    llama_memory_seq_rm(context_.memory(), entry.id, -1, -1);
    budget_.free_seq(entry.id);
    budget_.release_span(entry.span);
    entries_.erase(entries_.begin() + ie);
}

void prompt_cache::truncate(const match & match) {
    entry & entry = entries_[match.entry];
    if (match.n == entry.tokens.size()) {
        return;
    }
    llama_memory_seq_rm(context_.memory(), entry.id, match.n, -1);
    const int32_t head = budget_.split_span(entry.span, match.n);
    budget_.hold_span(head);
    budget_.release_span(entry.span);
    entry.span = head;
    entry.tokens.resize(match.n);
    entry.n_prefix = std::min(entry.n_prefix, match.n);
}

prompt_cache::continuation prompt_cache::take(const match & match) {
    entry & entry  = entries_[match.entry];
    entry.last_use = n_uses_++;
    if (match.n == entry.tokens.size() || budget_.n_seqs_free() == 0) {
        truncate(match);
        const continuation taken = { entry.id, entry.span, entry.n_prefix };
        entries_.erase(entries_.begin() + match.entry);
        return taken;
    }
    const llama_seq_id copy = budget_.take_seq();
    llama_memory_seq_cp(context_.memory(), entry.id, copy, -1, -1);
    llama_memory_seq_rm(context_.memory(), copy, match.n, -1);
    windows_.trim(copy, match.n);
    windows_.trim(entry.id, entry.tokens.size());
    entry.n_prefix     = std::max(entry.n_prefix, match.n);
    const int32_t head = budget_.split_span(entry.span, match.n);
    budget_.hold_span(head);
    return { copy, head, match.n };
}

}  // namespace rys
