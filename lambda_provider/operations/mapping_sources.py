"""Whether an event source is there, asked of the host's services, and whether the function can keep up with it."""

from __future__ import annotations

from botocore.exceptions import ClientError

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.context import RequestContext
from lambda_provider.model.function import Version
from lambda_provider.operations.base import Operations
from lambda_provider.operations.dependencies import dependency
from lambda_provider.operations.mapping_kinds import DYNAMODB, KINESIS, SQS, SourceKind

_STREAM_ACTIONS = {
    KINESIS.name: "GetRecords, GetShardIterator, DescribeStream, ListShards, and ListStreams",
    DYNAMODB.name: "GetRecords, GetShardIterator, DescribeStream, and ListStreams",
}


class EventSources(Operations):
    """The sources that AWS looks at before it makes a mapping: queues and streams.

    Clusters and brokers it only reaches when the mapping starts to poll.
    """

    def require_source(self, context: RequestContext, kind: SourceKind, arn: str | None, version: Version) -> None:
        """Raise InvalidParameterValueException unless the source is there. Blocks while the host is asked.

        A source is looked for in the function's region, whatever its ARN says: queue and function have to be in one.
        """
        if kind is SQS:
            self._require_queue(context, arn or "", version)
        elif kind in (KINESIS, DYNAMODB):
            self._require_stream(context, kind, arn or "")

    def _require_queue(self, context: RequestContext, arn: str, version: Version) -> None:
        account_id, name = arn.split(":")[4:6]
        with dependency("SQS", "ReceiveMessage"):
            client = self.host.connect_to("sqs", account_id=account_id, region=context.region)
            url = client.get_queue_url(QueueName=name)["QueueUrl"]
            answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
        visibility_s = int(answer["Attributes"]["VisibilityTimeout"])
        timeout_s = version.configuration.timeout_s
        if visibility_s < timeout_s:
            raise InvalidParameterValueException(
                f"Queue visibility timeout: {visibility_s} seconds is less than Function timeout: {timeout_s} seconds"
            )

    def _require_stream(self, context: RequestContext, kind: SourceKind, arn: str) -> None:
        with dependency("Kinesis" if kind is KINESIS else "DynamoDB", "DescribeStream"):
            try:
                self._describe_stream(context, kind, arn)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                    raise InvalidParameterValueException(f"Stream not found: {arn}") from error
                raise InvalidParameterValueException(
                    f"Cannot access stream {arn}. Please ensure the role can perform the "
                    f"{_STREAM_ACTIONS[kind.name]} Actions on your stream in IAM."
                ) from error

    def _describe_stream(self, context: RequestContext, kind: SourceKind, arn: str) -> None:
        account_id = arn.split(":")[4]
        if kind is DYNAMODB:
            client = self.host.connect_to("dynamodbstreams", account_id=account_id, region=context.region)
            client.describe_stream(StreamArn=arn, Limit=1)
            return
        client = self.host.connect_to("kinesis", account_id=account_id, region=context.region)
        stream_arn, _, consumer = arn.partition("/consumer/")
        if consumer:
            client.describe_stream_consumer(ConsumerARN=arn)
        else:
            client.describe_stream_summary(StreamName=stream_arn.rpartition("/")[2])
