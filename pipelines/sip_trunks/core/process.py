"""Contexts that change the process and restore it: environment variables, log levels, importable modules."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
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
def blocking_imports(name: str) -> Iterator[None]:
    """Make a module that is not imported yet appear not installed.

    It saves time, because DuckDB, pyarrow and dlt import pandas if it is installed. Use it only in a process that ends
    soon: pyarrow checks for pandas once, and its `to_pandas` does not work afterwards.
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
        if name == self._name:  # returning None would let the next finder import it
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
