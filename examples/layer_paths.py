"""Run one model along several paths: how soon a path is ready, and what comes out.

    python examples/layer_paths.py [MODEL.gguf] [--prompt TEXT]

Without a model it takes the reference model that comes with rys. That one knows only two kinds of
small questions, and answers hard ones better when the middle third of its layers runs twice.
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
    parser.add_argument("model", nargs="?", type=Path, help="default: the reference model")
    # the right answer is 0
    parser.add_argument("--prompt", default="Last digit of 4+9+5+3+9+6+4?")
    options = parser.parse_args()

    with rys.Model(options.model) if options.model else rys.reference_model() as model:
        print(model)
        n_layer = model.n_layer
        third, middle = n_layer // 3, n_layer // 2
        paths = {
            "the file's own order": None,
            "the middle third twice": rys.LayerPath.block(third, 2 * third, n_layer),
            "one layer twice": rys.LayerPath.block(middle, middle + 1, n_layer),
            "without the middle layer": f"..{middle - 1},{middle + 1}..",
        }
        for name, path in paths.items():
            begin = time.perf_counter()
            with model.with_path(path) as view:
                ready = 1000 * (time.perf_counter() - begin)
                answer = view.chat([{"role": "user", "content": options.prompt}], max_tokens=24)
            print(f"\n{name}: layer_path={str(view.layer_path)!r}, ready in {ready:.2f} ms")
            print(f"  {answer.text!r}")


if __name__ == "__main__":
    main()
