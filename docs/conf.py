"""How Sphinx builds the pages: `python -m sphinx -W -b html docs build/html`.

The reference (api.md) imports rys, so rys must be installed, and takes its text from the docstrings
(Google style, read by napoleon).
"""

import re
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"

project = "rys"
copyright = "rys contributors"  # noqa: A001 (Sphinx's name)
# version = "0.1.0"
(release,) = re.findall(r'^version = "(.*)"$', PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE)
version = release

extensions = [
    "myst_parser",  # the pages are Markdown
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"rys {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"  # no list of arguments beside a docstring's own
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Prompt": "Prompt", "LayerPathLike": "LayerPathLike"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # one list of attributes, not a second entry for each field

myst_heading_anchors = 3
# Pages link to files beside docs/, such as the README of the benchmarks, which are no pages here.
# tests/test_docs.py checks that every link leads to a file.
suppress_warnings = ["myst.xref_missing"]
