"""What environments that were reset leave to those that take their place: their mounts, with /tmp, and their users."""

from __future__ import annotations

import errno
import os


class Estate:
    """What one environment left."""

    def __init__(self, mounts: int, host_id: int | None) -> None:
        self.mounts = mounts
        """A descriptor of its mount namespace; -1 if nothing is left of that."""
        self.host_id = host_id


class Estates:
    """Those that nobody has taken yet, and the users of this machine that environments can have (None: all have the same)."""

    def __init__(self, host_ids: list[int] | None) -> None:
        self._host_ids = host_ids
        self._left: dict[str, Estate] = {}

    def new_host_id(self) -> int | None:
        """A user that no environment has. Raises OSError when there is none."""
        if self._host_ids is None:
            return None
        if not self._host_ids and self._left:
            self.forget(next(iter(self._left)))  # The oldest.
        if not self._host_ids:
            raise OSError(errno.EAGAIN, "all user ids for environments of this interpreter are in use")
        return self._host_ids.pop()

    def keep(self, environment_id: str, estate: Estate) -> None:
        """Keep what that environment left until it is taken or forgotten."""
        self._left[environment_id] = estate

    def take(self, environment_id: str | None) -> Estate | None:
        """What that environment left; None if it is not there (any more). Whoever takes it gives it back, or uses all of it."""
        return self._left.pop(environment_id, None) if environment_id is not None else None

    def forget(self, environment_id: str) -> None:
        """Nobody will take what that environment left."""
        self.give_back(self.take(environment_id))

    def give_back(self, estate: Estate | None) -> None:
        """Close the mounts, and let another environment have the user."""
        if estate is None:
            return
        if estate.mounts >= 0:
            os.close(estate.mounts)
        if self._host_ids is not None and estate.host_id is not None:
            self._host_ids.insert(0, estate.host_id)

    def descriptors(self) -> list[int]:
        """For a fork that must not have them."""
        return [estate.mounts for estate in self._left.values()]
