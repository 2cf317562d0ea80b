#include "engine/guard.h"
#include "register.h"

PYBIND11_MODULE(_core, m) {
    m.doc() = "The compiled part of rys: a thin layer on llama.cpp. Use the names in `rys`, not these.";

    rys::install_callbacks();

    register_errors(m);
    register_build_info(m);
    register_gguf(m);
    register_params(m);
    register_weights(m);
    register_model(m);
    register_context(m);
    register_requests(m);
    register_scheduler(m);
}
