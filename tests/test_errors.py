"""The exceptions of rys: what they derive from, and that they survive copying."""

import copy
import errno
import importlib
import pickle
import pkgutil

import pytest

import rys
from rys import errors

BUILTINS = {
    "LayerPathError": ValueError,
    "ModelFileError": ValueError,
    "ModelFileNotFoundError": FileNotFoundError,
    "UnsupportedArchitectureError": ValueError,
    "EngineError": RuntimeError,
    "ModelClosedError": RuntimeError,
    "ContextFullError": ValueError,
    "RequestError": ValueError,
    "TokenizerError": ValueError,
    "ChatTemplateError": ValueError,
    "NonFiniteLogitsError": FloatingPointError,
    "OutputFileError": OSError,
    "ProbeError": ValueError,
    "SpaceError": ValueError,
    "StoreError": ValueError,
    "CannotExpressError": errors.LayerPathError,
    "CompareError": ValueError,
    "PlotError": ValueError,
    "PlotLibraryError": ImportError,
}


def test_the_table_of_builtins_names_every_error():
    assert set(errors.__all__) == {"RysError", *BUILTINS}


@pytest.mark.parametrize("name", BUILTINS)
def test_an_error_is_caught_as_rys_error_and_as_its_builtin(name):
    cls = getattr(errors, name)
    for base in (errors.RysError, BUILTINS[name]):
        with pytest.raises(base, match=r"^model\.gguf is no model$"):
            raise cls("model.gguf is no model")


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_survives_copy_and_pickle(name):
    error = getattr(errors, name)("what was given")
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    for twin in (
        copy.copy(error),
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in protocols),
    ):
        assert type(twin) is type(error)
        assert str(twin) == "what was given"
        assert twin.args == error.args


def test_a_missing_model_file_behaves_as_file_not_found_with_a_plain_message():
    error = errors.ModelFileNotFoundError("no such file: 'model.gguf'")
    assert str(error) == "no such file: 'model.gguf'"
    assert error.errno == errno.ENOENT
    assert isinstance(error, OSError)
    assert isinstance(error, errors.ModelFileError)
    assert pickle.loads(pickle.dumps(error)).errno == errno.ENOENT


def errors_below(cls):
    for below in cls.__subclasses__():
        yield below
        yield from errors_below(below)


def test_every_error_of_the_package_is_in_this_module():
    for module in pkgutil.walk_packages(rys.__path__, "rys."):
        if module.name != "rys.__main__":
            importlib.import_module(module.name)
    ours = [cls for cls in errors_below(errors.RysError) if cls.__module__.startswith("rys.")]
    assert {cls.__name__ for cls in ours} == set(errors.__all__) - {"RysError"}
    assert {cls.__module__ for cls in ours} == {"rys.errors"}
