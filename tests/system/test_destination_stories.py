"""The DuckDB file and the lake keep the promises of every destination whose tests take long."""

from __future__ import annotations

from tests.support.destination_stories import DestinationStories
from tests.support.embedded import DuckdbFile, ParquetLake


class TestDuckdbFile(DuckdbFile, DestinationStories):
    """All of them."""


class TestParquetLake(ParquetLake, DestinationStories):
    """All of them."""
