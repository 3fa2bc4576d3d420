"""Who is asking, where, and under which request id."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_ACCOUNT_ID = "000000000000"
DEFAULT_REGION = "us-east-1"
TRACE_ID = "X-Amzn-Trace-Id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, for policies that are to be evaluated.

    An identity of an account: `arn` is None where only the account is known. Or a service, by its principal
    (`s3.amazonaws.com`), that calls for a resource (`source_arn`) of an account. Neither is an anonymous caller.
    """

    account_id: str | None = None
    arn: str | None = None
    service: str | None = None
    source_arn: str | None = None
    source_account: str | None = None


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The caller's account and region, and the id of this request.

    `account_id` is 12 digits and `region` a name such as `eu-west-1`, both from the request's SigV4 credential scope.
    `request_id` is a lower-case UUID and becomes the `x-amzn-RequestId` header and, for an invoke, the function's own
    request id. `access_key_id` is None for an unsigned request. `endpoint_url` is the scheme and authority that the client
    used, for URLs in responses that have to lead back here (code locations). `caller` is there if the host knows more of who
    asks than the account.
    """

    account_id: str
    region: str
    request_id: str
    operation: str
    access_key_id: str | None = None
    endpoint_url: str | None = None
    trace_header: str | None = None
    caller: Caller | None = None
    answer_headers: list[tuple[str, str]] = field(default_factory=list, compare=False)
    """Headers of the response beside those of the operation's output; the operation adds them."""

    @property
    def partition(self) -> str:
        """The partition that the region belongs to, as it stands in ARNs."""
        return partition_of(self.region)


def partition_of(region: str) -> str:
    """`aws`, or the partition of a region in China, GovCloud, the isolated regions or the European Sovereign Cloud."""
    for prefix, partition in _PARTITIONS:
        if region.startswith(prefix):
            return partition
    return "aws"


_PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("us-iso-", "aws-iso"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
)
