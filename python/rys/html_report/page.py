"""Write the page: template, style and script in one file, with the sweep's content filled in."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import jinja2
from markupsafe import Markup

from rys._util.output_file import checked_output, whole_file
from rys.build_info import build_info
from rys.html_report.content import content
from rys.sweep.results import Results

__all__ = ["render", "write_report"]

_FOLDER = Path(__file__).parent
_GENERATOR = '<meta name="generator" content="rys report '  # near the start of every report


def write_report(
    results: Results, destination: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Write the page of a sweep. It is whole or not there at all.

    results: as rys.sweep.results.open_results or rys.Sweep gives them.
    destination: the file; an earlier report is overwritten. force: so is any other file, but that
        of the sweep.

    Raises OutputFileError.
    """
    path = checked_output(
        destination, sources=[results.path], force=force, mark=_GENERATOR.encode()
    )
    page = render(results).encode(
        "utf-8", "replace"
    )  # half a surrogate pair, as in odd file names, becomes "?"
    with whole_file(path) as temporary:
        temporary.write_bytes(page)


def render(results: Results) -> str:
    """Return the page of a sweep as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = signed
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    script, style = (
        (_FOLDER / name).read_text(encoding="utf-8") for name in ("report.js", "report.css")
    )
    return environment.get_template("template.html").render(
        content(results),
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
