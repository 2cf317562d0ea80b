#include "engine/scheduler.h"
#include "interrupt.h"
#include "register.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

namespace py = pybind11;

using finished = py::typing::Tuple<py::int_, rys::result>;

static std::optional<finished> next_result(rys::scheduler & self) {
    auto done = self.next();
    if (!done) {
        return std::nullopt;
    }
    return finished(py::make_tuple(done->first, std::move(done->second)));
}

void register_scheduler(py::module_ & m) {
    using namespace rys;

    py::class_<scheduler>(m, "Scheduler")
        .def(py::init<std::shared_ptr<context>, uint32_t>(), py::arg("context"), py::arg("n_ctx"))
        .def("insert", &scheduler::insert, py::arg("requests"), py::arg("cache_prompt") = false,
             py::call_guard<py::gil_scoped_release>(),  // a grammar may take a second
             "Take requests, which share prefixes with each other, and with cache_prompt with earlier ones; return "
             "their "
             "ids in the same order.")
        .def("cancel", &scheduler::cancel, py::arg("ids"), "Drop requests, and free what they hold.")
        .def(
            "advance",
            [](scheduler & self, double seconds, size_t n_results) {
                return run_interruptible(
                    [&](const interrupt_fn & interrupt) { return self.advance(seconds, n_results, interrupt); });
            },
            py::arg("seconds"), py::arg("n_results") = 0,
            "Compute until nothing is left to do, `seconds` have passed or `n_results` results can be taken (0 = any "
            "number); return whether nothing is left to do.")
        .def("hurry", &scheduler::hurry,
             "Let `advance` return after the batch that is being computed. Other threads may call it.")
        .def("next", &next_result, "Give away the next result that is done, with its id; None if there is none.")
        .def(
            "settled_text",
            [](const scheduler & self, request_id id, size_t begin) { return py::bytes(self.settled_text(id, begin)); },
            py::arg("id"), py::arg("begin") = 0,
            "Return the bytes of a generation, from `begin` on, that later tokens cannot take back.")
        .def_property_readonly("n_tokens", &scheduler::n_tokens, "Tokens evaluated so far.")
        .def_property_readonly("n_cells_free", &scheduler::n_cells_free)
        .def_property_readonly("n_seqs_free", &scheduler::n_seqs_free)
        .def_property_readonly("n_kept", &scheduler::n_kept, "Requests, nodes and spans that are kept.");
}
