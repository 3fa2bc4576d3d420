"""What a function's configuration points at in other services: its dead-letter queue and its key."""

from __future__ import annotations

import re

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.context import RequestContext
from lambda_provider.host import ServiceUnavailable
from lambda_provider.operations.base import Operations

_QUEUE_OR_TOPIC = re.compile(
    r"arn:[a-z-]+:(?P<service>sqs|sns):(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[^:]+)"
)


class Targets(Operations):
    """Looks at targets through the host. A host without the service cannot say, and then they are taken as they are."""

    def check_dead_letter_target(self, context: RequestContext, arn: str | None) -> None:
        """Raise unless the target is a queue or topic that exists.

        AWS tries with the execution role, and says that the role may not whatever the reason is.
        """
        if arn is None:
            return
        match = _QUEUE_OR_TOPIC.fullmatch(arn)
        if match is None or match["region"] != context.region:
            raise InvalidParameterValueException(f"The provided target ARN {arn} is not an SQS queue or SNS topic.")
        service, action = ("SQS", "SendMessage") if match["service"] == "sqs" else ("SNS", "Publish")
        try:
            client = self.host.connect_to(match["service"], account_id=match["account"], region=match["region"])
            if service == "SQS":
                client.get_queue_url(QueueName=match["name"])
            else:
                client.get_topic_attributes(TopicArn=arn)
        except (ServiceUnavailable, BotoCoreError):
            return
        except ClientError as error:
            raise InvalidParameterValueException(
                f"The provided execution role does not have permissions to call {action} on {service}"
            ) from error

    def check_key(self, context: RequestContext, arn: str | None) -> None:
        """Raise unless the key that the environment variables are encrypted with exists."""
        if arn is None:
            return
        try:
            kms = self.host.connect_to("kms", account_id=context.account_id, region=context.region)
            kms.describe_key(KeyId=arn)
        except (ServiceUnavailable, BotoCoreError):
            return
        except ClientError as error:
            answer = error.response.get("Error", {})
            raise InvalidParameterValueException(
                "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
                "CreateGrant. Please check your KMS key settings. "
                f"KMS Exception: {answer.get('Code', '')} KMS Message: {answer.get('Message', '')}"
            ) from error
