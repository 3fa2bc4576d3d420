"""The key with which the filters of an event source mapping are encrypted."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.host import Host, ServiceUnavailable
from lambda_provider.model.event_source_mapping import EventSourceMapping


def filter_key_error(host: Host, mapping: EventSourceMapping) -> dict[str, str] | None:
    """FilterCriteriaError while the key of a mapping's filters cannot be used, else None. Blocks.

    A host without KMS encrypts nothing. https://docs.aws.amazon.com/lambda/latest/api/API_FilterCriteriaError.html
    """
    key = mapping.settings.kms_key_arn
    if not key or not mapping.settings.filters:
        return None
    try:
        client = host.connect_to("kms", account_id=mapping.account_id, region=mapping.region)
        found = client.describe_key(KeyId=key)
    except (ServiceUnavailable, BotoCoreError):
        return None
    except ClientError as error:
        answer = error.response.get("Error", {})
        return {"ErrorCode": answer.get("Code", ""), "Message": answer.get("Message", "")}
    if found.get("KeyMetadata", {}).get("KeyState", "Enabled") == "Disabled":
        return {"ErrorCode": "DisabledException", "Message": f"{key} is disabled."}
    return None
