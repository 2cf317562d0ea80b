#include "engine/guard.h"
#include "gguf.h"
#include "register.h"
#include "text.h"

#include <pybind11/stl/filesystem.h>
#include <pybind11/typing.h>

#include <filesystem>
#include <memory>
#include <string>

namespace py = pybind11;

struct gguf_deleter {
    void operator()(gguf_context * ctx) const { gguf_free(ctx); }
};

using gguf_ptr = std::unique_ptr<gguf_context, gguf_deleter>;

static gguf_ptr open_gguf(const std::filesystem::path & path) {
    py::gil_scoped_release release;  // reads a vocabulary of some MB
    rys::guard             guard(/* single_threaded */ true);

    gguf_ptr ctx(gguf_init_from_file(path.string().c_str(), { /* no_alloc */ true, /* ctx */ nullptr }));
    if (!ctx) {
        throw rys::engine_error(guard.last_error("not a GGUF file"));
    }
    return ctx;
}

template <typename T> static py::object number(const void * data, size_t i) {
    return py::cast(static_cast<const T *>(data)[i]);
}

static py::object element(gguf_type type, const void * data, size_t i) {
    switch (type) {
        case GGUF_TYPE_UINT8:
            return number<uint8_t>(data, i);
        case GGUF_TYPE_INT8:
            return py::int_(static_cast<const int8_t *>(data)[i]);
        case GGUF_TYPE_UINT16:
            return number<uint16_t>(data, i);
        case GGUF_TYPE_INT16:
            return number<int16_t>(data, i);
        case GGUF_TYPE_UINT32:
            return number<uint32_t>(data, i);
        case GGUF_TYPE_INT32:
            return number<int32_t>(data, i);
        case GGUF_TYPE_UINT64:
            return number<uint64_t>(data, i);
        case GGUF_TYPE_INT64:
            return number<int64_t>(data, i);
        case GGUF_TYPE_FLOAT32:
            return number<float>(data, i);
        case GGUF_TYPE_FLOAT64:
            return number<double>(data, i);
        case GGUF_TYPE_BOOL:
            return number<bool>(data, i);
        default:
            return py::none();
    }
}

static py::object value(const gguf_context * ctx, int64_t key) {
    const gguf_type type = gguf_get_kv_type(ctx, key);
    if (type == GGUF_TYPE_STRING) {
        return decode_text(gguf_get_val_str(ctx, key));
    }
    if (type != GGUF_TYPE_ARRAY) {
        return element(type, gguf_get_val_data(ctx, key), 0);
    }
    const gguf_type item_type = gguf_get_arr_type(ctx, key);
    const size_t    n         = gguf_get_arr_n(ctx, key);

    py::list items(n);
    for (size_t i = 0; i < n; ++i) {
        items[i] = item_type == GGUF_TYPE_STRING ? py::object(decode_text(gguf_get_arr_str(ctx, key, i))) :
                                                   element(item_type, gguf_get_arr_data(ctx, key), i);
    }
    return items;
}

static py::typing::Dict<py::str, py::object> read_metadata(const std::filesystem::path & path, bool arrays) {
    const gguf_ptr ctx = open_gguf(path);

    py::typing::Dict<py::str, py::object> result;
    for (int64_t key = 0; key < gguf_get_n_kv(ctx.get()); ++key) {
        if (arrays || gguf_get_kv_type(ctx.get(), key) != GGUF_TYPE_ARRAY) {
            result[decode_text(gguf_get_key(ctx.get(), key))] = value(ctx.get(), key);
        }
    }
    return result;
}

using layout = py::typing::Tuple<py::int_, py::typing::List<py::typing::Tuple<py::int_, py::int_>>>;

static layout read_layout(const std::filesystem::path & path) {
    const gguf_ptr ctx = open_gguf(path);

    py::list tensors;
    for (int64_t i = 0; i < gguf_get_n_tensors(ctx.get()); ++i) {
        tensors.append(py::make_tuple(gguf_get_tensor_offset(ctx.get(), i), gguf_get_tensor_size(ctx.get(), i)));
    }
    return py::make_tuple(gguf_get_data_offset(ctx.get()), tensors);
}

using tensor_tuple = py::typing::Tuple<py::str, py::str, py::int_, py::int_>;

static py::typing::List<tensor_tuple> read_tensors(const std::filesystem::path & path) {
    const gguf_ptr ctx = open_gguf(path);

    py::typing::List<tensor_tuple> tensors;
    for (int64_t i = 0; i < gguf_get_n_tensors(ctx.get()); ++i) {
        const ggml_type type = gguf_get_tensor_type(ctx.get(), i);
        const size_t    size = gguf_get_tensor_size(ctx.get(), i);
        tensors.append(py::make_tuple(decode_text(gguf_get_tensor_name(ctx.get(), i)), ggml_type_name(type),
                                      size / ggml_type_size(type) * ggml_blck_size(type), size));
    }
    return tensors;
}

void register_gguf(py::module_ & m) {
    m.def("read_metadata", &read_metadata, py::arg("path"), py::arg("arrays") = true,
          "Return the key-values of a GGUF file, with or without the arrays. Raises EngineError if it is none.");
    m.def("read_layout", &read_layout, py::arg("path"),
          "Return (where the tensor data begin, [(offset from there, size)] of the tensors), in bytes.");
    m.def("read_tensors", &read_tensors, py::arg("path"),
          "Return [(name, type, number of values, size in bytes)] of the tensors.");
}
