"""Load a run, whichever program wrote it."""

from __future__ import annotations

from pathlib import Path

from rys.compare import harness, own
from rys.compare.json_file import read_json
from rys.compare.run import Run
from rys.errors import CompareError

__all__ = ["load_run"]


def load_run(what: str | Path, is_base: bool) -> Run:
    """Return a run.

    Args:
        what: A file or a folder, or `FILE::LAYER_PATH`.
        is_base: Whether others are compared with it. Decides which path is taken of a file that
            holds several, if none is named.

    Raises:
        CompareError: It cannot be read or is not a result.
    """
    name, layer_path = str(what), None
    path = Path(name)
    # A file's own name may contain "::".
    if not path.exists() and "::" in name:
        file, _, layer_path = name.rpartition("::")
        path = Path(file)
    if path.is_dir() and layer_path is None:
        return harness.load_directory(path, name)
    # By content and not by name: users may name files as they like.
    if own.is_sweep(path):
        return own.load_sweep(path, str(path), layer_path, is_base)
    content = read_json(path)
    if own.is_probe_output(content):
        return own.load_probe(path, content, str(path), layer_path, is_base)
    if harness.is_harness_result(content) and layer_path is None:
        return harness.load_file(path, content, name)
    if layer_path is not None:
        raise CompareError(
            f"{name}: only a sweep and `rys probe --json` hold several layer paths, and {path} is "
            f"neither"
        )
    raise CompareError(
        f"{path} is neither a results file of lm-evaluation-harness, nor the output of "
        f"`rys probe --json`, nor the file of a sweep"
    )
