"""State of the whole process that is changed for a while and put back: the environment, what can be imported."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def changed_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for as long as the context lasts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def blocking_imports(name: str) -> Iterator[None]:
    """Make a module appear not to be installed, unless it was imported before.

    DuckDB, pyarrow and dlt import pandas wherever it is installed. Only for a process that ends soon: pyarrow checks
    for pandas once, and its `to_pandas` does not work afterwards.
    """
    finder = _NotInstalled(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NotInstalled:
    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        if name == self._name:  # None would make Python ask the next finder
            raise ModuleNotFoundError(f"{name} is withheld", name=name)
