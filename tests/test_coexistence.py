"""rys beside another package that carries llama.cpp, in one process.

The other copy is a pair of libraries under llama.cpp's own file names and SONAMEs that defines
every function that rys's libraries define. Whoever calls one of these by mistake ends the process.
`RYS_UPSTREAM_BIN` names a folder with real libraries of an unpatched llama.cpp to try as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rys

LIBRARIES = Path(rys._core.__file__).parent / "lib"

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="about the loader of Linux"
)

# loads the other copy before or after rys, calls both, and prints the versions that each answers
# with
PROGRAM = """
import ctypes, sys
from pathlib import Path

order, mode, folder = sys.argv[1:]
mode = {"local": ctypes.RTLD_LOCAL, "global": ctypes.RTLD_GLOBAL}[mode]

def load_other():
    names = ["libggml-base.so", "libggml-cpu.so", "libggml.so", "libllama.so"]
    paths = [Path(folder) / name for name in names]
    return [ctypes.CDLL(str(path), mode=mode) for path in paths if path.exists()][-1]

if order == "first":
    other = load_other()
    import rys
else:
    import rys
    other = load_other()

other.llama_version.restype = ctypes.c_char_p
for _ in range(2):
    other.llama_backend_init()
    info = rys.build_info()
    print(other.llama_version().decode(), info["llama_cpp_version"], *info["backends"])
"""


def all_libraries() -> list[Path]:
    """Return the libraries of the package, and its extension module."""
    return [*sorted(LIBRARIES.glob("librys-*.so")), Path(rys._core.__file__)]


def symbols_of(library: Path, kind: str) -> set[str]:
    """Return the dynamic symbols that a library defines, of one of nm's kinds."""
    nm = shutil.which("nm") or pytest.skip("needs nm")
    listed = subprocess.run(
        [nm, "-D", "--defined-only", library], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(rf"^\w+ {kind} ([A-Za-z_]\w*)$", listed, re.MULTILINE))


@pytest.mark.parametrize("library", all_libraries(), ids=lambda path: path.name)
def test_nothing_is_shared_with_the_whole_process(library: Path) -> None:
    # neither a unique symbol nor a copy of the C++ library, where that is linked statically
    assert symbols_of(library, "u") == set()
    assert not {"_ZNSt6locale7classicEv", "_ZNSo9_M_insertIlEERSoT_"} & symbols_of(library, r"\w")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A libllama and a libggml in which all functions but three end the process."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    symbols: dict[str, set[str]] = {"ggml": set(), "llama": set()}
    for library in sorted(LIBRARIES.glob("librys-*.so")):
        symbols["llama" if "llama" in library.name else "ggml"] |= symbols_of(library, "T")
    answered = {"llama_version", "llama_backend_init", "ggml_version", "_init", "_fini"}
    assert answered - {"_init", "_fini"} <= symbols["llama"] | symbols["ggml"]

    folder = tmp_path_factory.mktemp("fake")
    bodies = {
        "ggml": 'const char * ggml_version(void) { return "fake"; }\n',
        # through the other library, as the real one does
        "llama": "const char * ggml_version(void);\nvoid llama_backend_init(void) {}\n"
        "const char * llama_version(void) { return ggml_version(); }\n",
    }
    for kind, file_name, libraries in (
        ("ggml", "libggml-base.so", []),
        ("llama", "libllama.so", ["-lggml-base"]),
    ):
        functions = "".join(
            f"void {name}(void) {{ abort(); }}\n" for name in sorted(symbols[kind] - answered)
        )
        source = folder / f"{kind}.c"
        source.write_text(f"extern void abort(void);\n{bodies[kind]}{functions}")
        command = [
            compiler,
            "-w",
            "-fno-builtin",
            "-shared",
            "-fPIC",
            source,
            "-o",
            folder / f"{file_name}.0",
        ]
        command += [f"-Wl,-soname,{file_name}.0", f"-L{folder}", "-Wl,-rpath,$ORIGIN", *libraries]
        subprocess.run(command, check=True)
        (folder / file_name).symlink_to(f"{file_name}.0")
    return folder


def run(
    order: str, mode: str, folder: Path, preamble: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", preamble + PROGRAM, order, mode, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mode", ["local", "global"])
@pytest.mark.parametrize("order", ["first", "second"])
def test_another_llama_cpp_in_the_process_is_never_mixed_up_with_ours(
    fake: Path, order: str, mode: str
) -> None:
    result = run(order, mode, fake)
    info = rys.build_info()
    line = " ".join(["fake", info["llama_cpp_version"], *info["backends"]])
    assert (result.returncode, result.stdout) == (0, f"{line}\n{line}\n"), result.stderr


def test_the_fake_is_called_where_nothing_keeps_it_away(fake: Path) -> None:
    # that is, the test above can fail: without its precaution rys ends in the other copy's
    # functions
    result = run("first", "global", fake, "import os; del os.RTLD_DEEPBIND\n")
    assert result.returncode != 0


@pytest.mark.skipif(
    "RYS_UPSTREAM_BIN" not in os.environ, reason="RYS_UPSTREAM_BIN names no libraries of upstream"
)
@pytest.mark.parametrize("mode", ["local", "global"])
@pytest.mark.parametrize("order", ["first", "second"])
def test_real_libraries_of_upstream_work_beside_ours(order: str, mode: str) -> None:
    result = run(order, mode, Path(os.environ["RYS_UPSTREAM_BIN"]))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(rys.build_info()["llama_cpp_version"]) >= 2


def test_no_symbol_is_unique_in_the_process() -> None:
    # STB_GNU_UNIQUE symbols ("u") are shared by all libraries, ours and foreign ones
    for library in [*LIBRARIES.glob("*.so"), Path(rys._core.__file__)]:
        assert symbols_of(library, "u") == set(), library.name
