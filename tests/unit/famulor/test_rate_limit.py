"""How often one token may ask."""

from __future__ import annotations

from sip_trunks.famulor.rate_limit import RateLimit


def test_a_token_keeps_to_the_documented_limits() -> None:
    """100 requests a minute, bursts of 20 in 10 seconds: https://app.famulor.de/api answers 429 beyond."""
    rate_limit, now, sent = RateLimit(), 1000.0, list[float]()
    for _ in range(250):
        now += rate_limit.count_request(now) + 0.01
        sent.append(now)
    assert sent[19] < 1000.5
    for count, seconds in ((20, 10), (100, 60)):
        assert all(later - earlier >= seconds for earlier, later in zip(sent, sent[count:], strict=False))
