"""Contexts that change the process and restore it: environment variables, log levels, importable modules."""

import logging
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def changed_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the context lasts."""
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ |= values
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ |= before


@contextmanager
def changed_log_level(level: int, *names: str) -> Iterator[None]:
    """Set the level of these loggers while the context lasts."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).setLevel(before[name])


@contextmanager
def blocking_imports(*names: str) -> Iterator[None]:
    """Make modules that are not imported yet appear not installed.

    It saves time, because DuckDB, pyarrow and dlt import NumPy and pandas if they are installed. Use it only in a
    process that ends soon: pyarrow checks for them once, and cannot convert to them afterwards.
    """
    finder = _NotInstalled(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NotInstalled:
    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        if name in self._names:  # returning None would let the next finder import it
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
