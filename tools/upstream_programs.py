"""Programs built from upstream's unpatched sources, for tests and benchmarks.

They are built once for each pinned version and kept in the build's cache folder. The tests compare
rys with them (tests/support/toys.py), and so do the benchmarks (benchmarks/stock_server.py).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vendor" / "llama.cpp"))

import obtain


class NotHereError(Exception):
    """The programs cannot be had on this machine. The message says what to do."""


def folder_of(name: str, made_of: Iterable[bytes]) -> Path:
    """Return the folder of the cache for what is built from upstream's sources and `made_of`.

    It need not exist yet.
    """
    return obtain.cache_dir() / f"{name}-{key(made_of)}"


def built(
    name: str, made_of: Iterable[bytes], make: Callable[[Path, Path], Iterable[Path]]
) -> Path:
    """Return `folder_of(name, made_of)`, made if it is not there (minutes, once).

    Args:
        name: What is built, for the name of the folder.
        made_of: Contents of the caller's own sources; others make another folder.
        make: Gets upstream's sources and a scratch folder, and returns the files to keep.

    Raises:
        NotHereError: If there are no sources and no network, no cmake, or no compiler.
    """
    folder = folder_of(name, made_of)
    if folder.is_dir():
        return folder
    if tool("cmake") is None:
        raise NotHereError("building upstream's programs takes cmake: pip install cmake ninja")
    if not any(map(shutil.which, [os.environ.get("CXX") or "c++", "g++", "clang++", "cl"])):
        raise NotHereError(
            "building upstream's programs takes a C++ compiler, of which none is on PATH"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as scratch:
        source, result = Path(scratch) / "llama.cpp", Path(scratch) / "result"
        try:
            obtain.unpack_all(source)
        except obtain.ObtainError as error:
            raise NotHereError(str(error)) from error
        files = list(make(source, Path(scratch)))
        result.mkdir()
        for file in files:
            shutil.copy2(file, result)
        try:
            os.replace(result, folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    return folder


def key(made_of: Iterable[bytes]) -> str:
    """Return a hash of all sources: upstream's, by the pin or as given, and the caller's own."""
    digest = hashlib.sha256(repr(obtain.load_pin()).encode())
    given = os.environ.get("RYS_LLAMA_CPP_SOURCE", "")
    digest.update(given.encode())
    if given:
        root = Path(given).expanduser()
        files = [root, *root.rglob("*.[ch]*")]
        times = [path.stat().st_mtime_ns for path in files if path.is_file()]
        # reading a whole checkout would take seconds at every start of the tests
        digest.update(str(max(times, default=0)).encode())
    for content in made_of:
        digest.update(content)
    return digest.hexdigest()[:16]


def build(
    project: Path, scratch: Path, programs: Sequence[str], definitions: Mapping[str, object]
) -> list[Path]:
    """Build programs of a CMake project below `scratch`; return their files.

    Raises:
        RuntimeError: If a step fails, with the end of what it said.
    """
    cmake, binary = tool("cmake") or "cmake", scratch / "build"
    configure = [cmake, "-S", str(project), "-B", str(binary)]
    configure += [f"-D{name}={value}" for name, value in definitions.items()]
    if ninja := tool("ninja"):
        configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    # ccache then knows the files again although each build has a folder of its own
    ccache = {"CCACHE_BASEDIR": str(scratch), "CCACHE_NOHASHDIR": "1"}
    run(configure, environment=ccache)
    jobs = str(os.cpu_count() or 1)
    run(
        [cmake, "--build", str(binary), "--parallel", jobs, "--target", *programs],
        environment=ccache,
    )
    found = (path for path in binary.rglob("*") if path.is_file() and os.access(path, os.X_OK))
    return [path for path in found if path.stem in programs]


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> bytes:
    """Return what a command prints.

    What it started ends with it: a build is many processes, and an interrupted one must not go on.

    Args:
        command: The program and its arguments.
        environment: Variables beside those of this process.

    Raises:
        RuntimeError: If the command fails, with the end of what it said.
    """
    program = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,  # so that the group below is its own, and not ours
    )
    try:
        output, errors = program.communicate()
    except BaseException:
        if hasattr(os, "killpg"):
            os.killpg(program.pid, signal.SIGKILL)
        program.kill()
        program.wait()
        raise
    if program.returncode != 0:
        said = (output[-3000:] + errors[-3000:]).decode(errors="replace")
        raise RuntimeError(
            f"{' '.join(command[:4])} ... exited with code {program.returncode}:\n{said}"
        )
    return output


def tool(name: str) -> str | None:
    """Return the path of cmake or ninja: on PATH, or the script of the Python package."""
    return shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))
