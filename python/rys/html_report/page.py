"""The page as one file: template, style and script, filled with the content of a sweep."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import jinja2
from markupsafe import Markup

from rys._util.output_file import checked_output, whole_file
from rys.build_info import build_info
from rys.html_report.content import collect_content
from rys.sweep.results import Results

__all__ = ["render", "write_report"]

_FOLDER = Path(__file__).parent
# Near the start of every report: files with it may be overwritten
_GENERATOR = '<meta name="generator" content="rys report '


def write_report(
    results: Results, destination: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Write the page of a sweep. The file is whole or not there at all.

    Args:
        results: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        destination: File to write. An earlier report is overwritten.
        force: Whether any other file may be overwritten. The sweep's own file never is.

    Raises:
        OutputFileError: The file cannot be written, or must not be overwritten.
    """
    path = checked_output(
        destination, sources=[results.path], force=force, mark=_GENERATOR.encode()
    )
    # Odd file names hold half a surrogate pair, which UTF-8 cannot write: it becomes "?".
    page = render(results).encode("utf-8", "replace")
    with whole_file(path) as temporary:
        temporary.write_bytes(page)


def render(results: Results) -> str:
    """Return the page of a sweep as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,  # a name that is missing is an error, not an empty text
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = format_signed
    # NaN is not JSON. collect_content replaces it; what it misses must not reach a browser.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    return environment.get_template("template.html").render(
        collect_content(results),
        generator=Markup(_GENERATOR),
        version=build_info()["rys_version"],
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def format_signed(value: float | None) -> str:
    """Return a difference with its sign and three digits, a dash for None."""
    if value is None:
        return "–"  # noqa: RUF001
    digits = f"{abs(value):.3f}"
    # What rounds to 0 has no sign.
    if abs(value) < 0.0005:
        return digits
    return f"+{digits}" if value > 0 else f"−{digits}"  # noqa: RUF001


def _hash(text: str) -> str:
    """Return the hash of a script or style, as a Content-Security-Policy names it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
