#pragma once

#include "ggml.h"

// Return the input of the first layer: what has become of the embeddings where the layer begins to read them, that is,
// where the norm or the projections branch off from the residual connection. So the builders, which differ in what they
// do to the embeddings before, need not name it.
ggml_tensor * llama_graph_first_layer_inp(ggml_cgraph * gf, ggml_tensor * embd);
