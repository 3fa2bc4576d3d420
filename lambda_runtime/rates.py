"""How fast things may happen: token buckets on the data plane's clock."""

from __future__ import annotations


class TokenBucket:
    """What refills continuously, and holds no more than its size: unused parts do not accrue beyond that.

    Rate and size are given with each question, because limits change. Touched only on the runtime loop; hence no locks.
    """

    __slots__ = ("_at", "_tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self._tokens = tokens
        self._at = now

    def take(self, now: float, per_second: float, size: float) -> bool:
        """Take one token. False, and nothing is taken, if there is none."""
        # `_refill`, written out: this is on the way of every synchronous invoke.
        tokens = self._tokens
        if now > self._at:
            tokens += (now - self._at) * per_second
        self._at = now
        if tokens > size:
            tokens = size
        if tokens < 1:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1
        return True

    def take_anyway(self, now: float, per_second: float, size: float) -> None:
        """Take one token even if there is none: the next ones come later."""
        self._tokens = self._refill(now, per_second, size) - 1

    def has(self, now: float, per_second: float, size: float) -> bool:
        """Whether there is a token."""
        return self._refill(now, per_second, size) >= 1

    def wait_s(self, per_second: float) -> float:
        """How long it takes from the last question until there is a token again."""
        return max(0.0, 1 - self._tokens) / per_second if per_second else float("inf")

    def _refill(self, now: float, per_second: float, size: float) -> float:
        tokens = self._tokens + (now - self._at) * per_second if now > self._at else self._tokens
        self._at = now
        self._tokens = tokens = min(tokens, size)
        return tokens
