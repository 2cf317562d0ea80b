#include "evaluation.h"

#include "llama-ext.h"
#include "llama-model.h"

#include <algorithm>
#include <cstring>

namespace rys {

// a part of the one sequence, all of whose tokens ask for their logits
struct part {
    std::vector<llama_pos>      pos;
    std::vector<int32_t>        n_seq_id;
    std::vector<llama_seq_id *> seq_ids;
    std::vector<int8_t>         outputs;
    llama_seq_id                seq_id = 0;
    llama_batch                 batch  = {};

    // M-RoPE takes four positions of a token, but makes them itself only of tokens: of a residual stream the caller
    // gives n_pos = 4, and the last position is 0 for text
    part(uint32_t begin, uint32_t n, uint32_t n_pos) :
        pos((size_t) n * n_pos, 0),
        n_seq_id(n, 1),
        seq_ids(n, &seq_id),
        outputs(n, 1) {
        for (uint32_t i = 0; i < n * std::max(1u, n_pos - 1); ++i) {
            pos[i] = begin + i % n;
        }
        batch.n_tokens = n;
        batch.pos      = pos.data();
        batch.n_seq_id = n_seq_id.data();
        batch.seq_id   = seq_ids.data();
        batch.logits   = outputs.data();
    }

    part(const part &)             = delete;
    part & operator=(const part &) = delete;
};

// copy the residual stream of n tokens before slot `is`: [n, n_stream*n_embd]
static void copy_layer_input(const context & ctx, uint32_t is, uint32_t n, float * dst) {
    const model &  model    = ctx.source();
    const uint32_t n_embd   = llama_model_n_embd(model.get());
    const uint32_t n_stream = model.n_stream();
    const float *  src      = llama_get_embeddings_layer_inp(ctx.get(), is);

    if (model.get()->arch != LLM_ARCH_GEMMA3N) {
        std::memcpy(dst, src, (size_t) n * n_stream * n_embd * sizeof(float));
        return;
    }
    for (uint32_t i = 0; i < n * n_stream; ++i) {  // stream by stream instead of token by token
        std::memcpy(dst + (size_t) (i % n) * n_stream * n_embd + (i / n) * n_embd, src + (size_t) i * n_embd,
                    n_embd * sizeof(float));
    }
}

evaluation evaluation::run(std::shared_ptr<const model>     model,
                           context_params                   params,
                           const std::vector<llama_token> & tokens,
                           const std::vector<float> &       embd,
                           bool                             want_logits,
                           bool                             want_hidden,
                           const interrupt_fn &             interrupt) {
    const uint32_t n_embd   = llama_model_n_embd(model->get());
    const uint32_t n_vocab  = model->n_vocab();
    const uint32_t n_slot   = llama_model_n_layer(model->get());
    const uint32_t n_row    = n_embd * model->n_stream();
    const uint32_t n_tokens = tokens.empty() ? embd.size() / n_embd : tokens.size();

    // As many tokens at a time as there may be rows of logits: every row is asked for, since builders drop the others
    // from the last slot. Models that attend in both directions see all tokens at once.
    params.n_ctx     = std::max(params.n_ctx, n_tokens);
    params.n_seq_max = 1;
    params.n_batch   = model->has_memory() ? std::min(n_tokens, std::max(32u, max_outputs(*model, params))) : n_tokens;
    params.n_ubatch  = params.n_batch;

    context ctx(model, params, /* n_outputs_max */ params.n_batch);

    guard guard(/* single_threaded */ true);

    if (want_hidden) {
        for (uint32_t is = 0; is <= n_slot; ++is) {
            llama_set_embeddings_layer_inp(ctx.get(), is, true);
        }
    }

    evaluation result;
    result.logits.resize(want_logits ? (size_t) n_tokens * n_vocab : 0);
    result.hidden.resize(want_hidden ? (size_t) (n_slot + 1) * n_tokens * n_row : 0);

    for (uint32_t i0 = 0; i0 < n_tokens; i0 += params.n_batch) {
        const uint32_t n = std::min(n_tokens - i0, params.n_batch);

        part part(i0, n, tokens.empty() ? model->get()->hparams.n_pos_per_embd() : 1);
        if (tokens.empty()) {
            part.batch.embd = const_cast<float *>(embd.data()) + (size_t) i0 * n_embd;
        } else {
            part.batch.token = const_cast<llama_token *>(tokens.data()) + i0;
        }
        if (ctx.memory() != nullptr && llama_model_has_encoder(model->get())) {
            // an encoder-decoder reads the tokens on both sides
            if (llama_encode(ctx.get(), part.batch) != 0) {
                throw engine_error(guard.last_error("llama_encode failed"));
            }
        }
        ctx.decode(part.batch, interrupt);
        llama_synchronize(ctx.get());

        for (uint32_t i = 0; want_logits && i < n; ++i) {
            std::memcpy(&result.logits[(size_t) (i0 + i) * n_vocab], llama_get_logits_ith(ctx.get(), i),
                        n_vocab * sizeof(float));
        }
        for (uint32_t is = 0; want_hidden && is <= n_slot; ++is) {
            copy_layer_input(ctx, is, n, &result.hidden[((size_t) is * n_tokens + i0) * n_row]);
        }
    }
    return result;
}

}  // namespace rys
