"""Who signed a request to a function URL. A host that issues access keys says it of them; of all others the name says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lambda_provider.api import InvalidSignatureException
from lambda_provider.api.errors import LambdaError
from lambda_provider.context import DEFAULT_ACCOUNT_ID, partition_of
from lambda_provider.urls.signatures import MISMATCH, Signature

TEST_SECRET = "test"


class UnrecognizedClientException(LambdaError):
    """An access key that nobody knows, or a session token that is not its own."""

    code = "UnrecognizedClientException"
    status_code = 403


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is behind an access key, in the words of `sts:GetCallerIdentity`."""

    access_key_id: str
    account_id: str
    arn: str
    user_id: str

    def describe(self) -> dict[str, Any]:
        """`requestContext.authorizer.iam` of the event."""
        return {
            "accessKey": self.access_key_id,
            "accountId": self.account_id,
            "callerId": self.user_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": self.arn,
            "userId": self.user_id,
        }


class Callers(Protocol):
    """Knows access keys."""

    async def authenticate(self, signature: Signature) -> Principal:
        """Whose signature it is.

        Raises InvalidSignatureException when the key's secret makes another one, and UnrecognizedClientException for a key
        that is not known.
        """
        ...


class TestCallers:
    """Knows the keys with which people call emulators.

    Keys that look like AWS's were issued by somebody else, so they are refused. Any other one is its own account if it has 12
    digits, else of what `account_of` says or the default account; its secret is `test`, or the same as the key.
    """

    __test__ = False

    def __init__(self, account_of: Callable[[str], str | None] = lambda access_key_id: None) -> None:
        self._account_of = account_of

    async def authenticate(self, signature: Signature) -> Principal:
        key = signature.access_key_id
        if key.startswith(("AKIA", "ASIA")):
            raise UnrecognizedClientException("The security token included in the request is invalid.")
        if not (signature.is_made_with(TEST_SECRET) or signature.is_made_with(key)):
            raise InvalidSignatureException(MISMATCH)
        is_account = len(key) == 12 and key.isascii() and key.isdigit()
        account = key if is_account else self._account_of(key) or DEFAULT_ACCOUNT_ID
        return Principal(key, account, f"arn:{partition_of(signature.region)}:iam::{account}:root", account)
