#include "engine/context.h"
#include "register.h"

namespace py = pybind11;

void register_context(py::module_ & m) {
    using namespace rys;

    py::class_<context, std::shared_ptr<context>>(m, "Context")
        .def(py::init([](std::shared_ptr<const model> model, const context_params & params) {
                 py::gil_scoped_release release;  // allocates and plans the graph
                 return std::make_shared<context>(std::move(model), params);
             }),
             py::arg("model"), py::arg("params"))
        .def_property_readonly("n_ctx", &context::n_ctx)
        .def_property_readonly("is_broken", &context::is_broken);
}
