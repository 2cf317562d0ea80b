import copy
import errno
import pickle

import pytest

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


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_has_a_docstring_of_one_line(name):
    doc = getattr(errors, name).__doc__
    assert doc.endswith(".")
    assert "\n" not in doc
