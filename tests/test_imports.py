"""The modules of the package: no circle of imports, and each layer imports only those below it.

Every import counts, also those inside functions and those for type checkers alone: a circle that is
hidden there is still a circle to whoever reads the code.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "python" / "rys"
EXTENSION = "rys._core"  # built from C++, so it imports nothing of ours

# From the bottom up, as in docs/design.md. A module belongs to the longest name it begins with.
LAYERS = (
    ("rys._extension", "rys._log", "rys._util", "rys.build_info", "rys.errors"),
    ("rys.layer_path", "rys.requests"),
    ("rys.model_info", "rys.engine", "rys.statistics"),
    ("rys.reference",),
    ("rys.probes",),
    ("rys.next_steps", "rys.testing", "rys.sweep"),
    ("rys.compare", "rys.export", "rys.html_report", "rys.plot"),
    ("rys.cli",),
    ("rys", "rys.__main__"),
)


@cache
def sources() -> dict[str, str]:
    """Return the text of every module, by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    return found


def imported(text: str) -> set[str]:
    """Return the modules of the package that a module's text imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                # from rys.probes import files: a module; from rys.probes import load: a name in it
                inner = f"{node.module}.{alias.name}"
                is_module = inner in sources() or inner == EXTENSION
                found.add(inner if is_module else node.module)
    return found & sources().keys()


@cache
def graph() -> dict[str, set[str]]:
    """Return what each module imports."""
    return {name: imported(text) - {name} for name, text in sources().items()}


def reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    """Return what a module imports, and what that imports, and so on."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in edges[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the groups of modules that import each other."""
    reached = {name: reachable(name, edges) for name in edges}
    found = set()
    for name in edges:
        if name in reached[name]:
            found.add(frozenset(other for other in reached[name] if name in reached[other]))
    return found


def layer_of(module: str) -> int:
    """Return the place of a module in LAYERS."""
    best, length = -1, -1
    for place, names in enumerate(LAYERS):
        for name in names:
            # "rys" itself stands for the package's __init__, not for everything below it
            is_inside = module == name or (name != "rys" and module.startswith(f"{name}."))
            if is_inside and len(name) > length:
                best, length = place, len(name)
    assert best >= 0, f"{module} has no layer: add it to LAYERS and to docs/design.md"
    return best


def test_the_package_is_read() -> None:
    assert len(graph()) > 50
    assert "rys.layer_path" in graph()["rys"]


def test_circles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}
    assert circles(edges) == {frozenset("abc")}
    assert circles({"a": {"b"}, "b": set()}) == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(graph()) == set()


def test_every_module_imports_only_its_own_layer_and_those_below() -> None:
    n_imports = 0
    for module, others in graph().items():
        for other in others:
            n_imports += 1
            assert layer_of(other) <= layer_of(module), f"{module} imports {other}"
    assert n_imports > 100
