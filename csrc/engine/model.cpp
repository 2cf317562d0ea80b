#include "model.h"

#include "ggml-backend.h"
#include "llama-model.h"

#include <algorithm>

namespace rys {

// llama_model_params point into these
struct load_params {
    std::vector<ggml_backend_dev_t> devices;
    std::vector<float>              tensor_split;
    llama_model_params              mparams;

    explicit load_params(const weights_params & params);
    load_params(const load_params &)             = delete;
    load_params & operator=(const load_params &) = delete;
};

static llama_load_mode load_mode(const weights_params & params) {
    if (params.metadata_only) {
        return LLAMA_LOAD_MODE_NONE;
    }
    if (params.use_mlock) {
        return params.use_mmap ? LLAMA_LOAD_MODE_MMAP_MLOCK : LLAMA_LOAD_MODE_MLOCK;
    }
    return params.use_mmap ? LLAMA_LOAD_MODE_AUTO : LLAMA_LOAD_MODE_NONE;
}

load_params::load_params(const weights_params & params) :
    tensor_split(params.tensor_split),
    mparams(llama_model_default_params()) {
    for (const std::string & name : params.devices) {
        devices.push_back(ggml_backend_dev_by_name(name.c_str()));
        if (devices.back() == nullptr) {
            throw request_error("there is no device '" + name +
                                "'; rys.build_info()['devices'] lists those that are there");
        }
    }
    devices.push_back(nullptr);

    if (tensor_split.size() > llama_max_devices()) {
        throw request_error("tensor_split has " + std::to_string(tensor_split.size()) + " values, but at most " +
                            std::to_string(llama_max_devices()) + " devices are possible");
    }
    tensor_split.resize(llama_max_devices());

    mparams.devices       = params.devices.empty() ? nullptr : devices.data();
    mparams.n_gpu_layers  = params.n_gpu_layers;
    mparams.split_mode    = (llama_split_mode) params.split_mode;
    mparams.main_gpu      = params.main_gpu;
    mparams.tensor_split  = params.tensor_split.empty() ? nullptr : tensor_split.data();
    mparams.check_tensors = params.check_tensors;
    mparams.load_mtp      = false;  // MTP layers are never run here, so they need no memory
    mparams.no_alloc      = params.metadata_only;
    mparams.load_mode     = load_mode(params);
}

// the kernels assert these on their own threads, where an assertion ends the process
static void check_epsilons(const llama_hparams & hparams) {
    for (const float eps : { hparams.f_norm_eps, hparams.f_norm_rms_eps, hparams.f_norm_group_eps }) {
        if (!(eps >= 0.0f && eps < 1e30f)) {
            throw engine_error("an epsilon of the norms is " + std::to_string(eps) + " and not a number from 0 on");
        }
    }
}

weights::weights(const std::string & path, const weights_params & params) :
    tensor_split_(params.split_mode == LLAMA_SPLIT_MODE_TENSOR) {
    load_params load(params);

    struct progress_data {
        const weights_params & params;
        bool                   stopped = false;
    } progress{ params };

    if (params.progress) {
        load.mparams.progress_callback_user_data = &progress;
        load.mparams.progress_callback           = [](float fraction, void * data) {
            auto & progress  = *static_cast<progress_data *>(data);
            progress.stopped = !progress.params.progress(fraction);
            return !progress.stopped;
        };
    }

    guard guard(/* single_threaded */ false);

    base_.reset(llama_model_load_from_file(path.c_str(), load.mparams));
    if (progress.stopped) {
        throw interrupted();
    }
    if (!base_) {
        throw engine_error(guard.last_error("llama.cpp gave no reason"));
    }
    check_epsilons(base_->hparams);

    for (const auto & [lora_path, scale] : params.loras) {
        llama_adapter_lora * lora = llama_adapter_lora_init(base_.get(), lora_path.c_str());
        if (lora == nullptr) {
            throw engine_error("LoRA adapter " + lora_path + ": " + guard.last_error("llama.cpp gave no reason"));
        }
        loras_.push_back(lora);
        lora_scales_.push_back(scale);
    }
}

static bool is_file_order(const llama_model & base, const std::vector<uint32_t> & path) {
    if (path.size() != base.hparams.n_layer()) {
        return false;
    }
    for (uint32_t il = 0; il < path.size(); ++il) {
        if (path[il] != il) {
            return false;
        }
    }
    return true;
}

// may be null: the order of the file needs no view, and a model that allows no paths still runs in it
static llama_model_view_ptr make_view(const weights & weights, const std::vector<uint32_t> & path) {
    const llama_model & base = *weights.base();

    std::string unsupported;
    if (weights.is_tensor_split()) {
        unsupported = llama_layer_path_unsupported(base);
        if (unsupported.empty()) {
            unsupported = "its tensors are split over the devices (split_mode='tensor')";
        }
    } else {
        try {
            return llama_model_init_view(base, path);
        } catch (const std::invalid_argument & error) {
            unsupported = llama_layer_path_unsupported(base);
            if (unsupported.empty()) {
                throw layer_path_error(error.what());
            }
        }
    }
    if (is_file_order(base, path)) {
        return nullptr;
    }
    throw unsupported_architecture_error(unsupported);
}

const token_texts & weights::token_texts() const {
    std::call_once(texts_made_, [this] { texts_ = std::make_unique<rys::token_texts>(llama_model_get_vocab(base())); });
    return *texts_;
}

model::model(std::shared_ptr<const weights> weights, const std::vector<uint32_t> & path) :
    weights_(std::move(weights)) {
    if (!path.empty()) {
        guard guard(/* single_threaded */ true);
        view_ = make_view(*weights_, path);
    }
}

bool model::has_tokenizer() const {
    return llama_vocab_type(vocab()) != LLAMA_VOCAB_TYPE_NONE;
}

bool model::has_memory() const {
    return get()->hparams.causal_attn && !llama_model_is_diffusion(get()) && !llama_model_has_encoder(get());
}

uint32_t model::n_pos_max() const {
    const ggml_tensor * table = get()->pos_embd;
    return table != nullptr ? table->ne[1] : 0;
}

uint32_t model::n_stream() const {
    return get()->hparams.n_stream;
}

uint32_t model::n_vocab() const {
    return llama_vocab_n_tokens(vocab());
}

}  // namespace rys
