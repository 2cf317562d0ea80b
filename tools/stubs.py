"""Write python/rys/_core.pyi from the installed extension module.

Run `python tools/stubs.py` after a change to csrc/bindings. CI runs it with `--check`, which writes
nothing and fails if the file is out of date.
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).resolve().parent.parent / "python" / "rys" / "_core.pyi"
HEADER = "# Written by tools/stubs.py. Do not edit.\n"


def generate() -> str:
    """Return the stub of `rys._core`.

    `rys` is imported first, because it loads the module in the right way.
    """
    with tempfile.TemporaryDirectory() as folder:
        code = "import rys, sys; from pybind11_stubgen import main; main(sys.argv[1:])"
        options = ["rys._core", "--exit-code", "--numpy-array-use-type-var", "--output-dir", folder]
        result = subprocess.run(
            [sys.executable, "-c", code, *options], stdout=subprocess.DEVNULL, check=False
        )
        if result.returncode != 0:
            sys.exit(
                "No stub. A C++ type in a signature must be registered before the function that "
                "names it."
            )
        text = (Path(folder) / "rys" / "_core.pyi").read_text(encoding="utf-8")
    # os.PathLike, but not os.PathLike[str]; mypy wants the argument
    text = re.sub(r"\bos\.PathLike\b(?!\[)", "os.PathLike[str]", text)
    return HEADER + "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Write python/rys/_core.pyi from the installed extension module."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if the file is out of date"
    )
    options = parser.parse_args()
    new = generate()
    old = STUB.read_text(encoding="utf-8") if STUB.is_file() else ""
    if not options.check:
        STUB.write_text(new, encoding="utf-8")
        return 0
    if new == old:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(old.splitlines(True), new.splitlines(True), str(STUB), "generated")
    )
    print("The stub is out of date: run `python tools/stubs.py`.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
