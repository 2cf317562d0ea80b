"""Run one model along several paths: what is new, what it costs, what comes out.

    python examples/layer_paths.py [MODEL.gguf]

Without a model, the reference model that comes with rys is used; its words are small sums and
letters.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import rys


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--prompt", default="What is 3 + 4?")
    options = parser.parse_args()

    with rys.Model(options.model) if options.model else rys.reference_model() as model:
        print(model)
        middle = model.n_layer // 2
        paths = {
            "the file's own order": None,
            "one layer twice": rys.LayerPath.block(middle, middle + 1, model.n_layer),
            "a block of two twice": rys.LayerPath.block(middle, middle + 2, model.n_layer),
            "without the middle layer": f"..{middle - 1},{middle + 1}..",
        }
        for name, path in paths.items():
            begin = time.perf_counter()
            with model.with_path(path) as view:
                ready = 1000 * (time.perf_counter() - begin)
                result = view.generate(options.prompt, max_tokens=24)
            print(f"\n{name}: layer_path={str(view.layer_path)!r}, made in {ready:.2f} ms")
            print(f"  {result.text!r}")


if __name__ == "__main__":
    main()
