"""Put llama.cpp's sources, patched, into the build tree.

CMake runs this program at configure time, so it needs nothing but Python and pip. llama.cpp comes
out of the source distribution of llama-cpp-python that `vendor/llama.cpp/pin.json` names, because a
machine that can install Python packages can reach a package index. The steps:

1. Find the archive in the cache, or fetch it with pip. Its sha256 is checked before it enters the
   cache.
2. Read the files that the library needs, and apply `vendor/llama.cpp/patches/*.patch` in memory.
3. Write the files that differ from what the build tree holds. A file that did not change keeps its
   time stamp, so nothing is compiled twice, and a changed patch recompiles only what it touches.

`RYS_LLAMA_CPP_SOURCE` names other sources: a checkout of llama.cpp, or an archive of it or of
llama-cpp-python. They are read, never written.

    python vendor/llama.cpp/obtain.py --output BUILD/llama.cpp   # what the build does
    python vendor/llama.cpp/obtain.py --unpack-all DIR           # everything, unpatched
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apply_patches import HunkFailure, PatchFormatError, apply_patch

FOLDER = Path(__file__).resolve().parent
PIN_FILE = FOLDER / "pin.json"
PATCH_DIR = FOLDER / "patches"

# What libllama and the ggml backends are built from. The rest of upstream (tools, tests, models) is
# five times as much. `*` spans folders here. Of vendor/ upstream's CMakeLists.txt wants every
# folder's CMakeLists.txt, and compiles none.
NEEDED = (
    "CMakeLists.txt",
    "LICENSE",
    "cmake/*",
    "ggml/*",
    "include/*",
    "src/*",
    "vendor/CMakeLists.txt",
    "vendor/*/CMakeLists.txt",
    "vendor/hash/*",
)
MARKER = "src/llama.cpp"  # a tree that has it is llama.cpp's
SDIST_FOLDER = "vendor/llama.cpp/"  # where llama-cpp-python keeps it


class ObtainError(Exception):
    """The sources could not be had. The message says what happened and how to go on."""


@dataclass(frozen=True)
class Pin:
    """The upstream version that rys is made for."""

    package: str
    version: str
    sha256: str
    llama_cpp_commit: str

    @property
    def file_name(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}.tar.gz"

    @property
    def pip_command(self) -> str:
        return (
            f"python -m pip download --no-deps --no-binary {self.package} "
            f"{self.package}=={self.version}"
        )

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def load_pin(path: Path = PIN_FILE) -> Pin:
    """Read the pinned upstream version."""
    return Pin(**json.loads(path.read_text(encoding="utf-8")))


def cache_dir() -> Path:
    """Return the folder that keeps the fetched archive.

    This is `RYS_CACHE_DIR` if it is set, else a folder in the user's cache folder.
    """
    if os.environ.get("RYS_CACHE_DIR"):
        return Path(os.environ["RYS_CACHE_DIR"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "rys"


def usable_cache(pin: Pin, build: Path) -> Path:
    """Return `cache_dir()`, or a folder in the build tree if that one cannot be written."""
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return build / "cache"
    # a cache that holds the archive already need not be writable
    if (cache / pin.file_name).is_file() or os.access(cache, os.W_OK):
        return cache
    return build / "cache"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- 1. the archive


def obtain_archive(pin: Pin, cache: Path) -> Path:
    """Return the path of the pinned archive, verified. Fetch it if the cache has none.

    Raises:
        ObtainError: If there is no network, or the index serves another file than the pinned one.
    """
    archive = cache / pin.file_name
    if archive.is_file():
        if sha256_of(archive) == pin.sha256:
            return archive
        print(
            f"rys: {archive} is damaged (its sha256 is not the pinned one), fetching it again",
            flush=True,
        )
    cache.mkdir(parents=True, exist_ok=True)
    # beside its destination: a rename within one file system is atomic, so no half-written archive
    # is ever found there
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
        fetched = fetch_archive(pin, Path(scratch), archive)
        found = sha256_of(fetched)
        if found != pin.sha256:
            raise ObtainError(
                f"The source distribution of {pin} is not the one that rys was made with.\n"
                f"  expected sha256  {pin.sha256}\n"
                f"  found sha256     {found}\n"
                "Nothing was kept. The package index that pip uses here serves another file than "
                "the pinned one:\n"
                "a proxy on the way returns something else, or the file was tampered with. To go "
                "on, either\n"
                "  - use another index (pip's own settings hold here, such as PIP_INDEX_URL), or\n"
                "  - set RYS_LLAMA_CPP_SOURCE to a source distribution, or a checkout of "
                "llama.cpp, that you trust."
            )
        os.replace(fetched, archive)
    return archive


def fetch_archive(pin: Pin, folder: Path, archive: Path) -> Path:
    """Fetch the archive into `folder` and return its path.

    pip does it, because pip knows the user's settings of index, proxy and certificates.

    Args:
        pin: The version to fetch.
        folder: An empty folder, which is thrown away afterwards.
        archive: Where the archive will be kept, for the message if it cannot be fetched.

    Raises:
        ObtainError: If pip fails.
    """
    print(f"rys: fetching the source distribution of {pin} with pip", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    command += ["--no-binary", pin.package]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    command += [f"{pin.package}=={pin.version}"]
    # pip prepares the metadata of what it downloads. Without the option it would fetch upstream's
    # build tool for that, which is there already in a build without isolation.
    isolated = importlib.util.find_spec("scikit_build_core") is None
    result = run_pip(command + ([] if isolated else ["--no-build-isolation"]))
    if result.returncode != 0 and not isolated and "metadata" in result.stdout:
        result = run_pip(command)
    if result.returncode != 0 or not (folder / pin.file_name).is_file():
        noise = ("Looking in ", "WARNING: Retrying ", "WARNING: Location ")
        lines = result.stdout.splitlines()
        said = [line for line in lines if line.strip() and not line.startswith(noise)][-12:]
        raise ObtainError(
            f"The source distribution of {pin}, which holds llama.cpp, could not be fetched. "
            "pip said:\n" + "".join(f"    {line}\n" for line in said) + "To go on, either\n"
            "  - let this machine reach a package index (pip's own settings hold here, such as "
            "PIP_INDEX_URL), or\n"
            "  - run, on a machine that reaches one,\n"
            f"        {pin.pip_command}\n"
            f"    and copy the file to {archive}, or\n"
            "  - set RYS_LLAMA_CPP_SOURCE to that file, or to a checkout of llama.cpp."
        )
    return folder / pin.file_name


def run_pip(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run pip, with what it writes to standard error among its output."""
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )


# --- 2. the files


def is_needed(name: str) -> bool:
    """Return whether the build needs a file, by its path below llama.cpp's root."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in NEEDED)


def read_archive(archive: Path) -> dict[str, bytes]:
    """Return the needed files of an archive of llama.cpp or of llama-cpp-python.

    Returns:
        The content of each file, by its path below llama.cpp's root.

    Raises:
        ObtainError: If the archive cannot be read, or holds something else.
    """
    plain: dict[str, bytes] = {}
    nested: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.partition("/")[2]
                files = plain
                if name.startswith(SDIST_FOLDER):
                    files, name = nested, name[len(SDIST_FOLDER) :]
                # names with ".." would leave the folder
                if member.isfile() and is_needed(name) and ".." not in name.split("/"):
                    files[name] = tar.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ObtainError(
            f"{archive} cannot be read: {error}.\nGive an intact .tar.gz archive."
        ) from error
    files = nested if MARKER in nested else plain
    if MARKER not in files:
        raise not_llama_cpp(archive)
    return files


def not_llama_cpp(archive: Path) -> ObtainError:
    """Return the error for an archive of something else."""
    return ObtainError(
        f"{archive} is no archive of llama.cpp or of llama-cpp-python: no {MARKER} in it."
    )


def checkout_root(folder: Path) -> Path:
    """Return llama.cpp's root in a checkout of llama.cpp or of llama-cpp-python."""
    for root in (folder, folder / SDIST_FOLDER):
        if (root / MARKER).is_file():
            return root
    raise ObtainError(
        f"RYS_LLAMA_CPP_SOURCE is {folder}, but that is no checkout of llama.cpp: no {MARKER} in "
        "it,\n"
        f"nor in its {SDIST_FOLDER}. Give the root of the checkout."
    )


def read_checkout(folder: Path) -> dict[str, bytes]:
    """Return the needed files (path below llama.cpp's root -> content) of a checkout."""
    root = checkout_root(folder)
    files: dict[str, bytes] = {}
    for top in sorted({pattern.partition("/")[0] for pattern in NEEDED}):
        paths = (root / top).rglob("*") if (root / top).is_dir() else iter([root / top])
        for path in paths:
            name = path.relative_to(root).as_posix()
            if is_needed(name) and path.is_file():
                files[name] = path.read_bytes()
    return files


def checkout_commit(folder: Path) -> str:
    """Return the short commit of a git checkout, or "unknown"."""
    root = checkout_root(folder)
    if (root / ".git").exists() and shutil.which("git"):
        git = ["git", "-C", str(root), "rev-parse", "--short=9", "HEAD"]
        result = subprocess.run(git, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            return result.stdout.strip()
    return "unknown"


def patch_files(folder: Path = PATCH_DIR) -> list[Path]:
    """Return the patches in the order in which they apply."""
    return sorted(folder.glob("*.patch"))


def apply_all(files: dict[str, bytes], patches: list[Path]) -> list[HunkFailure]:
    """Apply `patches` in turn to `files`, in place; return every hunk that fails."""
    failures: list[HunkFailure] = []
    for path in patches:
        failures += apply_patch(files, path.read_bytes(), path.name)
    return failures


def patch_or_raise(files: dict[str, bytes], patches: list[Path], origin: str, pin: Pin) -> None:
    """Apply `patches` to `files`, in place; raise an `ObtainError` that lists what fails."""
    try:
        failures = apply_all(files, patches)
    except PatchFormatError as error:
        raise ObtainError(f"A file in vendor/llama.cpp/patches is no patch. {error}") from error
    if not failures:
        return
    raise ObtainError(
        f"rys's patches do not apply to llama.cpp from {origin}:\n"
        + "".join(f"  {failure}\n" for failure in failures)
        + f"They are made for the llama.cpp in {pin}"
        f" (commit {pin.llama_cpp_commit}), unchanged. To go on, either\n"
        "  - unset RYS_LLAMA_CPP_SOURCE, or point it to that version, without patches of its own, "
        "or\n"
        "  - port the patches in vendor/llama.cpp/patches: tools/update_llama_cpp.py tells which "
        "hunks to look at."
    )


# --- 3. the build tree


def existing_files(folder: Path) -> Iterator[str]:
    """Yield the paths of the files below a folder, relative to it."""
    for path in folder.rglob("*"):
        if not path.is_dir():
            yield path.relative_to(folder).as_posix()


def sync(files: dict[str, bytes], output: Path) -> int:
    """Make the folder `output` hold exactly `files`; return how many were written or removed."""
    changed = 0
    for name in list(existing_files(output)):
        if name not in files:
            (output / name).unlink()
            changed += 1
    for name, content in files.items():
        path = output / name
        try:
            if path.stat().st_size == len(content) and path.read_bytes() == content:
                continue
        except (FileNotFoundError, NotADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        changed += 1
    return changed


def build_key(pin: Pin, source: str, patches: list[Path]) -> str:
    """Return a hash of all that decides what the build tree holds."""
    digest = hashlib.sha256()
    for part in (repr(pin), source, repr(NEEDED)):
        digest.update(part.encode() + b"\0")
    if source and Path(source).expanduser().is_file():
        status = Path(source).expanduser().stat()
        digest.update(f"{status.st_size} {status.st_mtime_ns}\0".encode())
    for path in patches:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def prepare(
    output: Path, source: str = "", pin: Pin | None = None, patch_dir: Path = PATCH_DIR
) -> str:
    """Put the patched sources into the folder `output` and describe them in `output` + ".cmake".

    Args:
        output: The folder, which holds exactly these files afterwards.
        source: A checkout or an archive; empty = the pinned source distribution.
        pin: The upstream version; None = that of pin.json.
        patch_dir: Folder of the patches.

    Returns:
        One line that says what was done.

    Raises:
        ObtainError: If the sources cannot be had, or a patch does not apply.
    """
    pin = pin or load_pin()
    patches = patch_files(patch_dir)
    key = build_key(pin, source, patches)
    stamp = output.with_name(output.name + ".cmake")
    # a checkout may have been edited since, so it is always read again; the time stamps of
    # unchanged files stay
    from_folder = bool(source) and Path(source).expanduser().is_dir()
    done = stamp.is_file() and stamp.read_text(encoding="utf-8").startswith(f"# {key}\n")
    if done and not from_folder and (output / MARKER).is_file():
        return f"llama.cpp's sources are in place: {output}"

    if not source:
        archive = obtain_archive(pin, usable_cache(pin, output.parent))
        files, origin, commit = read_archive(archive), str(pin), pin.llama_cpp_commit
    elif from_folder:
        folder = Path(source).expanduser().resolve()
        files, origin, commit = read_checkout(folder), str(folder), checkout_commit(folder)
    else:
        archive = source_archive(source)
        pinned = sha256_of(archive) == pin.sha256
        files = read_archive(archive)
        origin, commit = (str(pin), pin.llama_cpp_commit) if pinned else (archive.name, "unknown")
    patch_or_raise(files, patches, origin, pin)

    # without its stamp an interrupted copy is not taken for a whole one
    stamp.unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    changed = sync(files, output)
    described = (
        f"# {key}\n"
        f"set(RYS_LLAMA_CPP_ORIGIN [==[{origin}]==])\n"
        f'set(RYS_LLAMA_CPP_COMMIT "{commit}")\n'
    )
    scratch = stamp.with_name(stamp.name + ".new")
    scratch.write_text(described, encoding="utf-8")
    os.replace(scratch, stamp)
    return (
        f"llama.cpp's sources from {origin}: {len(patches)} patches applied, "
        f"{changed} of {len(files)} files written"
    )


def source_archive(source: str) -> Path:
    """Return the path of the archive that `RYS_LLAMA_CPP_SOURCE` names."""
    archive = Path(source).expanduser().resolve()
    if archive.is_file():
        return archive
    raise ObtainError(
        f"RYS_LLAMA_CPP_SOURCE is {source}, but there is no such folder or file.\n"
        "Give a checkout of llama.cpp, or an archive (.tar.gz) of it or of llama-cpp-python; or "
        "unset it, and the\n"
        "pinned source distribution is fetched."
    )


def unpack_all(folder: Path, source: str | None = None) -> Path:
    """Unpack all of upstream's llama.cpp, unpatched, into `folder`; return `folder`.

    This is for what the build leaves out: upstream's tests, its vocabulary files, gguf-py. A folder
    that an earlier call completed is left as it is.

    Args:
        folder: The folder, replaced if it holds another version.
        source: As in `prepare`; None = `RYS_LLAMA_CPP_SOURCE` of the environment.
    """
    pin = load_pin()
    source = os.environ.get("RYS_LLAMA_CPP_SOURCE", "") if source is None else source
    stamp = folder / ".rys-unpacked"
    key = repr((pin, source))
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        if source and Path(source).expanduser().is_dir():
            root = checkout_root(Path(source).expanduser().resolve())
            shutil.copytree(
                root, scratch, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git", "build*")
            )
        else:
            archive = source_archive(source) if source else obtain_archive(pin, cache_dir())
            extract_all(archive, scratch)
        (scratch / stamp.name).write_text(key, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        scratch.chmod(0o755)  # mkdtemp's folders are private
        os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def extract_all(archive: Path, folder: Path) -> None:
    """Unpack llama.cpp's folder of an archive into `folder`."""
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            roots = [m.name[: -len(MARKER)] for m in members if m.name.endswith("/" + MARKER)]
            if not roots:
                raise not_llama_cpp(archive)
            root = min(roots, key=len)  # the outermost, should a test folder hold another one
            below = [m for m in members if m.name.startswith(root) and m.isfile()]
            for member in below:
                member.name = member.name[len(root) :]
            if hasattr(tarfile, "data_filter"):  # Python 3.12, and late versions before it
                tar.extractall(folder, below, filter="data")
            else:
                tar.extractall(folder, below)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ObtainError(
            f"{archive} cannot be read: {error}.\nGive an intact .tar.gz archive."
        ) from error


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Put llama.cpp's sources, patched, into the build tree."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--output", type=Path, help="folder for the patched sources that the library is built from"
    )
    what.add_argument(
        "--unpack-all", type=Path, metavar="DIR", help="unpack all of upstream, unpatched, into DIR"
    )
    parser.add_argument(
        "--source",
        default=os.environ.get("RYS_LLAMA_CPP_SOURCE", ""),
        help="checkout or archive to use instead of the pinned one "
        "(default: $RYS_LLAMA_CPP_SOURCE)",
    )
    options = parser.parse_args()
    try:
        if options.unpack_all:
            print(unpack_all(options.unpack_all.absolute(), options.source))
        else:
            print(f"rys: {prepare(options.output.absolute(), options.source)}")
    except ObtainError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
