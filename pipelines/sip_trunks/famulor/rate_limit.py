"""The API's rate limit, which applies per token. A token that exceeds it is rejected for a minute."""

from collections import deque
from threading import Lock

_LIMITS = ((20, 10.0), (100, 60.0))  # (requests, seconds), from the vendor documentation


class RateLimit:
    """Delays the requests of one token to stay within 20 in 10 seconds and 100 in a minute.

    A caller holds `turn` while it fetches, so that a token is used for one account at a time.
    """

    def __init__(self) -> None:
        self.turn = Lock()
        self._sent: deque[float] = deque(maxlen=max(count for count, _ in _LIMITS))

    def count_request(self, now: float) -> float:
        """Return the seconds to wait before the next request, and count it as sent after that time."""
        begins = [self._sent[-count] + seconds for count, seconds in _LIMITS if len(self._sent) >= count]
        begin = max([now, *begins])
        self._sent.append(begin)
        return begin - now
