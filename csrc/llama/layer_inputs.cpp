#include "layer_inputs.h"

ggml_tensor * llama_graph_first_layer_inp(ggml_cgraph * gf, ggml_tensor * embd) {
    ggml_tensor * cur = embd;

    while (cur != nullptr) {
        ggml_tensor * reader    = nullptr;
        int           n_readers = 0;
        for (int i = 0; i < ggml_graph_n_nodes(gf); ++i) {
            ggml_tensor * node = ggml_graph_node(gf, i);
            for (int j = 0; j < GGML_MAX_SRC; ++j) {
                if (node->src[j] == cur) {
                    reader = node;
                    n_readers++;
                    break;
                }
            }
        }
        if (n_readers != 1) {
            break;
        }
        cur = reader;
    }

    return cur;
}
