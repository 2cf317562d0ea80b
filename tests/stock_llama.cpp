// The oracle for what a file means: stock llama.cpp, which knows nothing of paths, evaluates one sequence.
//
//     stock_llama MODEL OUT TOKEN [TOKEN ...]
//
// writes to OUT, as raw little-endian records (name length, name, 4 dimensions as int64, float32 data): the logits
// [n_tokens, n_vocab] as "logits", and what the evaluation callback sees of every layer's output, under the names that
// the builders give it.

#include "ggml-backend.h"
#include "llama-cpp.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static void write_record(FILE * out, const std::string & name, const int64_t * ne, const std::vector<float> & data) {
    const int64_t n = name.size();
    fwrite(&n, sizeof(n), 1, out);
    fwrite(name.data(), 1, name.size(), out);
    fwrite(ne, sizeof(int64_t), 4, out);
    fwrite(data.data(), sizeof(float), data.size(), out);
}

static bool is_layer_output(const char * name) {
    for (const char * prefix : { "l_out-", "l_last-", "nemotron_h_block_out-", "ffn_residual-" }) {
        // views and copies of an output have its name, with a remark after a space
        if (strncmp(name, prefix, strlen(prefix)) == 0 && strchr(name, ' ') == nullptr) {
            return true;
        }
    }
    return false;
}

static bool on_eval(ggml_tensor * t, bool ask, void * out) {
    if (ask || !is_layer_output(t->name)) {
        return is_layer_output(t->name);
    }
    std::vector<float> data(ggml_nelements(t));
    ggml_backend_tensor_get(t, data.data(), 0, ggml_nbytes(t));
    write_record(static_cast<FILE *>(out), t->name, t->ne, data);
    return true;
}

int main(int argc, char ** argv) {
    if (argc < 4) {
        return 2;
    }
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);

    std::vector<llama_token> tokens;
    for (int i = 3; i < argc; ++i) {
        tokens.push_back(atoi(argv[i]));
    }
    FILE * out = fopen(argv[2], "wb");

    llama_model_ptr model(llama_model_load_from_file(argv[1], llama_model_default_params()));
    if (!model || !out) {
        return 1;
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx                = 256;
    params.n_batch              = tokens.size();
    params.n_ubatch             = tokens.size();
    params.n_threads            = 1;
    params.n_threads_batch      = 1;
    params.kv_unified           = true;
    params.cb_eval              = on_eval;
    params.cb_eval_user_data    = out;

    llama_context_ptr ctx(llama_init_from_model(model.get(), params));
    llama_batch       batch = llama_batch_init(tokens.size(), 0, 1);
    for (size_t i = 0; i < tokens.size(); ++i) {
        batch.token[i]     = tokens[i];
        batch.pos[i]       = i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = true;
    }
    batch.n_tokens = tokens.size();
    if (!ctx || llama_decode(ctx.get(), batch) != 0) {
        return 1;
    }

    const int32_t      n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model.get()));
    std::vector<float> logits;
    for (size_t i = 0; i < tokens.size(); ++i) {
        const float * row = llama_get_logits_ith(ctx.get(), i);
        logits.insert(logits.end(), row, row + n_vocab);
    }
    const int64_t ne[4] = { n_vocab, (int64_t) tokens.size(), 1, 1 };
    write_record(out, "logits", ne, logits);

    llama_batch_free(batch);
    fclose(out);
    return 0;
}
