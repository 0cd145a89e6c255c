"""A library that is installed and not wanted: DuckDB, pyarrow and dlt import pandas whenever it is there."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def withholding(name: str) -> Iterator[None]:
    """Keep a module that was not imported yet from being imported; to whoever asks it is not installed.

    For a command's process that ends soon: pyarrow asks once, and needs `to_pandas` to ask again.
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
        if name == self._name:  # to return None would only send them on to the next finder
            raise ModuleNotFoundError(f"{name} is withheld", name=name)
