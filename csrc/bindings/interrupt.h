#pragma once

#include "engine/guard.h"

#include <pybind11/pybind11.h>

#include <exception>
#include <utility>

// Run `work(interrupt)` without the GIL; Ctrl-C ends it with KeyboardInterrupt.
template <typename Work> auto run_interruptible(Work && work) {
    std::exception_ptr error;

    const rys::interrupt_fn interrupt = [&error] {
        pybind11::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) {
            error = std::make_exception_ptr(pybind11::error_already_set());
            return true;
        }
        return false;
    };
    try {
        // llama.cpp computes: other Python threads may run
        pybind11::gil_scoped_release release;
        return work(interrupt);
    } catch (const rys::interrupted &) {
        if (error) {
            std::rethrow_exception(error);
        }
        throw;
    }
}
