#include "model.h"

#include "ggml-backend.h"
#include "llama-model.h"

#include <algorithm>

namespace rys {

weights::weights(const std::string & path, const weights_params & params) :
    tensor_split_(params.split_mode == LLAMA_SPLIT_MODE_TENSOR) {
    llama_model_params mparams = llama_model_default_params();

    std::vector<ggml_backend_dev_t> devices;
    for (const std::string & name : params.devices) {
        devices.push_back(ggml_backend_dev_by_name(name.c_str()));
        if (devices.back() == nullptr) {
            throw request_error("there is no device '" + name +
                                "'; rys.build_info()['devices'] lists those that are there");
        }
    }
    devices.push_back(nullptr);

    std::vector<float> tensor_split = params.tensor_split;
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
    mparams.load_mtp      = params.load_mtp;
    mparams.no_alloc      = params.metadata_only;
    mparams.load_mode     = params.metadata_only ? LLAMA_LOAD_MODE_NONE :
                            params.use_mlock ? (params.use_mmap ? LLAMA_LOAD_MODE_MMAP_MLOCK : LLAMA_LOAD_MODE_MLOCK) :
                                               (params.use_mmap ? LLAMA_LOAD_MODE_AUTO : LLAMA_LOAD_MODE_NONE);

    struct progress_data {
        const weights_params & params;
        bool                   stopped = false;
    } progress{ params };

    if (params.progress) {
        mparams.progress_callback_user_data = &progress;
        mparams.progress_callback           = [](float fraction, void * data) {
            auto & progress  = *static_cast<progress_data *>(data);
            progress.stopped = !progress.params.progress(fraction);
            return !progress.stopped;
        };
    }

    guard guard(/* single_threaded */ false);

    base_.reset(llama_model_load_from_file(path.c_str(), mparams));
    if (progress.stopped) {
        throw interrupted();
    }
    if (!base_) {
        throw engine_error(guard.last_error("llama.cpp gave no reason"));
    }

    // the kernels assert these on their own threads, where an assertion ends the process
    const llama_hparams & hparams = base_->hparams;
    for (const float eps : { hparams.f_norm_eps, hparams.f_norm_rms_eps, hparams.f_norm_group_eps }) {
        if (!(eps >= 0.0f && eps < 1e30f)) {
            throw engine_error("an epsilon of the norms is " + std::to_string(eps) + " and not a number from 0 on");
        }
    }

    for (const auto & [lora_path, scale] : params.loras) {
        llama_adapter_lora * lora = llama_adapter_lora_init(base_.get(), lora_path.c_str());
        if (lora == nullptr) {
            throw engine_error("LoRA adapter " + lora_path + ": " + guard.last_error("llama.cpp gave no reason"));
        }
        loras_.push_back(lora);
        lora_scales_.push_back(scale);
    }
}

model::model(std::shared_ptr<const weights> weights, const std::vector<uint32_t> & path) :
    weights_(std::move(weights)) {
    if (!path.empty()) {
        guard guard(/* single_threaded */ true);
        view_ = llama_model_init_view(*weights_->base(), path);
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
