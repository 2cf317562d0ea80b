#pragma once

// What a context would cost.

#include "context.h"

namespace rys {

// Return the bytes of KV cache and recurrent state that a context would have. With weights of metadata only, the KV
// cache is not allocated. Throws request_error if a cache type does not fit the heads, engine_error if llama.cpp fails.
uint64_t memory_bytes(const model & model, const context_params & params);

}  // namespace rys
