"""The shape of the code: how large files and folders are, and that it imports nothing that it does not declare."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

from tests.support.runs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = (PROJECT / "pipelines" / "sip_trunks", PROJECT / "transforms" / "trunk_transforms")
MOST_LINES, MOST_MODULES = 400, 12
MAY_HOLD_MORE = {"commands", "rules"}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted(package.rglob("*.py"))


def imported(module: Path) -> Iterator[str]:
    """Yield the first names of the packages that a module imports, types included."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def normalized(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_is_too_long_to_read_in_one_go() -> None:
    lengths = {str(module.relative_to(PROJECT)): len(module.read_text("utf-8").splitlines()) for module in modules()}
    assert len(lengths) > 100
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_folder_has_too_many_modules() -> None:
    folders = {module.parent for module in modules()}
    counts = {folder: len([m for m in folder.glob("*.py") if not m.name.startswith("__")]) for folder in folders}
    crowded = {str(folder): count for folder, count in counts.items() if count > MOST_MODULES}
    assert {folder for folder in crowded if folder.rpartition("/")[2] not in MAY_HOLD_MORE} == set()
    assert {path.name for path in PACKAGES[0].glob("*.py")} == {"__init__.py", "__main__.py"}


def test_every_library_that_is_imported_is_a_dependency_by_name() -> None:
    """One that another dependency brings today may be gone tomorrow."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    declared = {normalized(re.split(r"[^\w.-]", name)[0]) for name in [*project["dependencies"], *extras]}
    distributions = packages_distributions()
    own = {package.name for package in PACKAGES} | set(sys.stdlib_module_names)
    missing = {
        f"{module.relative_to(PROJECT)} imports {name}"
        for module in modules()
        for name in imported(module)
        if name not in own and not {normalized(found) for found in distributions.get(name, [name])} & declared
    }
    assert sorted(missing) == []
