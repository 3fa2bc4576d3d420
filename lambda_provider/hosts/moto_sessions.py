"""Execution roles assumed in the STS of a moto that runs in this process."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.host import FunctionCredentials

if TYPE_CHECKING:
    from moto.sts.models import AssumedRole

SESSION_S = 12 * 3600
"""How long a session lasts."""


class RoleSessions:
    """Sessions that end: moto keeps every session for ever, and searches all of them.

    Importing moto takes long: do that before, in a thread.
    """

    def __init__(self) -> None:
        self._sessions: deque[tuple[Any, AssumedRole]] = deque()

    def assume(self, role_arn: str, region: str, session_name: str) -> FunctionCredentials:
        """Credentials with which `sts:GetCallerIdentity` answers the assumed role, whether the role exists or not."""
        from moto.sts.models import sts_backends
        from moto.utilities.utils import get_partition

        self._forget_ended()
        backend = sts_backends[role_arn.split(":")[4]][get_partition(region)]
        # The types of moto want texts where its own STS passes what was not sent.
        none = cast(str, None)
        session = backend.assume_role(region, session_name, role_arn, policy=none, duration=SESSION_S, external_id=none)
        self._sessions.append((backend, session))
        return FunctionCredentials(session.access_key_id, session.secret_access_key, session.session_token)

    def _forget_ended(self) -> None:
        from moto.core.utils import utcnow

        now = utcnow()
        while self._sessions and self._sessions[0][1].expiration < now:
            backend, session = self._sessions.popleft()
            with suppress(ValueError):  # Moto was reset.
                backend.assumed_roles.remove(session)
