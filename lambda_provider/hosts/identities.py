"""Whose an access key is, when only moto knows: keys of IAM users, and of roles that somebody assumed."""

from __future__ import annotations

import logging
import re

from lambda_provider.hosts.credentials import account_of
from lambda_provider.hosts.moto_process import MotoProcess
from lambda_provider.hosts.upstream import Upstream, UpstreamError

logger = logging.getLogger(__name__)

_ISSUED_BY_AWS = ("AKIA", "ASIA")
_MAX_KEPT = 10_000
_ACCOUNT = re.compile(rb"<Account>([0-9]{12})</Account>")


class Identities:
    """Accounts of access keys; what moto said is kept until it starts anew.

    Touched only on the gateway's loop, except `account_of`.
    """

    def __init__(self, moto: MotoProcess, upstream: Upstream) -> None:
        self._moto = moto
        self._upstream = upstream
        self._told: dict[str, str | None] = {}
        moto.on_ready.append(self._told.clear)

    def account_of(self, access_key_id: str) -> str | None:
        """The account of a key as far as it is known now; None for an unknown one."""
        return account_of(access_key_id) or self._told.get(access_key_id)

    async def learn(self, access_key_id: str) -> None:
        """Ask moto about a key that looks like one of AWS's and is unknown. Does nothing for others, or without a moto."""
        if (
            not access_key_id.startswith(_ISSUED_BY_AWS)
            or access_key_id in self._told
            or not self._moto.running
            or account_of(access_key_id) is not None
        ):
            return
        if len(self._told) >= _MAX_KEPT:
            self._told.clear()
        try:
            self._told[access_key_id] = await self._ask(access_key_id)
        except (UpstreamError, OSError) as error:
            logger.warning("moto was asked for the account of a key and did not answer: %s", error)

    async def _ask(self, access_key_id: str) -> str | None:
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        scope = f"AWS4-HMAC-SHA256 Credential={access_key_id}/20240101/us-east-1/sts/aws4_request, "
        headers = [
            (b"host", b"sts.us-east-1.amazonaws.com"),
            (b"authorization", scope.encode("utf-8", "replace") + b"SignedHeaders=host, Signature=0"),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"content-length", b"%d" % len(body)),
        ]
        response = await self._upstream.request(b"POST", b"/", headers, body)
        try:
            found = _ACCOUNT.search(await response.read())
        finally:
            response.close()
        return found.group(1).decode() if found else None
