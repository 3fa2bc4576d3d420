"""S3's events for EventBridge, which a bucket's configuration asks for: to the default bus of the bucket's account and region.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.md; each has an id of its own, by which functions know what they
have had.
"""

from __future__ import annotations

import logging
import secrets
import time
import uuid
from typing import Any

logger = logging.getLogger(__name__)

_REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
    "ObjectRemoved:DeleteMarkerCreated": "DeleteObject",
    "LifecycleExpiration:Delete": "Lifecycle Expiration",
    "LifecycleExpiration:DeleteMarkerCreated": "Lifecycle Expiration",
}
_DELETIONS = {"Delete": "Permanently Deleted", "DeleteMarkerCreated": "Delete Marker Created"}


def tell(account_id: str, bucket: Any, name: str, detail_type: str, entity: dict[str, Any]) -> None:
    """Send an event to the targets of all rules that it fits.

    `name` is that of an event notification, `entity` its `object`, with the key as it is. What goes wrong with a target is not
    the client's of S3.
    """
    from moto.events.models import events_backends

    event = event_of(account_id, bucket, name, detail_type, entity)
    bus = events_backends[account_id][bucket.region_name].event_buses["default"]
    for rule in list(bus.rules.values()):
        try:
            rule.send_to_targets(event, transform_input=False)
        except Exception:
            logger.warning("an event of %s did not reach a target of %s", bucket.arn, rule.arn, exc_info=True)


def event_of(account_id: str, bucket: Any, name: str, detail_type: str, entity: dict[str, Any]) -> Any:
    """The event, with its time in seconds as moto has it."""
    kind, _, action = name.partition(":")
    about = {
        member: entity[other]
        for member, other in (
            ("key", "key"),
            ("size", "size"),
            ("etag", "eTag"),
            ("version-id", "versionId"),
            ("sequencer", "sequencer"),
        )
        if other in entity and (member != "size" or kind == "ObjectCreated")
    }
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": about,
        "request-id": secrets.token_hex(8).upper(),
        "requester": "s3.amazonaws.com" if kind == "LifecycleExpiration" else account_id,
        "source-ip-address": "127.0.0.1",
    }
    if reason := _REASONS.get(name):
        detail["reason"] = reason
    if kind in ("ObjectRemoved", "LifecycleExpiration") and action in _DELETIONS:
        detail["deletion-type"] = _DELETIONS[action]
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": account_id,
        "time": time.time(),
        "region": bucket.region_name,
        "resources": [bucket.arn],
        "detail": detail,
    }
