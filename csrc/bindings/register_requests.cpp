#include "arrays.h"
#include "engine/requests.h"
#include "register.h"
#include "text.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

namespace py = pybind11;

void register_requests(py::module_ & m) {
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
        .def_property_readonly("logprobs", [](const result & self) { return copy_to_array(self.logprobs); })
        .def_property_readonly(
            "greedy", [](const result & self) { return std::vector<bool>(self.greedy.begin(), self.greedy.end()); })
        .def_property_readonly("logits", [](const result & self) { return copy_to_array(self.logits); })
        .def_readonly("log_sum_exp", &result::log_sum_exp)
        .def_readonly("n_prompt", &result::n_prompt)
        .def_readonly("n_shared", &result::n_shared)
        .def_readonly("seconds", &result::seconds);
}
