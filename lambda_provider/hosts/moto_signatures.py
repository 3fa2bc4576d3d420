"""In the process that moto runs in: whether a signature was made with a key that moto's IAM or STS issued, and whose that is.

The gateway asks over HTTP, with the signature and the text that it should be of; secrets stay here, and who asks learns nothing
about a key without a signature of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from lambda_provider.api import InvalidSignatureException
from lambda_provider.urls.callers import Principal, TestCallers
from lambda_provider.urls.signatures import MISMATCH, Signature

AUTHENTICATE_PATH = "/_lambda/authenticate"
"""POST the members of a Signature as JSON: 200 with those of the Principal, 403 for another signature, 404 for another key."""

_TOKEN = "X-Amz-Security-Token"

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_authentication(application: WsgiApplication) -> WsgiApplication:
    """The application, and an answer at `AUTHENTICATE_PATH`."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != AUTHENTICATE_PATH:
            return application(environ, start_response)
        status, answer = "404 Not Found", dict[str, str]()
        try:
            owner = owner_of(Signature(**json.loads(environ["wsgi.input"].read())))
        except InvalidSignatureException:
            status = "403 Forbidden"
        else:
            if owner is not None:
                status, answer = "200 OK", asdict(owner)
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    return serve


def owner_of(signature: Signature) -> Principal | None:
    """Whose key made the signature; None for a key that was not issued here.

    Raises InvalidSignatureException when the key's secret makes another signature.
    """
    from moto.iam.access_control import CreateAccessKeyFailure, IAMUserAccessKey, create_access_key
    from moto.iam.models import get_account_id_from
    from moto.sts.models import sts_backends
    from moto.utilities.utils import get_partition

    key, token = signature.access_key_id, signature.session_token
    account, partition = str(get_account_id_from(key)), get_partition(signature.region)
    # Of a user's key the header must not be there at all, of a role's it must.
    headers = {_TOKEN: token} if token or key[1:4] != "KIA" else {}
    try:
        known = create_access_key(account, partition, key, headers)
    except CreateAccessKeyFailure:
        return None
    if not signature.is_made_with(known.create_credentials().secret_key):
        raise InvalidSignatureException(MISMATCH)
    if isinstance(known, IAMUserAccessKey):
        user_id = known.backend.get_user(known.arn.rpartition("/")[2]).id
    else:
        role = sts_backends[account][partition].get_assumed_role_from_access_key(key)
        user_id = role.user_id if role is not None else key
    return Principal(key, account, known.arn, user_id)


class LocalCallers:
    """Knows the access keys that a moto in this process issued, and those of tests (`lambda_provider.urls.callers.Callers`)."""

    def __init__(self, account_of: Callable[[str], str | None]) -> None:
        """`account_of` tells the account of a test key."""
        self._test_keys = TestCallers(account_of)

    async def authenticate(self, signature: Signature) -> Principal:
        """Whose signature it is."""
        return await asyncio.to_thread(owner_of, signature) or await self._test_keys.authenticate(signature)
