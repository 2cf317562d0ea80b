#include "layer_path.h"

#include "llama-hparams.h"
#include "llama-model.h"
#include "models/models.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <stdexcept>

// Builders that keep a value from one slot to the next, or that hold a loop of their own, are right only on some paths
// or on none. Everything here can be seen in src/models/<architecture>.cpp.

std::string llama_layer_path_unsupported(const llama_model & model) {
    switch (model.arch) {
        case LLM_ARCH_NANBEIGE:
            if (static_cast<const llama_model_nanbeige &>(model).n_loops == 1) {
                return "";
            }
            return "it runs its layers in a loop of its own";
        case LLM_ARCH_HRM_TEXT:
            return "it runs its layers in nested cycles of its own";
        case LLM_ARCH_T5:
        case LLM_ARCH_T5ENCODER:
            return "its encoder and decoder layers share one numbering, so a layer index is ambiguous";
        case LLM_ARCH_GRANITE_SWITCH:
            return "its router layer steers the adapters of all other layers";
        case LLM_ARCH_EAGLE3:
        case LLM_ARCH_DFLASH:
        case LLM_ARCH_GEMMA4_ASSISTANT:
            return "it drafts for another model and reads that model's layers";
        case LLM_ARCH_WAVTOKENIZER_DEC:
            return "its layers are stages of a vocoder and not interchangeable";
        case LLM_ARCH_CLIP:
            return "it is an image encoder";
        default:
            return "";
    }
}

// layers from n_layer_kv_from_start on read the KV cache of one of the last two layers before: the sliding-window one
// or the full-attention one
static std::string check_shared_kv(const llama_hparams & hparams, const std::vector<uint32_t> & path) {
    for (size_t is = 0; is < path.size(); ++is) {
        if (hparams.has_kv(path[is])) {
            continue;
        }
        const uint32_t owner = hparams.n_layer_kv_from_start - (hparams.is_swa(path[is]) ? 2 : 1);
        if (std::find(path.begin(), path.begin() + is, owner) == path.begin() + is) {
            return "layer " + std::to_string(path[is]) + " reads the KV cache of layer " + std::to_string(owner) +
                   ", so that one must come before it";
        }
    }
    return "";
}

static std::string check_shared_indexer(const llama_hparams & hparams, const std::vector<uint32_t> & path) {
    for (const uint32_t il : path) {
        if (hparams.is_recr(il)) {
            continue;
        }
        if (!hparams.is_indexer_full(il)) {
            return "layer " + std::to_string(il) +
                   " reuses the selection of the last layer with an indexer, so one of those must come before it";
        }
        return "";
    }
    return "";
}

// Builders and caches that take a head count or a size without naming a layer get those of slot 0, which must then be
// those of layer 0 of the file. The architectures listed here ask for every slot of its own.
static std::string check_first_slot(const llama_model & model, uint32_t il) {
    const llama_hparams & hparams = model.hparams;

    bool n_head_kv_per_layer = false;
    switch (model.arch) {
        case LLM_ARCH_DECI:
        case LLM_ARCH_OPENELM:
        case LLM_ARCH_NEMOTRON_H:
        case LLM_ARCH_NEMOTRON_H_MOE:
        case LLM_ARCH_GRANITE_HYBRID:
        case LLM_ARCH_GEMMA4:
        case LLM_ARCH_STEP35:
            return "";
        case LLM_ARCH_KIMI_LINEAR:
        case LLM_ARCH_KIMI_K3:
        case LLM_ARCH_GLM5_NEXT:
        case LLM_ARCH_BAILINGMOE3:
        case LLM_ARCH_QWEN3NEXT:
        case LLM_ARCH_QWEN35:
        case LLM_ARCH_QWEN35MOE:
        case LLM_ARCH_QWEN4EXP:
        case LLM_ARCH_MINIMAX_01:
            n_head_kv_per_layer = true;
            break;
        default:
            break;
    }

    if (hparams.n_head(il) == hparams.n_head() && hparams.n_embd_head_k(il) == hparams.n_embd_head_k() &&
        hparams.n_embd_head_v(il) == hparams.n_embd_head_v() && hparams.n_rot(il) == hparams.n_rot() &&
        hparams.n_expert_used(il) == hparams.n_expert_used() &&
        (hparams.n_head_kv(il) == hparams.n_head_kv() || n_head_kv_per_layer)) {
        return "";
    }
    return "layer " + std::to_string(il) +
           " differs from layer 0 in its heads or sizes, which this architecture takes from the first slot, so the "
           "path must begin with a layer like layer 0";
}

// the caches of sparse attention divide by sizes that are 0 without a layer that fills them
static std::string check_sparse_cache(const llama_model & model, const std::vector<uint32_t> & path) {
    const llama_hparams & hparams = model.hparams;

    const auto fills = [&](uint32_t il) {
        return model.arch == LLM_ARCH_DEEPSEEK4 ? hparams.dsv4_compress_ratios[il] == 4 : !hparams.is_swa(il);
    };
    if (std::none_of(path.begin(), path.end(), fills)) {
        return model.arch == LLM_ARCH_DEEPSEEK4 ? "the path must visit a layer with compressed sparse attention" :
                                                  "the path must visit a layer with full attention";
    }
    return "";
}

std::string llama_layer_path_check(const llama_model & model, const std::vector<uint32_t> & path) {
    const llama_hparams & hparams = model.hparams;

    const std::string reason = llama_layer_path_unsupported(model);
    if (!reason.empty()) {
        return reason;
    }
    if (path.empty()) {
        return "the path is empty";
    }
    if (path.size() + hparams.n_layer_nextn > LLAMA_MAX_LAYERS) {
        return "the path has " + std::to_string(path.size()) + " slots, but at most " +
               std::to_string(LLAMA_MAX_LAYERS - hparams.n_layer_nextn) + " are possible";
    }
    for (const uint32_t il : path) {
        if (il >= hparams.n_layer()) {
            return "layer " + std::to_string(il) + " does not exist, the last one is " +
                   std::to_string(hparams.n_layer() - 1);
        }
    }

    const std::string first_slot = check_first_slot(model, path[0]);
    if (!first_slot.empty()) {
        return first_slot;
    }

    switch (model.arch) {
        case LLM_ARCH_GEMMA3N:
        case LLM_ARCH_GEMMA4:
            return check_shared_kv(hparams, path);
        case LLM_ARCH_DEEPSEEK4:
        case LLM_ARCH_DOTS3NOTE:
            return check_sparse_cache(model, path);
        case LLM_ARCH_GLM_DSA:
        case LLM_ARCH_GLM5_NEXT:
            return check_shared_indexer(hparams, path);
        case LLM_ARCH_HY_V4:
            return hparams.indexer_top_k > 0 ? check_shared_indexer(hparams, path) : "";
        case LLM_ARCH_RWKV7:
        case LLM_ARCH_ARWKV7:
            if (path[0] != 0 || std::count(path.begin(), path.end(), 0) != 1) {
                return "layer 0 hands its value to all others, so it must come first and only there";
            }
            return "";
        default:
            return "";
    }
}

template <typename T, size_t N> static void gather(std::array<T, N> & values, const std::vector<uint32_t> & src) {
    const std::array<T, N> old = values;
    for (size_t is = 0; is < src.size(); ++is) {
        values[is] = old[src[is]];
    }
}

template <size_t N> static void gather(std::bitset<N> & values, const std::vector<uint32_t> & src) {
    const std::bitset<N> old = values;
    for (size_t is = 0; is < src.size(); ++is) {
        values[is] = old[src[is]];
    }
}

// every per-layer array of llama_hparams; tests/test_patch.py compares this list with the upstream header
static void gather_hparams(llama_hparams & hparams, const std::vector<uint32_t> & src) {
    gather(hparams.layer_src, src);
    gather(hparams.n_head_arr, src);
    gather(hparams.n_head_kv_arr, src);
    gather(hparams.n_ff_arr, src);
    gather(hparams.n_ff_exp_arr, src);
    gather(hparams.n_expert_used_arr, src);
    gather(hparams.rope_pattern, src);
    gather(hparams.is_swa_impl, src);
    gather(hparams.is_recr_impl, src);
    gather(hparams.xielu_alpha_n, src);
    gather(hparams.xielu_alpha_p, src);
    gather(hparams.xielu_beta, src);
    gather(hparams.xielu_eps, src);
    gather(hparams.is_indexer_full_impl, src);
    gather(hparams.dsv4_compress_ratios, src);
    gather(hparams.is_ple_impl, src);
    gather(hparams.deepstack_mapping_arr, src);
    gather(hparams.swiglu_clamp_exp, src);
    gather(hparams.swiglu_clamp_shexp, src);
}

llama_model_view_ptr llama_model_init_view(const llama_model & model, const std::vector<uint32_t> & path) {
    const std::string reason = llama_layer_path_check(model, path);
    if (!reason.empty()) {
        throw std::invalid_argument(reason);
    }

    // the source layer of every slot, the MTP layers included
    std::vector<uint32_t> src = path;
    for (uint32_t il = model.hparams.n_layer(); il < model.hparams.n_layer_all; ++il) {
        src.push_back(il);
    }

    llama_model_view_ptr view(llama_model_create(model.arch, llama_model_default_params()));
    *view = model;                            // tensors are pointers, the buffers that they point into are shared

    if (model.arch == LLM_ARCH_MINIMAX_M3) {  // the assignment leaves out what the architecture's own class adds
        static_cast<llama_model_minimax_m3 &>(*view).msa_p = static_cast<const llama_model_minimax_m3 &>(model).msa_p;
    }

    view->layers.clear();
    view->layers.reserve(src.size());
    for (const uint32_t il : src) {
        view->layers.push_back(model.layers[il]);
    }

    llama_hparams & hparams = view->hparams;
    gather_hparams(hparams, src);
    hparams.n_layer_all = src.size();
    hparams.is_view     = true;

    return view;
}

void llama_model_view_deleter::operator()(llama_model * view) const {
    view->loras.clear();  // they belong to the model that loaded them
    delete view;
}
