"""Run one model along several paths: what is new, what it costs, what comes out.

    python examples/layer_paths.py [MODEL.gguf]

Without a model, a small one with random weights is written to a temporary folder; its text means nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import rys

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from tiny_model import write_tiny_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--prompt", default="Once upon a time")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        file = options.model or write_tiny_model(Path(folder) / "tiny.gguf")
        with rys.Model(file) as model:
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
                    result = view.run([rys.Generate(options.prompt, max_tokens=24, logprobs=True)])[0]
                    print(f"\n{name}: layer_path={str(view.layer_path)!r}, {view.n_slot} slots, made in {ready:.2f} ms")
                    print(f"  {result.text!r}")


if __name__ == "__main__":
    main()
