"""Whose an access key is, when only moto knows: keys of IAM users, and of roles that somebody assumed.

Requests to the API are believed; the signature of one to a function URL is checked.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import asdict

from lambda_provider.api import InvalidSignatureException, ServiceException
from lambda_provider.context import partition_of
from lambda_provider.hosts.credentials import RoleSession, account_of, secret_of, session_of
from lambda_provider.hosts.moto_process import MotoProcess
from lambda_provider.hosts.moto_signatures import AUTHENTICATE_PATH
from lambda_provider.hosts.upstream import Upstream, UpstreamError
from lambda_provider.urls.callers import Principal, TestCallers
from lambda_provider.urls.signatures import MISMATCH, Signature

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
        self._test_keys = TestCallers(self.account_of)
        moto.on_ready.append(self.forget)

    def forget(self) -> None:
        """Moto has been emptied: what it said is not so any more."""
        self._told.clear()

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

    async def authenticate(self, signature: Signature) -> Principal:
        """Whose signature it is: of a key of ours, of moto's, or of one that nobody issued. See `Callers`."""
        key, token = signature.access_key_id, signature.session_token
        session = session_of(key, token) if token else None
        if session is not None:
            if not signature.is_made_with(secret_of(key, token)):
                raise InvalidSignatureException(MISMATCH)
            return _of_function(key, session)
        if key.startswith(_ISSUED_BY_AWS) and self._moto.running:
            status, answer = await self._authenticated(signature)
            if status == 200:
                return Principal(**json.loads(answer))
            if status == 403:
                raise InvalidSignatureException(MISMATCH)
        return await self._test_keys.authenticate(signature)

    async def _authenticated(self, signature: Signature) -> tuple[int, bytes]:
        body = json.dumps(asdict(signature)).encode()
        headers = [(b"host", b"localhost"), (b"content-length", b"%d" % len(body))]
        try:
            response = await self._upstream.request(b"POST", AUTHENTICATE_PATH.encode(), headers, body)
            try:
                return response.status, await response.read()
            finally:
                response.close()
        except (UpstreamError, OSError) as error:
            raise ServiceException(f"moto was asked for the owner of a key and did not answer: {error}") from error

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


def _of_function(access_key_id: str, session: RoleSession) -> Principal:
    """A function that signs as its execution role, whether the role exists or not."""
    account = account_of(access_key_id) or ""
    role = session.role_arn.rpartition("/")[2]
    arn = f"arn:{partition_of(session.region)}:sts::{account}:assumed-role/{role}/{session.session_name}"
    role_id = "AROA" + hashlib.sha256(session.role_arn.encode()).hexdigest()[:17].upper()
    return Principal(access_key_id, account, arn, f"{role_id}:{session.session_name}")
