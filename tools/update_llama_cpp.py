"""Move rys to another version of llama.cpp, or tell what stands in the way.

    python tools/update_llama_cpp.py 0.3.37           # try it; nothing in this tree changes
    python tools/update_llama_cpp.py 0.3.37 --write   # and write the new pin if the patches apply

The argument is a version of llama-cpp-python. The steps, each reported as it ends:

1. Fetch the source distribution with pip.
2. Try every hunk of every patch.
3. Build rys from it, in a copy of this tree and a new virtual environment.
4. Run the architecture tests there.

If hunks fail, port them in vendor/llama.cpp/patches and run this again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from dataclasses import asdict, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "vendor" / "llama.cpp"))

import apply_patches  # noqa: E402  (found through the line above)
import obtain  # noqa: E402

LEAVE_OUT = shutil.ignore_patterns(
    ".git", ".venv", "venv", "build", "dist", "__pycache__", ".*_cache", "*.gguf"
)


def fetch(version: str, scratch: Path) -> tuple[obtain.Pin, Path]:
    """Fetch a version's source distribution; return its pin and its place in the cache."""
    old = obtain.load_pin()
    pin = replace(old, version=version, sha256="", llama_cpp_commit="unknown")
    cache = obtain.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / pin.file_name
    if version == old.version:
        return old, obtain.obtain_archive(old, cache)
    fetched = obtain.fetch_archive(pin, scratch, archive)
    pin = replace(
        pin, sha256=obtain.sha256_of(fetched), llama_cpp_commit=upstream_commit(fetched, version)
    )
    shutil.move(fetched, archive)
    return pin, archive


def upstream_commit(archive: Path, version: str) -> str:
    """Return the commit of llama.cpp that a version of llama-cpp-python holds, or "unknown".

    llama-cpp-python's changelog names it.
    """
    # ## [0.3.37]
    # - feat: update llama.cpp to ggml-org/llama.cpp@0c1e57098
    section = rf"^## \[{re.escape(version)}\]$(.*?)(?=^## |\Z)"
    found = re.search(section, changelog(archive), re.MULTILINE | re.DOTALL)
    commit = found and re.search(r"ggml-org/llama\.cpp@([0-9a-f]{7,})", found[1])
    return commit[1] if commit else "unknown"


def changelog(archive: Path) -> str:
    """Return the text of CHANGELOG.md in the archive's root, "" if there is none."""
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            if member.name.count("/") == 1 and member.name.endswith("/CHANGELOG.md"):
                file = tar.extractfile(member)
                return file.read().decode(errors="replace") if file else ""
    return ""


def try_patches(archive: Path) -> list[str]:
    """Try all patches in turn; return a line for each hunk that fails."""
    files = obtain.read_archive(archive)
    problems: list[str] = []
    for path in obtain.patch_files():
        try:
            failed = apply_patches.apply_patch(files, path.read_bytes(), path.name)
            failures = [str(failure) for failure in failed]
        except apply_patches.PatchFormatError as error:
            failures = [str(error)]
        print(f"  {path.name}: {'applies' if not failures else f'{len(failures)} hunks fail'}")
        problems += failures
    return problems


def build_and_test(pin: obtain.Pin, scratch: Path, pytest_options: list[str]) -> list[str]:
    """Build rys with `pin` in a copy of this tree and run the architecture tests.

    Returns:
        The steps that failed.
    """
    tree = scratch / "rys"
    shutil.copytree(ROOT, tree, ignore=LEAVE_OUT)
    write_pin(pin, tree / "vendor" / "llama.cpp" / "pin.json")
    venv.create(scratch / "venv", with_pip=True)
    python = scratch / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # the trial is about the new version, whatever sources the caller builds from
    environment = dict(os.environ)
    environment.pop("RYS_LLAMA_CPP_SOURCE", None)

    def run(what: str, *arguments: str) -> list[str]:
        print(f"{what}: {' '.join(arguments)}", flush=True)
        result = subprocess.run([str(python), *arguments], cwd=tree, env=environment, check=False)
        return [] if result.returncode == 0 else [f"{what} failed; the output is above"]

    problems = run("build", "-m", "pip", "install", "--quiet", ".[test]")
    return problems or run(
        "architecture tests", "-m", "pytest", "-m", "archs", *pytest_options, "tests"
    )


def write_pin(pin: obtain.Pin, path: Path) -> None:
    """Write pin.json, and the same facts in the table of the README beside it."""
    old, new = asdict(obtain.load_pin(path)), asdict(pin)
    path.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")
    readme = path.with_name("README.md")
    text = readme.read_text(encoding="utf-8")
    for key in ("sha256", "llama_cpp_commit"):
        text = text.replace(f"`{old[key]}`", f"`{new[key]}`")
    text = text.replace(f"{pin.package} {old['version']}", str(pin))
    readme.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Move rys to another version of llama.cpp.")
    parser.add_argument("version", help="version of llama-cpp-python, such as 0.3.37")
    parser.add_argument(
        "--write", action="store_true", help="write the new pin, if all patches apply"
    )
    parser.add_argument("--no-build", action="store_true", help="stop after the patches")
    parser.add_argument(
        "--pytest", action="append", default=[], metavar="OPTION", help="an option for pytest"
    )
    options = parser.parse_args()

    old = obtain.load_pin()
    with tempfile.TemporaryDirectory(prefix="rys-update-") as folder:
        scratch = Path(folder)
        try:
            pin, archive = fetch(options.version, scratch)
        except obtain.ObtainError as error:
            print(error, file=sys.stderr)
            return 1
        print(
            f"{old} (llama.cpp {old.llama_cpp_commit}) -> {pin} (llama.cpp {pin.llama_cpp_commit})"
        )
        print(f"sha256 {pin.sha256}")
        print("patches:")
        problems = try_patches(archive)
        applied = not problems
        if applied and not options.no_build:
            problems += build_and_test(pin, scratch, options.pytest)

    if applied and options.write:
        write_pin(pin, obtain.PIN_FILE)
        print(f"written: {obtain.PIN_FILE}")
    if problems:
        print("\nWhat failed:")
        for problem in problems:
            print(f"  {problem}")
        return 1
    print(
        "\nNothing failed."
        + ("" if options.write else " Run this again with --write to move the pin.")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
