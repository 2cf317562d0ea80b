#include "token_texts.h"

#include "llama-vocab.h"

#include <algorithm>
#include <string>

namespace rys {

// Bytes of the character that begins with a byte, 0 = none does. 0xC0 and 0xC1 could only begin one that is too long.
static int n_bytes_of(uint8_t first) {
    if (first < 0xC2) {
        return first < 0x80 ? 1 : 0;
    }
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

bool continues_character(const llama_partial_utf8 & partial, uint8_t byte) {
    uint8_t low  = 0x80;
    uint8_t high = 0xBF;
    if (partial.n_remain == 2) {  // behind the first byte of three: not too long, no surrogate
        low  = partial.value == 0x0 ? 0xA0 : low;
        high = partial.value == 0xD ? 0x9F : high;
    } else if (partial.n_remain == 3) {  // of four: not too long, no code point above the last one
        low  = partial.value == 0x0 ? 0x90 : low;
        high = partial.value == 0x4 ? 0x8F : high;
    }
    return low <= byte && byte <= high;
}

// Returns whether the bytes are UTF-8, but for an unfinished character at the end.
static bool decode(const std::string & bytes, std::vector<uint32_t> & code_points, llama_partial_utf8 & partial) {
    partial = { 0, 0 };
    for (const char c : bytes) {
        const uint8_t byte = c;
        if (byte == 0) {
            break;
        }
        if (partial.n_remain > 0) {
            if (!continues_character(partial, byte)) {
                return false;
            }
            partial.value = (partial.value << 6) + (byte & 0x3F);
            partial.n_remain--;
        } else {
            const int n_bytes = n_bytes_of(byte);
            if (n_bytes == 0) {
                return false;
            }
            partial.value    = n_bytes == 1 ? byte : byte & ((1 << (7 - n_bytes)) - 1);
            partial.n_remain = n_bytes - 1;
        }
        if (partial.n_remain == 0) {
            code_points.push_back(partial.value);
            partial.value = 0;
        }
    }
    return true;
}

token_texts::token_texts(const llama_vocab * vocab) : has_(vocab->n_tokens(), false) {
    for (llama_token token = 0; token < (llama_token) vocab->n_tokens(); ++token) {
        const std::string & bytes = vocab->token_to_piece(token);

        text text = { token, (uint32_t) code_points_.size(), {} };
        if (vocab->is_eog(token) || bytes.empty() || bytes[0] == 0 || !decode(bytes, code_points_, text.partial)) {
            code_points_.resize(text.begin);
            continue;
        }
        code_points_.push_back(0);
        texts_.push_back(text);
        has_[token] = true;
    }
    std::sort(texts_.begin(), texts_.end(), [this](const text & a, const text & b) {
        const uint32_t * x = code_points(a);
        const uint32_t * y = code_points(b);
        while (*x == *y && *x != 0) {
            x++;
            y++;
        }
        return *x < *y;
    });
}

}  // namespace rys
