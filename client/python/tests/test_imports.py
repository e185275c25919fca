"""The modules of the package import each other in one direction, for type checkers too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import cardbroker

ROOT = Path(cardbroker.__file__).parent.parent


def modules() -> dict[str, Path]:
    """The modules of the package by name, without the generated code."""
    files = (file.relative_to(ROOT) for file in ROOT.glob("cardbroker/**/*.py"))
    named = {".".join(file.with_suffix("").parts).removesuffix(".__init__"): ROOT / file for file in files}
    return {name: file for name, file in named.items() if not name.startswith("cardbroker.v1")}


def imported_by(file: Path) -> Iterator[str]:
    """The names of all imported modules and objects, anywhere in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_form_no_circle() -> None:
    known = modules()
    # Python runs `cardbroker/__init__.py` before every module, so `from cardbroker import _process` is no circle.
    imports = {name: {other for other in imported_by(file) if other in known} for name, file in known.items()}
    for others in imports.values():
        others.discard("cardbroker")
    assert len(imports["cardbroker"]) > 5
    TopologicalSorter(imports).prepare()
