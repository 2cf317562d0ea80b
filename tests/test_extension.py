"""How the extension module is found, what the build put in the package, and what rys says of
itself.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rys
from rys import _extension

LIBRARIES = Path(rys._core.__file__).parent / "lib"
PIN = json.loads(
    (Path(__file__).parent.parent / "vendor" / "llama.cpp" / "pin.json").read_text(encoding="utf-8")
)


def test_build_info_names_versions_backends_and_devices() -> None:
    info = rys.build_info()
    assert info["rys_version"] == importlib.metadata.version("rys")
    assert re.match(r"\d+\.\d+", info["llama_cpp_version"])
    if info["llama_cpp_origin"] == f"{PIN['package']} {PIN['version']}":
        assert info["llama_cpp_commit"] == PIN["llama_cpp_commit"]
    assert "CPU" in info["backends"]
    [cpu] = [device for device in info["devices"] if device["type"] == "cpu"]
    assert set(cpu) == {"name", "description", "type", "memory_free", "memory_total"}
    assert cpu["memory_total"] > 1 << 28


def test_the_libraries_lie_in_the_package_once_and_under_names_of_their_own() -> None:
    names = {path.name for path in LIBRARIES.iterdir() if path.name != "LICENSE-llama.cpp"}
    assert {"librys-llama.so", "librys-ggml.so", "librys-ggml-base.so"} <= {
        n.replace(".dylib", ".so") for n in names
    }
    assert not any(re.search(r"\.so\.\d|\.\d+\.dylib", name) for name in names)
    assert not any(path.is_symlink() for path in LIBRARIES.iterdir())


def test_upstreams_licence_comes_with_its_libraries() -> None:
    assert "MIT License" in (LIBRARIES / "LICENSE-llama.cpp").read_text(encoding="utf-8")


def test_import_prints_nothing() -> None:
    command = [sys.executable, "-c", "import rys; rys.build_info()"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    printed = [line for line in result.stdout.splitlines() if not line.startswith("Running cmake")]
    assert (printed, result.stderr) == ([], "")


@pytest.mark.skipif(not hasattr(sys, "setdlopenflags"), reason="this system has no such flags")
def test_import_leaves_the_loaders_flags_alone() -> None:
    before = sys.getdlopenflags()
    assert _extension.load_core() is rys._core
    assert sys.getdlopenflags() == before


def test_a_missing_extension_module_says_how_to_build_it(tmp_path: Path) -> None:
    message = _extension._explain(ImportError("cannot import name '_core' from 'rys'"), tmp_path)
    assert message.startswith(
        f"rys's extension module is not built: there is no rys._core in {tmp_path}.\n"
    )
    assert "pip install ." in message


def test_an_extension_module_of_another_python_is_told(tmp_path: Path) -> None:
    (tmp_path / "_core.cpython-39-x86_64-linux-gnu.so").touch()
    message = _extension._explain(ModuleNotFoundError("No module named 'rys._core'"), tmp_path)
    assert "built for another Python than this one" in message
    assert "_core.cpython-39-x86_64-linux-gnu.so" in message


def test_a_library_that_does_not_load_is_told(tmp_path: Path) -> None:
    error = ImportError(
        "libcudart.so.13: cannot open shared object file: No such file or directory"
    )
    assert _extension._explain(error, tmp_path).startswith(
        f"rys's extension module does not load: {error}.\n"
    )


def test_the_source_tree_without_a_build_says_how_to_build_it(tmp_path: Path) -> None:
    package = tmp_path / "rys"
    package.mkdir()
    for name in ("__init__.py", "_extension.py"):
        (package / name).write_bytes((Path(rys.__file__).parent / name).read_bytes())
    # -S: no site-packages, so that neither an installed rys nor an editable one helps
    command = [sys.executable, "-S", "-c", "import rys"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)}
    )
    assert result.returncode == 1
    assert "ImportError: rys's extension module is not built" in result.stderr
