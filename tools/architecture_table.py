"""Write docs/architectures.md: which architectures run along layer paths, as the architecture tests
find it.

python tools/architecture_table.py            # checks every toy along every path, about half an
hour on 2 cores python tools/architecture_table.py --results FILE   # keeps the outcomes in FILE, or
takes them from there
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tools", "vendor/llama.cpp")]

from support.architecture_case import Outcome  # noqa: E402  (tests are not a package)
from support.architecture_sweep import TURNS, Sweep, is_supported, sweep  # noqa: E402
from support.toys import upstream  # noqa: E402

HEADER = """# Architectures

Written by `tools/architecture_table.py` from what `python -m pytest -m archs` checks: the {n_toys} toy models that
llama.cpp's own generator writes, each along up to 13 kinds of paths (a layer, a block or the whole stack twice, layers
left out, reversed and mixed).

- **copy**: paths whose logits and hidden states are bit-identical to a physically copied GGUF's: prefill, decoding
  token by token, several sequences in a batch, after a sequence was removed, after the context was used before, with
  the base model closed, with three views alive in turns.
- **chain**: paths that no GGUF expresses (dense lead layers that come again, periods in metadata), checked against
  a chain of views that hand the residual stream from one to the next.
- **refused**: paths for which rys raises an error beforehand. The reasons stand below.
- **no oracle**: paths that run, but that neither a copy nor a chain can check, for the reasons below.
- **hidden states**: seen by llama.cpp's own evaluation callback, bit-identical, after every slot.

{n_supported} of {n_toys} toys run along every path that a copy expresses; the file's own order, written as a path, is
bit-identical to no path in {n_order}.

| toy | copy | chain | refused | no oracle | hidden states |
|---|---|---|---|---|---|
"""


def row(toy: str, outcomes: dict[str, Outcome]) -> str:
    kinds = Counter(outcome.kind for path, outcome in outcomes.items() if path != TURNS)
    hidden = [outcome.hidden for outcome in outcomes.values() if outcome.hidden is not None]
    seen = "same" if hidden and all(hidden) else "not seen" if not hidden else "differ"
    counts = [str(kinds[kind] or "") for kind in ("copy", "chain", "refused", "no oracle")]
    return f"| {toy} | {' | '.join(counts)} | {seen} |\n"


def reasons(toys: dict[str, dict[str, Outcome]], kind: str) -> str:
    """Return a list of the reasons of an outcome, with the toys that they hold for."""
    told: dict[str, list[str]] = {}
    for toy, outcomes in toys.items():
        for outcome in outcomes.values():
            reason = outcome.reason.rpartition("): ")[2] or outcome.reason
            if outcome.kind == kind and toy not in told.setdefault(reason, []):
                told[reason].append(toy)
    return "".join(f"- {', '.join(names)}: {reason}\n" for reason, names in sorted(told.items()))


def page(found: Sweep) -> str:
    toys = dict(sorted(found.toys.items()))
    header = HEADER.format(
        n_toys=len(toys),
        n_supported=sum(is_supported(outcomes) for outcomes in toys.values()),
        n_order=sum(
            outcomes.get("the file's order", Outcome("crash")).kind == "copy"
            for outcomes in toys.values()
        ),
    )
    rows = "".join(row(toy, outcomes) for toy, outcomes in toys.items())
    return (
        f"{header}{rows}\n## Why paths are refused\n\n{reasons(toys, 'refused')}"
        f"\n## Why a path has no oracle\n\n{reasons(toys, 'no oracle')}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--results", type=Path, help="a JSON file of outcomes, written if it does not exist"
    )
    options = parser.parse_args()
    if options.results is not None and options.results.exists():
        values = json.loads(options.results.read_text(encoding="utf-8"))
        found = Sweep(
            {
                toy: {path: Outcome(**v) for path, v in paths.items()}
                for toy, paths in values.items()
            }
        )
    else:
        programs = upstream()
        found = sweep(
            programs, programs.architectures(), progress=lambda name: print(name, file=sys.stderr)
        )
        if options.results is not None:
            plain = {
                toy: {path: asdict(v) for path, v in paths.items()}
                for toy, paths in found.toys.items()
            }
            options.results.write_text(json.dumps(plain), encoding="utf-8")
    failures = found.failures()
    if failures:
        sys.exit("\n".join(["No table: something is wrong.", *failures]))
    target = ROOT / "docs" / "architectures.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
