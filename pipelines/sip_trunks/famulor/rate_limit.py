"""How often one token may ask: the API's limits are per token, and whoever exceeds them is refused for a minute."""

from __future__ import annotations

from collections import deque
from threading import Lock

_LIMITS = ((20, 10.0), (100, 60.0))  # requests of one token within so many seconds, as the vendor documents them


class Pace:
    """The requests of one token, kept within the API's limits: 20 in 10 seconds, 100 in a minute.

    Whoever fetches holds `turn`: a token is used for one account at a time.
    """

    def __init__(self) -> None:
        self.turn = Lock()
        self._sent: deque[float] = deque(maxlen=max(count for count, _ in _LIMITS))

    def count_request(self, now: float) -> float:
        """Return how many seconds the next request has to wait, and count it as sent after them."""
        begins = [self._sent[-count] + seconds for count, seconds in _LIMITS if len(self._sent) >= count]
        begin = max([now, *begins])
        self._sent.append(begin)
        return begin - now
