"""S3 event notifications: records as S3 makes them, functions run asynchronously, destinations checked when they are set.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

from lambda_provider.hosts.services import s3_event_bridge
from lambda_provider.hosts.services.link import Origin, link
from lambda_provider.hosts.services.patches import View, replace

PRINCIPAL = "s3.amazonaws.com"
NOT_VALID = "Unable to validate the following destination configurations"

_VERSION = "2.1"
_VERSIONS = {
    "LifecycleExpiration": "2.3",
    "IntelligentTiering": "2.3",
    "ObjectAcl": "2.3",
    "ObjectTagging": "2.3",
    "Replication": "2.2",
    "LifecycleTransition": "2.3",
}
_WITHOUT_CONTENT = ("ObjectRemoved:Delete", "LifecycleExpiration:Delete")

_sequence = itertools.count(1)
_expected: ContextVar[str] = ContextVar("_expected", default="")
"""How the names of events begin that the request in this thread has; moto makes more of what it is done with."""
_NOTHING = "-"
"""With which no name begins. Of versions, moto tells only when the last one is deleted, and of which it does not say."""


def install() -> None:
    """Have moto's S3 tell our functions."""
    from moto.s3 import models, notifications, responses
    from moto.s3.exceptions import InvalidArgumentError

    def _run(_: Any) -> Any:
        def invoke(account_id: str, event_body: Any, fn_arn: str, region_name: str) -> None:
            origin = Origin(
                account_id=account_id, service=PRINCIPAL, arn=event_body["Records"][0]["s3"]["bucket"]["arn"]
            )
            link().send(fn_arn, event_body, origin)

        return invoke

    def _checked(set_configuration: Any) -> Any:
        def set_notification_configuration(self: Any, notification_config: dict[str, Any] | None) -> None:
            origin = Origin(account_id=self.account_id, service=PRINCIPAL, arn=self.arn)
            for each in (notification_config or {}).get("CloudFunctionConfiguration") or ():
                arn = each["CloudFunction"]
                answer = link().invoke(arn, b"{}", origin, kind="DryRun")
                if answer.error == "ResourceNotFoundException":
                    raise InvalidArgumentError(NOT_VALID, arn, "The destination Lambda function does not exist")
                if answer.error == "AccessDeniedException":
                    raise InvalidArgumentError(NOT_VALID, arn, f"Not authorized to invoke function [{arn}]")
            set_configuration(self, notification_config)

        return set_notification_configuration

    def _bridged(_: Any) -> Any:
        def send(account_id: str, bucket: Any, event_name: Any, key: Any) -> None:
            name = event_name.value.removeprefix("s3:")
            detail_type = notifications._detail_type(event_name)
            s3_event_bridge.tell(account_id, bucket, name, detail_type, object_of(name, bucket, key))

        return send

    def _filtered(send_event: Any) -> Any:
        def send(account_id: str, event_name: Any, bucket: Any, key: Any) -> None:
            if event_name.value.startswith(_expected.get()):
                send_event(account_id, event_name, bucket, key)

        return send

    def _marked(set_marker: Any) -> Any:
        def set_delete_marker(self: Any, bucket_name: str, key_name: str) -> Any:
            marker = set_marker(self, bucket_name, key_name)
            event = notifications.S3NotificationEvent.OBJECT_REMOVED_DELETE_MARKER_CREATED_EVENT
            notifications.send_event(self.account_id, event, self.get_bucket(bucket_name), marker)
            return marker

        return set_delete_marker

    def _told(delete: Any) -> Any:
        def delete_object(
            self: Any, bucket_name: str, key_name: str, version_id: str | None = None, *arguments: Any, **options: Any
        ) -> Any:
            bucket = self.get_bucket(bucket_name)
            if version_id is None or not bucket.is_versioned:
                return delete(self, bucket_name, key_name, version_id, *arguments, **options)
            versions = {str(each.version_id): each for each in bucket.keys.getlist(key_name, [])}
            deleted = _only(_NOTHING)(delete)(self, bucket_name, key_name, version_id, *arguments, **options)
            if (version := versions.get(str(version_id))) is not None:
                event = notifications.S3NotificationEvent.OBJECT_REMOVED_DELETE_EVENT
                notifications.send_event(self.account_id, event, bucket, version)
            return deleted

        return delete_object

    def _without_conditions(permission: Any) -> Any:
        def get_permission(self: Any, action: str, resource: str) -> Any:
            policy = None if self.policy is None else without_conditional_denials(self.policy)
            return permission(View(self, policy=policy), action, resource)

        return get_permission

    replace(models.FakeBucket, "get_permission", "self action resource", _without_conditions)
    replace(notifications, "_get_s3_event", "event_name bucket key notification_id", lambda _: event_of)
    replace(notifications, "_send_event_bridge_message", "account_id bucket event_name key", _bridged)
    replace(notifications, "send_event", "account_id event_name bucket key", _filtered)
    replace(responses.S3Response, "put_object", "self", _only("s3:ObjectCreated:"))
    replace(responses.S3Response, "copy_object", "self", _only("s3:ObjectCreated:"))
    complete = _only("s3:ObjectCreated:CompleteMultipartUpload")
    replace(models.S3Backend, "complete_multipart_upload", "self bucket_name multipart_id", complete)
    replace(notifications, "_invoke_awslambda", "account_id event_body fn_arn region_name", _run)
    replace(models.FakeBucket, "set_notification_configuration", "self notification_config", _checked)
    replace(models.S3Backend, "delete_object", "self bucket_name key_name version_id", _told)
    replace(models.S3Backend, "_set_delete_marker", "self bucket_name key_name", _marked)


def _only(beginning: str) -> Any:
    """For what is one event on AWS: an upload in parts is none of `Put`, and tags that come with an object are none at all."""

    def make(operation: Any) -> Any:
        def operate(self: Any, *arguments: Any, **options: Any) -> Any:
            token = _expected.set(beginning)
            try:
                return operation(self, *arguments, **options)
            finally:
                _expected.reset(token)

        return operate

    return make


def event_of(event_name: str, bucket: Any, key: Any, notification_id: str) -> dict[str, Any]:
    """The event for one object. `bucket` and `key` are moto's; `event_name` has its `s3:` still."""
    name = str(getattr(event_name, "value", event_name)).removeprefix("s3:")
    entity = object_of(name, bucket, key) | {"key": quote_plus(key.name, safe="/")}
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return {
        "Records": [
            {
                "eventVersion": _VERSIONS.get(name.partition(":")[0], _VERSION),
                "eventSource": "aws:s3",
                "awsRegion": bucket.region_name,
                "eventTime": f"{moment}.{int(now % 1 * 1000):03d}Z",
                "eventName": name,
                "userIdentity": {"principalId": f"AWS:{bucket.account_id}"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {
                    "x-amz-request-id": secrets.token_hex(8).upper(),
                    "x-amz-id-2": secrets.token_urlsafe(48),
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": notification_id,
                    "bucket": {
                        "name": bucket.name,
                        "ownerIdentity": {"principalId": bucket.account_id},
                        "arn": bucket.arn,
                    },
                    "object": entity,
                },
            }
        ]
    }


def object_of(name: str, bucket: Any, key: Any) -> dict[str, Any]:
    """The object that an event is about, with its key as it is."""
    entity: dict[str, Any] = {"key": key.name}
    if name not in _WITHOUT_CONTENT and (size := getattr(key, "size", None)) is not None:
        entity["size"] = size
    if name not in _WITHOUT_CONTENT:
        entity["eTag"] = str(getattr(key, "etag", "d41d8cd98f00b204e9800998ecf8427e")).strip('"')
    if bucket.is_versioned and key.version_id is not None:
        entity["versionId"] = str(key.version_id)
    entity["sequencer"] = sequencer()
    return entity


@lru_cache(maxsize=64)
def without_conditional_denials(policy: bytes) -> bytes:
    """A bucket policy without statements that deny on a condition.

    Moto does not look at conditions, so what denies requests without TLS, as buckets of SAM and CDK do, would deny every one.
    """
    document = json.loads(policy)
    statements = document.get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    kept = [each for each in listed if each.get("Effect") != "Deny" or "Condition" not in each]
    return json.dumps({**document, "Statement": kept}).encode()


def sequencer() -> str:
    """A hexadecimal text that grows from event to event, so that events of one key can be ordered."""
    return f"{time.time_ns() // 1_000_000:014X}{next(_sequence) & 0xFFFF:04X}"
