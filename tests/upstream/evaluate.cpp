// Prints what upstream's unpatched llama.cpp computes: the logits after every token, and what the evaluation callback
// sees of the layers' outputs.
//
//     evaluate MODEL TOKEN...
//
// stdout: for each array one line "name n_values\n", and then its float32 values. The names are "logits" (tokens by
// vocabulary) and those that the graph builders give to a layer's output, with the number of the layer.

#include "ggml-backend.h"
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <regex>
#include <string>
#include <vector>

typedef std::map<std::string, std::vector<float>> arrays;

static bool keep_layer_output(ggml_tensor * t, bool ask, void * user_data) {
    static const std::regex layer_output("(l_out|l_last|nemotron_h_block_out|ffn_residual|attn_norm_in)-[0-9]+");

    const std::string name = t->name;
    if (!std::regex_match(name, layer_output) || t->type != GGML_TYPE_F32 || !ggml_is_contiguous(t)) {
        return false;
    }
    if (!ask) {
        std::vector<float> & values = (*(arrays *) user_data)[name];
        values.resize(ggml_nelements(t));
        ggml_backend_tensor_get(t, values.data(), 0, ggml_nbytes(t));
    }
    return true;
}

int main(int argc, char ** argv) {
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level >= GGML_LOG_LEVEL_WARN) {
                fputs(text, stderr);
            }
        },
        nullptr);
    llama_backend_init();

    std::vector<llama_token> tokens;
    for (int i = 2; i < argc; ++i) {
        tokens.push_back(atoi(argv[i]));
    }
    const int n_tokens = tokens.size();

    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == nullptr) {
        return 1;
    }
    arrays layer_outputs;

    llama_context_params params = llama_context_default_params();
    params.n_ctx                = 256;
    params.n_batch              = n_tokens;
    params.n_ubatch             = n_tokens;
    params.n_threads            = 1;
    params.n_threads_batch      = 1;
    params.kv_unified           = true;
    params.cb_eval              = keep_layer_output;
    params.cb_eval_user_data    = &layer_outputs;
    llama_context * ctx         = llama_init_from_model(model, params);
    if (ctx == nullptr) {
        return 1;
    }

    llama_batch batch = llama_batch_init(n_tokens, 0, 1);
    for (int i = 0; i < n_tokens; ++i) {
        batch.token[i]     = tokens[i];
        batch.pos[i]       = i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = true;
    }
    batch.n_tokens = n_tokens;

    // models that attend in both directions have no memory, and the decoder of others reads what an encoder makes
    const bool decodes = llama_get_memory(ctx) != nullptr;
    const bool encodes = !decodes || llama_model_has_encoder(model);
    if ((encodes && llama_encode(ctx, batch) != 0) || (decodes && llama_decode(ctx, batch) != 0)) {
        return 1;
    }
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));

    printf("logits %d\n", n_tokens * n_vocab);
    for (int i = 0; i < n_tokens; ++i) {
        fwrite(llama_get_logits_ith(ctx, i), sizeof(float), n_vocab, stdout);
    }
    for (const auto & [name, values] : layer_outputs) {
        printf("%s %zu\n", name.c_str(), values.size());
        fwrite(values.data(), sizeof(float), values.size(), stdout);
    }
    return 0;
}
