"""Where brokers and clusters really are, when that is not where the host's services say: settings such as

    LAMBDA_MQ_ENDPOINTS=orders=amqp://localhost:5672,b-1234=stomp://localhost:61613,amqp://localhost:5673

A name is that of the broker or cluster, or its id; the endpoint without a name is that of all others.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<url>[a-z+]+://.*)", re.ASCII)
_NEXT = re.compile(r",\s*(?=(?:[\w.-]+=)?[a-z+]+://)", re.ASCII)
"""A comma before the next endpoint; those within one (several hosts of a replica set) stay."""


def overridden(setting: str | None, names: Collection[str], *, default_too: bool = True) -> str | None:
    """The URL that a setting gives for what has one of these names, or None if it gives none.

    Without `default_too` the endpoint of all others does not count.
    """
    default = None
    for entry in _NEXT.split((setting or "").strip()):
        if (named := _NAMED.fullmatch(entry.strip())) is None:
            default = entry.strip() or default
        elif named["name"] in names:
            return named["url"]
    return default if default_too else None
