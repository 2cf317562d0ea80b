#include "engine/scheduler.h"
#include "interrupt.h"
#include "register.h"
#include "text.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

namespace py = pybind11;

static py::array_t<float> to_array(const std::vector<float> & values) {
    return py::array_t<float>(values.size(), values.data());
}

void register_scheduler(py::module_ & m) {
    using namespace rys;

    py::enum_<request_kind>(m, "RequestKind")
        .value("generate", request_kind::generate)
        .value("loglikelihood", request_kind::loglikelihood)
        .value("next_token", request_kind::next_token)
        .value("logits", request_kind::logits);

    py::enum_<finish>(m, "Finish")
        .value("none", finish::none)
        .value("eos", finish::eos)
        .value("stop", finish::stop)
        .value("length", finish::length)
        .value("context_full", finish::context_full)
        .value("not_finite", finish::not_finite)
        .value("failed", finish::failed);

    py::class_<sampling_params>(m, "SamplingParams")
        .def(py::init<>())
        .def_readwrite("temperature", &sampling_params::temperature)
        .def_readwrite("top_k", &sampling_params::top_k)
        .def_readwrite("top_p", &sampling_params::top_p)
        .def_readwrite("min_p", &sampling_params::min_p)
        .def_readwrite("repeat_penalty", &sampling_params::repeat_penalty)
        .def_readwrite("repeat_last_n", &sampling_params::repeat_last_n)
        .def_readwrite("seed", &sampling_params::seed)
        .def_readwrite("grammar", &sampling_params::grammar);

    py::class_<request>(m, "Request")
        .def(py::init([](request_kind kind, std::vector<llama_token> tokens) {
                 request result = {};
                 result.kind    = kind;
                 result.tokens  = std::move(tokens);
                 return result;
             }),
             py::arg("kind"), py::arg("tokens"))
        .def_readonly("kind", &request::kind)
        .def_readonly("tokens", &request::tokens)
        .def_readwrite("n_context", &request::n_context)
        .def_readwrite("max_tokens", &request::max_tokens)
        .def_property(
            "stop",
            [](const request & self) {
                py::typing::List<py::bytes> stop;
                for (const std::string & text : self.stop) {
                    stop.append(py::bytes(text));
                }
                return stop;
            },
            [](request & self, const std::vector<py::bytes> & stop) { self.stop.assign(stop.begin(), stop.end()); })
        .def_readwrite("sampling", &request::sampling)
        .def_readwrite("logprobs", &request::logprobs)
        .def_readwrite("allowed", &request::allowed);

    py::class_<result>(m, "Result")
        .def_readonly("state", &result::state)
        .def_property_readonly("error", [](const result & self) { return decode_text(self.error); })
        .def_property_readonly("text", [](const result & self) { return py::bytes(self.text); })
        .def_readonly("tokens", &result::tokens)
        .def_property_readonly("logprobs", [](const result & self) { return to_array(self.logprobs); })
        .def_property_readonly(
            "greedy", [](const result & self) { return std::vector<bool>(self.greedy.begin(), self.greedy.end()); })
        .def_property_readonly("logits", [](const result & self) { return to_array(self.logits); })
        .def_readonly("log_sum_exp", &result::log_sum_exp)
        .def_readonly("n_prompt", &result::n_prompt)
        .def_readonly("n_shared", &result::n_shared)
        .def_readonly("seconds", &result::seconds);

    py::class_<scheduler>(m, "Scheduler")
        .def(py::init<std::shared_ptr<context>, std::vector<request>, uint32_t>(), py::arg("context"),
             py::arg("requests"), py::arg("n_ctx"))
        .def(
            "advance",
            [](scheduler & self, double seconds) {
                return run_interruptible(
                    [&](const interrupt_fn & interrupt) { return self.advance(seconds, interrupt); });
            },
            py::arg("seconds"), "Compute until all is done or `seconds` have passed; return whether all is done.")
        .def("close", &scheduler::close, "Empty the context and leave it to others; the results stay.")
        .def_property_readonly("n_done", [](const scheduler & self) { return self.answers().n_done(); })
        .def_property_readonly("n_tokens", &scheduler::n_tokens)
        .def(
            "result", [](const scheduler & self, size_t i) -> const result & { return self.answers().results().at(i); },
            py::arg("i"), py::return_value_policy::reference_internal)
        .def(
            "settled_text",
            [](const scheduler & self, uint32_t i) {
                return py::bytes(self.answers().results().at(i).text.substr(0, self.answers().n_text_settled(i)));
            },
            py::arg("i"), "Return the bytes of a generation that later tokens cannot take back.");
}
