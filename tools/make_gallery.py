"""Draw the pictures of docs/plots.md.

    python tools/make_gallery.py [--store sweep.db]

This sweeps the reference model and runs the page's own lines of Python. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

import rys
import rys.plot
from rys.probes.base import Item, SearchSplit
from rys.probes.reference import Reference

PAGE = Path(__file__).parent.parent / "docs" / "plots.md"
MAX_BYTES = 150_000  # a picture; they are committed
# ```python
# plot.race(sweep)
# ```
#
# ![race](images/plot_race.png)
PICTURE = re.compile(r"```python\n(plot\..*)\n```\n\n!\[.*\]\((images/.*\.png)\)")
# The same numbers in the two forms of questions that the model knows
TEXTS = {
    "1 2 3": ["Last digit of 1+2+3?", "From Monday wait one, two, three days. Which day?"],
    "4 4 1": ["Last digit of 4+4+1?", "From Monday wait four, four, one days. Which day?"],
    "6 2 5": ["Last digit of 6+2+5?", "From Monday wait six, two, five days. Which day?"],
    "3 1 1": ["Last digit of 3+1+1?", "From Monday wait three, one, one days. Which day?"],
    "5 6 4": ["Last digit of 5+6+4?", "From Monday wait five, six, four days. Which day?"],
}


class OneFamily(Reference):
    """Questions of one of the reference model's two families."""

    def __init__(self, family: str) -> None:
        super().__init__("mixed")
        self.id = family

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        items = super().items(2 * n, seed, split)
        return [item for item in items if item.tags["family"] == self.id][:n]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--store", type=Path, help="the sweep's file, made or resumed (default: a temporary one)"
    )
    options = parser.parse_args()
    plt.switch_backend("agg")
    with tempfile.TemporaryDirectory() as folder, rys.reference_model(n_ctx=1024) as model:
        store = options.store or Path(folder) / "gallery.sweep.db"
        space = rys.space.blocks() | rys.space.repeats([2, 3, 4])
        probes = [OneFamily("days"), OneFamily("sums")]
        with rys.Sweep(
            model, probes, space, store=store, items=128, strategy="race", min_effect=0.1
        ) as sweep:
            sweep.run(progress=sys.stderr.isatty())
            sweep.confirm(progress=sys.stderr.isatty())
            names = {"plot": rys.plot, "sweep": sweep, "model": model, "texts": TEXTS}
            for code, image in PICTURE.findall(PAGE.read_text(encoding="utf-8")):
                draw(code, PAGE.parent / image, names)


def draw(code: str, file: Path, names: dict[str, Any]) -> None:
    """Write the picture of a line of Python.

    Args:
        code: The line, as on the page.
        file: Picture to write.
        names: What the line may use.

    Raises:
        SystemExit: If the picture is too large to be committed.
    """
    drawn = eval(code, names)
    figure = (drawn[0] if isinstance(drawn, list) else drawn).figure
    figure.savefig(file, dpi=80 if isinstance(drawn, list) else 100)
    plt.close(figure)
    size = file.stat().st_size
    print(f"{file}: {size:,} bytes")
    if size > MAX_BYTES:
        raise SystemExit(f"{file} has {size:,} bytes, more than {MAX_BYTES:,}")


if __name__ == "__main__":
    main()
