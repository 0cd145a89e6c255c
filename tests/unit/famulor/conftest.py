"""Fixtures of the tests that fetch from loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.faulty_server import Bystander
from tests.support.fetching import forget_proxies

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of this machine has no part in these tests."""
    forget_proxies(monkeypatch)


@pytest.fixture
def elsewhere() -> Iterator[Bystander]:
    bystander = Bystander()
    yield bystander
    bystander.close()
