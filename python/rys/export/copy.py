"""Write the GGUF that a layer path stands for, for programs that do not support paths.

Block `s` of the copy holds, byte for byte, the tensors of block `path[s]`. What the file says of
each layer is gathered along the path. The blocks of multi-token prediction stay behind it. An
unmodified llama.cpp that loads the copy then computes what rys computes along the path if, and only
if, a layer means the same in its new place. rules.py ensures that, and refuses the paths for which
no file means the same.
"""

from __future__ import annotations

import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from rys._util.output_file import checked_output, whole_file
from rys._util.printable import printable
from rys.engine import weights
from rys.errors import ModelFileError, OutputFileError, RysError
from rys.export.layout import Layout, lay_out
from rys.export.rules import plan_copy
from rys.export.source import Source
from rys.layer_path import LayerPathLike

__all__ = ["Export", "export"]


@dataclass(frozen=True)
class Export:
    """What has been written.

    Attributes:
        source: The file that was copied.
        destination: The file that was written.
        layer_path: The path, as a canonical string.
        n_layer: Layers of the source.
        n_slot: Layers of the copy.
        bytes: Size of the copy.
        fingerprint: Content id of the source, which the copy names as `rys.source_fingerprint`.
    """

    source: str
    destination: str
    layer_path: str
    n_layer: int
    n_slot: int
    bytes: int
    fingerprint: str


def export(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    layer_path: LayerPathLike,
    *,
    force: bool = False,
    progress: bool = False,
) -> Export:
    """Write a GGUF whose layers are those of another along a path.

    Weights are copied as they are stored and never converted. The copy is written under a temporary
    name and then renamed, so `destination` is complete or does not exist.

    Args:
        source: A GGUF; of a split model, the first part. The copy is one file.
        destination: The file to write.
        layer_path: Any form that LayerPath reads; None is the file's own order.
        force: Whether to overwrite `destination`.
        progress: Whether to show a progress bar.

    Returns:
        What has been written.

    Raises:
        ModelFileError: The source cannot be read. Nothing is written then, nor after the errors
            below.
        LayerPathError: The model lacks a layer.
        CannotExpressError: No GGUF of this architecture says what the path says.
        OutputFileError: The destination cannot be written.
    """
    source, destination = Path(source), Path(destination)
    weights.check_file(source)
    try:
        m = Source(source)
        plan = plan_copy(m, layer_path)
        fingerprint = weights.fingerprint(source)
        layout = lay_out(plan, fingerprint)
    except RysError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        # The rules trust that keys have the types and lengths with which llama.cpp would load the
        # model.
        raise ModelFileError(f"{source}: its metadata contradict themselves: {error!r}") from error
    # all that can be refused is refused before the first byte is written
    path = checked_output(destination, sources=m.files, force=force)
    check_space(path, needed=layout.n_bytes)
    write(path, layout, progress)
    return Export(
        source=str(source),
        destination=str(destination),
        layer_path=str(plan.layer_path),
        n_layer=plan.n_layer,
        n_slot=plan.n_slot,
        bytes=layout.n_bytes,
        fingerprint=fingerprint,
    )


def check_space(path: Path, needed: int) -> None:
    """Raise OutputFileError unless there is room for `needed` bytes."""
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        folder = printable(str(path.parent))
        raise OutputFileError(
            f"{printable(str(path))}: the copy needs {needed:,} bytes, but {folder} has "
            f"{free:,} bytes free; make room or write it elsewhere"
        )


def write(path: Path, layout: Layout, progress: bool) -> None:
    """Write the copy, whole or not at all."""
    with (
        whole_file(path) as temporary,
        temporary.open("xb") as out,
        tqdm(
            total=layout.n_bytes,
            unit="B",
            unit_scale=True,
            desc="exporting",
            disable=not progress,
        ) as bar,
    ):
        out.writelines(layout.header)
        for piece, offset in zip(layout.pieces, layout.offsets, strict=True):
            out.seek(offset)  # the gap reads as zeros
            bar.update(offset - bar.n)
            for data in piece.read():
                bar.update(out.write(data))
        # behind the last tensor there may be a gap, too, which a seek alone would not write
        out.truncate(layout.n_bytes)
        bar.update(layout.n_bytes - bar.n)
        out.flush()
        os.fsync(out.fileno())
