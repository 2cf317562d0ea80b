"""Write docs/architectures.md: which architectures run along paths, as the tests find it.

    python tools/architecture_table.py                  # checks every toy along every path
    python tools/architecture_table.py --results FILE   # keeps the outcomes in FILE

The first takes about half an hour on 2 cores. With a FILE that exists, nothing is checked and the
outcomes are read from there.

This program imports the helpers of the tests (tests/support), because the page must say what the
tests check. So it runs from a checkout only.
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
from support.architecture_sweep import ORDER, TURNS, Sweep, is_supported, sweep  # noqa: E402
from support.toys import upstream  # noqa: E402

HEADER = """\
# Architectures

This page is written by `tools/architecture_table.py`. It shows what `python -m pytest -m archs`
finds with the {n_toys} toy models that llama.cpp's own generator writes. Each toy runs along up to
13 kinds of paths: a layer, a block or the whole stack twice, layers left out, reversed and mixed.

The columns count paths.

- **copy**: logits and hidden states are bit-identical to those of a GGUF in which the layers are
  physically copied. This is checked for the prompt, for decoding token by token, for several
  sequences in a batch, after a sequence was removed, after the context was used before, with the
  base model closed, and with three views alive in turns.
- **chain**: no GGUF expresses these paths, for example because dense lead layers come again or the
  metadata holds a period. They are checked against a chain of views, each of which hands its
  residual stream to the next.
- **refused**: rys raises an error before anything runs. The reasons are listed below the table.
- **no oracle**: the path runs, but neither a copy nor a chain can check it. The reasons are listed
  below as well.
- **hidden states**: "same" if llama.cpp's own evaluation callback sees bit-identical values after
  every slot.

{n_supported} of {n_toys} toys run along every path that a copy expresses. In {n_order} toys, the
file's own order given as a path is bit-identical to no path.

| toy | copy | chain | refused | no oracle | hidden states |
|---|---|---|---|---|---|
"""


def row(toy: str, outcomes: dict[str, Outcome]) -> str:
    """Return the line of the table for one toy."""
    kinds = Counter(outcome.kind for path, outcome in outcomes.items() if path != TURNS)
    counts = [str(kinds[kind] or "") for kind in ("copy", "chain", "refused", "no oracle")]
    hidden = [outcome.hidden for outcome in outcomes.values() if outcome.hidden is not None]
    if not hidden:
        seen = "not seen"
    else:
        seen = "same" if all(hidden) else "differ"
    return f"| {toy} | {' | '.join(counts)} | {seen} |\n"


def reasons(toys: dict[str, dict[str, Outcome]], kind: str) -> str:
    """Return a list of the reasons of an outcome, with the toys that they hold for."""
    told: dict[str, list[str]] = {}
    for toy, outcomes in toys.items():
        for outcome in outcomes.values():
            # without "model.gguf (architecture): " in front, so that equal reasons are told once
            reason = outcome.reason.rpartition("): ")[2] or outcome.reason
            if outcome.kind == kind and toy not in told.setdefault(reason, []):
                told[reason].append(toy)
    return "".join(f"- {', '.join(names)}: {reason}\n" for reason, names in sorted(told.items()))


def read_outcomes(file: Path) -> Sweep:
    """Read the outcomes that `write_outcomes` wrote."""
    toys = {}
    for toy, paths in json.loads(file.read_text(encoding="utf-8")).items():
        toys[toy] = {path: Outcome(**values) for path, values in paths.items()}
    return Sweep(toys)


def write_outcomes(found: Sweep, file: Path) -> None:
    """Write the outcomes as JSON."""
    toys = {}
    for toy, paths in found.toys.items():
        toys[toy] = {path: asdict(outcome) for path, outcome in paths.items()}
    file.write_text(json.dumps(toys), encoding="utf-8")


def page(found: Sweep) -> str:
    """Return the text of docs/architectures.md."""
    toys = dict(sorted(found.toys.items()))
    orders = [outcomes[ORDER].kind for outcomes in toys.values() if ORDER in outcomes]
    header = HEADER.format(
        n_toys=len(toys),
        n_supported=sum(is_supported(outcomes) for outcomes in toys.values()),
        n_order=orders.count("copy"),
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
        found = read_outcomes(options.results)
    else:
        programs = upstream()
        found = sweep(
            programs, programs.architectures(), progress=lambda name: print(name, file=sys.stderr)
        )
        if options.results is not None:
            write_outcomes(found, options.results)
    failures = found.failures()
    if failures:
        sys.exit("\n".join(["No table: something is wrong.", *failures]))
    target = ROOT / "docs" / "architectures.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
