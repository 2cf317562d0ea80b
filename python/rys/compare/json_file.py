"""JSON files of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rys.errors import CompareError

__all__ = ["read_json"]


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        CompareError: The file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CompareError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # ValueError also for bytes that are not text
        cure = ""
        if path.suffix == ".jsonl":
            cure = "; give the results*.json beside the samples, or the folder"
        raise CompareError(f"{path} is not JSON: {error}{cure}") from None
