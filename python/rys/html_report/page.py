"""Write the page: template, style and script in one file, with the sweep's content filled in."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from pathlib import Path

import jinja2
from markupsafe import Markup

from rys.build_info import build_info
from rys.errors import RysError
from rys.html_report.content import content
from rys.sweep.results import Results
from rys.sweep.store import StoreError

__all__ = ["ReportError", "render", "write_report"]

_FOLDER = Path(__file__).parent
_GENERATOR = '<meta name="generator" content="rys report '  # near the start of every report


class ReportError(RysError, OSError):
    """A report cannot be written where it should be."""


def write_report(results: Results, destination: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write the page of a sweep. It is whole or not there at all.

    results: as rys.sweep.results.open_results or rys.Sweep gives them.
    destination: the file; an earlier report is overwritten. force: so is any other file, but that of the sweep.

    Raises ReportError (the destination) or StoreError (the sweep's file contradicts itself).
    """
    destination = Path(destination)
    _check_destination(destination, results.path, force)
    page = render(results).encode("utf-8", "replace")  # half a surrogate pair, as in odd file names, becomes "?"
    draft = destination.with_name(f".rys-report-{secrets.token_hex(4)}.tmp")
    try:
        draft.write_bytes(page)
        os.replace(draft, destination)
    except OSError as error:
        raise ReportError(f"{destination}: cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)  # still there after an error or Ctrl-C


def _check_destination(destination: Path, source: Path, force: bool) -> None:
    """Raise ReportError if the page would take the place of something else."""
    try:
        if not destination.exists():
            return
        if destination.is_dir():
            raise ReportError(f"{destination} is a folder; name a file in it")
        if destination.samefile(source):
            raise ReportError(f"{destination} is the file of the sweep itself; give another name for the report")
        with destination.open("rb") as file:
            is_report = _GENERATOR.encode() in file.read(1024)
    except ReportError:
        raise
    except OSError as error:
        raise ReportError(f"{destination}: {error.strerror or error}") from None
    if not (is_report or force):
        raise ReportError(f"{destination} exists and is no report of rys; give another name, or --force (force=True)")


def render(results: Results) -> str:
    """Return the page of a sweep as HTML. Raises StoreError if the sweep's file contradicts itself."""
    try:
        shown = content(results)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{results.path} contradicts itself: {error!r}") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = signed
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    script, style = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    return environment.get_template("template.html").render(
        shown,
        generator=Markup(_GENERATOR),
        version=build_info()["rys_version"],
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def signed(value: float | None) -> str:
    """Return a difference with its sign and three digits, a dash for None."""
    if value is None:
        return "–"  # noqa: RUF001
    sign = "" if abs(value) < 0.0005 else "+" if value > 0 else "−"  # noqa: RUF001
    return f"{sign}{abs(value):.3f}"


def _hash(text: str) -> str:
    """Return the hash of a script or style, as a Content-Security-Policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
