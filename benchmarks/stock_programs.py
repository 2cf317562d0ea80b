"""llama-server and llama-bench of upstream's unpatched sources.

They are built once for each pinned version and kept in rys's cache folder. That takes cmake, a C++
compiler, minutes.

    python benchmarks/stock_programs.py   # builds them, if they are not there; prints their paths
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import upstream_programs

PROGRAMS = ("llama-server", "llama-bench")

# a release build as upstream's own, without what needs a network: TLS, and the web page that it
# would download
DEFINITIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",  # one file to keep
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_ALL_WARNINGS": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    # upstream would ask git, and be told the commit of whatever repository the sources lie in
    "LLAMA_BUILD_NUMBER": 0,
    "LLAMA_BUILD_COMMIT": "unknown",
}
_MADE_OF = [repr((PROGRAMS, DEFINITIONS)).encode()]


def are_built() -> bool:
    """Return whether the cache folder holds the programs."""
    return upstream_programs.folder_of("stock", _MADE_OF).is_dir()


def stock_program(name: str) -> Path:
    """Return one of PROGRAMS, built with the others if it is not there. Raises
    upstream_programs.NotHereError.
    """
    if not are_built():
        print(
            f"building {' and '.join(PROGRAMS)}, which takes minutes, once",
            file=sys.stderr,
            flush=True,
        )

    def make(source: Path, scratch: Path) -> list[Path]:
        return upstream_programs.build(source, scratch, PROGRAMS, DEFINITIONS)

    return upstream_programs.built("stock", _MADE_OF, make) / name


def stock_program_or_exit(name: str) -> Path:
    """Return one of PROGRAMS. Where it cannot be had, the program ends and says why."""
    try:
        return stock_program(name)
    except upstream_programs.NotHereError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    for name in PROGRAMS:
        print(stock_program_or_exit(name))
