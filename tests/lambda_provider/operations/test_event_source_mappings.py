"""Event source mappings as resources: what they take, what they answer, how they live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_provider.api import (
    InvalidParameterValueException,
    LambdaError,
    ResourceConflictException,
    ResourceInUseException,
    ResourceNotFoundException,
)
from lambda_provider.provider import LambdaProvider

from ..fakes import ACCOUNT, REGION, FakeHost, FakeRuntime, arn, context

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue"
FIFO = f"{QUEUE}.fifo"
STREAM = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/stream"
CONSUMER = f"{STREAM}/consumer/name:1700000000"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/2026-01-01T00:00:00.000"
CLUSTER = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/6d1e0b4c-aaaa-bbbb-cccc-1234567890ab-1"
BROKER = f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:b-1"
DATABASE = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:d"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s-AbCdEf"
BASIC = [{"Type": "BASIC_AUTH", "URI": SECRET}]
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
UNKNOWN = "00000000-0000-0000-0000-000000000001"

SOURCES: dict[str, dict[str, Any]] = {
    "sqs": {"EventSourceArn": QUEUE},
    "fifo": {"EventSourceArn": FIFO},
    "kinesis": {"EventSourceArn": STREAM, "StartingPosition": "LATEST"},
    "consumer": {"EventSourceArn": CONSUMER, "StartingPosition": "LATEST"},
    "dynamodb": {"EventSourceArn": TABLE, "StartingPosition": "TRIM_HORIZON"},
    "msk": {"EventSourceArn": CLUSTER, "Topics": ["topic"]},
    "kafka": {
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:1000"]}},
        "Topics": ["topic"],
        "SourceAccessConfigurations": BASIC,
    },
    "mq": {"EventSourceArn": BROKER, "Queues": ["q"], "SourceAccessConfigurations": BASIC},
    "documentdb": {
        "EventSourceArn": DATABASE,
        "StartingPosition": "LATEST",
        "SourceAccessConfigurations": BASIC,
        "DocumentDBEventSourceConfig": {"DatabaseName": "d"},
    },
}
STREAM_ANSWER = {
    "BatchSize": 100,
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {}},
    "FunctionResponseTypes": [],
    "LastProcessingResult": "No records processed",
    "MaximumBatchingWindowInSeconds": 0,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "StateTransitionReason": "User action",
    "TumblingWindowInSeconds": 0,
}
OTHER_ANSWER = {
    "BatchSize": 100,
    "LastProcessingResult": "No records processed",
    "StateTransitionReason": "USER_INITIATED",
}


class Service:
    """Every operation of another AWS service: an answer, or the error of that name. Keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.calls.append((operation, parameters))
            answer = self.answers[operation]
            if isinstance(answer, str):
                raise ClientError({"Error": {"Code": answer, "Message": "No."}}, operation)
            return answer

        return call


@pytest.fixture
def host() -> FakeHost:
    host = FakeHost()
    host.clients = {
        "sqs": Service(
            get_queue_url={"QueueUrl": "http://queue"}, get_queue_attributes={"Attributes": {"VisibilityTimeout": "30"}}
        ),
        "kinesis": Service(describe_stream_summary={}, describe_stream_consumer={}),
        "dynamodbstreams": Service(describe_stream={}),
    }
    return host


@pytest.fixture
def create(provider: LambdaProvider, active: Callable[..., str]) -> Callable[..., Any]:
    """`create("sqs", BatchSize=5)` makes a mapping of a function `f`, which is made first."""

    def create(source: str = "sqs", **members: Any) -> Any:
        if provider.store.find(ACCOUNT, REGION, "f") is None:
            active("f")
        request: Any = {"FunctionName": "f", **SOURCES[source], **members}
        return provider.create_event_source_mapping(context(), request)

    return create


def get(provider: LambdaProvider, made: Any) -> Any:
    return provider.get_event_source_mapping(context(), {"UUID": made["UUID"]})


def listed(provider: LambdaProvider, **members: Any) -> list[str]:
    request: Any = members
    return [each["UUID"] for each in provider.list_event_source_mappings(context(), request)["EventSourceMappings"]]


def updated(provider: LambdaProvider, made: Any, **members: Any) -> Any:
    """Update a mapping that nothing happens to, and see it when that is done."""
    get(provider, made)
    request: Any = {"UUID": made["UUID"], **members}
    provider.update_event_source_mapping(context(), request)
    return get(provider, made)


def refused(call: Callable[..., Any], *arguments: Any, **members: Any) -> str:
    with pytest.raises(InvalidParameterValueException) as raised:
        call(*arguments, **members)
    return raised.value.message


# What is answered


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "sqs",
            {
                "BatchSize": 10,
                "EventSourceArn": QUEUE,
                "FunctionResponseTypes": [],
                "MaximumBatchingWindowInSeconds": 0,
                "StateTransitionReason": "USER_INITIATED",
            },
        ),
        ("kinesis", STREAM_ANSWER | {"EventSourceArn": STREAM, "StartingPosition": "LATEST"}),
        ("consumer", STREAM_ANSWER | {"EventSourceArn": CONSUMER, "StartingPosition": "LATEST"}),
        ("dynamodb", STREAM_ANSWER | {"EventSourceArn": TABLE, "StartingPosition": "TRIM_HORIZON"}),
        (
            "msk",
            OTHER_ANSWER
            | {
                "EventSourceArn": CLUSTER,
                "Topics": ["topic"],
                "StartingPosition": "TRIM_HORIZON",
                "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "UUID"},
            },
        ),
        (
            "kafka",
            OTHER_ANSWER
            | {
                **SOURCES["kafka"],
                "StartingPosition": "TRIM_HORIZON",
                "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "UUID"},
            },
        ),
        ("mq", OTHER_ANSWER | SOURCES["mq"]),
        (
            "documentdb",
            OTHER_ANSWER
            | SOURCES["documentdb"]
            | {"DocumentDBEventSourceConfig": {"DatabaseName": "d", "FullDocument": "Default"}},
        ),
    ],
)
def test_a_new_mapping_has_the_defaults_of_its_source(create, source, expected):
    answer = create(source)
    uuid, modified = answer.pop("UUID"), answer.pop("LastModified")
    assert abs(datetime.now(UTC) - modified) < timedelta(minutes=1)
    for member, value in expected.items():
        if isinstance(value, dict) and value.get("ConsumerGroupId") == "UUID":
            expected[member] = {"ConsumerGroupId": uuid}
    assert answer == {
        **expected,
        "EventSourceMappingArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}",
        "FunctionArn": arn("f"),
        "State": "Creating",
    }


def test_every_setting_is_answered_as_it_was_given(provider, create):
    for source, settings in {
        "sqs": {
            "BatchSize": 11,
            "MaximumBatchingWindowInSeconds": 1,
            "FilterCriteria": {"Filters": [{"Pattern": '{"body": [1]}'}, {"Pattern": '{"body": [2]}'}]},
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 2},
            "MetricsConfig": {"Metrics": ["EventCount"]},
        },
        "fifo": {"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 10_000}},
        "kinesis": {
            "StartingPosition": "AT_TIMESTAMP",
            "StartingPositionTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
            "BisectBatchOnFunctionError": True,
            "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
            "MaximumRecordAgeInSeconds": 60,
            "MaximumRetryAttempts": 0,
            "ParallelizationFactor": 10,
            "TumblingWindowInSeconds": 900,
        },
        "kafka": {
            "SelfManagedKafkaEventSourceConfig": {
                "ConsumerGroupId": "group",
                "SchemaRegistryConfig": {"SchemaRegistryURI": "https://registry", "EventRecordFormat": "JSON"},
            },
            "DestinationConfig": {"OnFailure": {"Destination": "kafka://failures"}},
            "ProvisionedPollerConfig": {"MinimumPollers": 1, "MaximumPollers": 2000, "PollerGroupName": "g"},
            "LoggingConfig": {"SystemLogLevel": "DEBUG"},
            "MetricsConfig": {"Metrics": ["EventCount", "ErrorCount", "KafkaMetrics"]},
            "BatchSize": 10_000,
            "MaximumBatchingWindowInSeconds": 300,
        },
        "documentdb": {
            "DocumentDBEventSourceConfig": {
                "DatabaseName": "d",
                "CollectionName": "c",
                "FullDocument": "UpdateLookup",
            }
        },
        "mq": {"SourceAccessConfigurations": [*BASIC, {"Type": "VIRTUAL_HOST", "URI": "/"}]},
    }.items():
        seen = get(provider, create(source, **settings))
        assert {name: seen[name] for name in settings} == settings


def test_empty_filters_are_none(create):
    """Recorded: test_create_event_filter_criteria_validation."""
    assert "FilterCriteria" not in create("dynamodb", FilterCriteria={"Filters": []})


# What is refused


@pytest.mark.parametrize(
    "source_arn",
    [
        None,
        f"arn:aws:sns:{REGION}:{ACCOUNT}:topic",
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t",
        "arn:aws:s3:::bucket",
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:",
        f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/a/consumer/b",
    ],
)
def test_an_unknown_source_is_the_first_error(provider, source_arn):
    request: Any = {"FunctionName": "none"} | ({"EventSourceArn": source_arn} if source_arn else {})
    assert refused(provider.create_event_source_mapping, context(), request) == "Unrecognized event source."


@pytest.mark.parametrize("name", ["none", "f:1", "f:alias", arn("f", "$LATEST.PUBLISHED"), "222222222222:function:f"])
def test_an_unknown_function_comes_before_the_parameters(create, active, name):
    active("f")
    assert refused(create, "sqs", FunctionName=name, StartingPosition="LATEST") == "Function does not exist"


@pytest.mark.parametrize(
    ("source", "members", "message"),
    [
        # Recorded: test_event_source_mapping_exceptions.
        (
            "sqs",
            {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        ("sqs", {"StartingPosition": "LATEST"}, "StartingPosition is not valid for SQS event sources."),
        (
            "sqs",
            {"ParallelizationFactor": 1},
            "Unsupported ParallelizationFactor parameter for given event source mapping type.",
        ),
        (
            "kinesis",
            {"ScalingConfig": {"MaximumConcurrency": 2}},
            "Unsupported ScalingConfig parameter for given event source mapping type.",
        ),
        (
            "msk",
            {"ParallelizationFactor": 1},
            "Unsupported 'parallelizationFactor' parameter for given event source mapping type.",
        ),
        (
            "mq",
            {"FunctionResponseTypes": ["ReportBatchItemFailures"]},
            "Unsupported 'functionResponseTypes' parameter for given event source mapping type.",
        ),
        (
            "documentdb",
            {"FilterCriteria": {"Filters": []}},
            "Unsupported 'filterCriteria' parameter for given event source mapping type.",
        ),
        # Recorded: test_create_event_source_validation_kinesis.
        (
            "kinesis",
            {"StartingPosition": None},
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
            "Member must not be null.",
        ),
        # Recorded: test_create_event_source_self_managed.
        (
            "kafka",
            {"SourceAccessConfigurations": None},
            "Required 'sourceAccessConfigurations' parameter is missing.",
        ),
        ("kafka", {"Topics": None}, "Required 'topics' parameter is missing."),
        ("kafka", {"SelfManagedEventSource": {}}, "Required 'endpoints' parameter is missing."),
        ("msk", {"Topics": None}, "Required 'topics' parameter is missing."),
        ("mq", {"Queues": None}, "Required 'queues' parameter is missing."),
        (
            "documentdb",
            {"DocumentDBEventSourceConfig": None},
            "Required 'documentDBEventSourceConfig' parameter is missing.",
        ),
        (
            "documentdb",
            {"DocumentDBEventSourceConfig": {"CollectionName": "c"}},
            "Required 'databaseName' parameter is missing.",
        ),
        ("kinesis", {"StartingPosition": "AT_TIMESTAMP"}, "Need to specify a timestamp"),
        # Recorded: test_event_source_mapping_default_batch_size.
        (
            "sqs",
            {"BatchSize": 11},
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        (
            "fifo",
            {"BatchSize": 11, "MaximumBatchingWindowInSeconds": 1},
            "Batching window is not supported for FIFO queues",
        ),
        (
            "kinesis",
            {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        # Recorded: test_sqs_invalid_event_filter.
        ("sqs", {"FilterCriteria": {"Filters": [{"Pattern": "null"}]}}, "Invalid filter pattern definition."),
        ("sqs", {"FilterCriteria": {"Filters": [{}]}}, "Invalid filter pattern definition."),
    ],
)
def test_parameters_that_the_source_does_not_have_or_needs(create, source, members, message):
    wanted = {**SOURCES[source], **members}
    given = {name: value for name, value in wanted.items() if value is not None}
    SOURCES["given"] = given
    assert refused(create, "given") == message


SCRAM = {"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET}
SUBNET = {"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}
GROUP = {"Type": "VPC_SECURITY_GROUP", "URI": "security_group:sg-1"}


@pytest.mark.parametrize(
    ("source", "members"),
    [
        (
            "dynamodb",
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": datetime(2026, 1, 1, tzinfo=UTC)},
        ),
        (
            "kinesis",
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": datetime(2999, 1, 1, tzinfo=UTC)},
        ),
        ("kinesis", {"MaximumRecordAgeInSeconds": 59}),
        ("kinesis", {"DestinationConfig": {"OnFailure": {"Destination": "kafka://topic"}}}),
        ("kinesis", {"DestinationConfig": {"OnFailure": {"Destination": arn("f")}}}),
        ("kinesis", {"MetricsConfig": {"Metrics": ["KafkaMetrics"]}}),
        ("kinesis", {"LoggingConfig": {"SystemLogLevel": "INFO"}}),
        ("sqs", {"LoggingConfig": {"SystemLogLevel": "INFO"}, "ProvisionedPollerConfig": {"MinimumPollers": 2}}),
        ("msk", {"LoggingConfig": {"SystemLogLevel": "INFO"}}),
        ("kafka", {"LoggingConfig": {"SystemLogLevel": "INFO"}, "ProvisionedPollerConfig": {}}),
        ("kafka", {"MetricsConfig": {"Metrics": ["EventCount"]}}),
        ("sqs", {"FilterCriteria": {"Filters": [{"Pattern": '{"a": [1]}'}] * 6}}),
        ("sqs", {"ProvisionedPollerConfig": {"MinimumPollers": 1}}),
        ("sqs", {"ProvisionedPollerConfig": {"PollerGroupName": "g"}}),
        ("sqs", {"ProvisionedPollerConfig": {"MinimumPollers": 2}, "ScalingConfig": {"MaximumConcurrency": 2}}),
        ("msk", {"ProvisionedPollerConfig": {"MaximumPollers": 2001}}),
        ("msk", {"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 4}}),
        ("msk", {"SourceAccessConfigurations": BASIC}),
        ("mq", {"SourceAccessConfigurations": [SCRAM]}),
        ("kafka", {"SourceAccessConfigurations": [*BASIC, SCRAM]}),
        ("kafka", {"SourceAccessConfigurations": [SUBNET]}),
        ("kafka", {"SourceAccessConfigurations": [SCRAM, SCRAM]}),
        ("kafka", {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH"}]}),
        ("kafka", {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "user:password"}]}),
        ("kafka", {"SourceAccessConfigurations": [{"Type": "OAUTHBEARER_SCOPE", "URI": "s"}]}),
        ("kafka", {"SourceAccessConfigurations": [{"Type": "IAM_OAUTHBEARER_AUTH"}]}),
        ("kafka", {"SelfManagedKafkaEventSourceConfig": {"ConsumptionMode": "Queue"}, "StartingPosition": "LATEST"}),
        ("kafka", {"SelfManagedKafkaEventSourceConfig": {"ConsumptionMode": "Queue"}, "MaximumRetryAttempts": -1}),
        ("kafka", {"DestinationConfig": {"OnFailure": {"Destination": "kafka://topic"}}}),
    ],
)
def test_values_that_do_not_go_together(create, source, members):
    assert refused(create, source, **members)


@pytest.mark.parametrize(
    "accesses",
    [[SUBNET, SUBNET, GROUP], [{"Type": "IAM_AUTH"}], [SCRAM, {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": SECRET}]],
)
def test_ways_into_a_cluster(create, accesses):
    assert create("kafka", SourceAccessConfigurations=accesses)["SourceAccessConfigurations"] == accesses


def test_a_share_group_has_no_position(create):
    answer = create("kafka", SelfManagedKafkaEventSourceConfig={"ConsumptionMode": "Queue"})
    assert answer["SelfManagedKafkaEventSourceConfig"]["ConsumptionMode"] == "Queue"
    assert answer["MaximumRetryAttempts"] == 0
    assert "StartingPosition" not in answer


def test_tags_are_kept_beside_the_mapping_and_bounded(provider, create):
    made = create(Tags={"a": "b"})
    assert "Tags" not in made
    assert provider.list_tags(context(), {"Resource": made["EventSourceMappingArn"]}) == {"Tags": {"a": "b"}}
    too_many = {str(number): "" for number in range(51)}
    assert refused(create, "fifo", Tags=too_many) == "Number of tags exceeds resource tag limit."


# Sources


def test_a_queue_has_to_be_there_and_visible_long_enough(provider, host, create, active):
    host.clients["sqs"].answers["get_queue_url"] = "AWS.SimpleQueueService.NonExistentQueue"
    assert refused(create) == (
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
        "SQS Error Message: No."
    )
    host.clients["sqs"].answers["get_queue_url"] = {"QueueUrl": "http://queue"}
    active("slow", Timeout=31)
    message = "Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds"
    assert refused(create, FunctionName="slow") == message
    made = create()
    get(provider, made)
    request: Any = {"UUID": made["UUID"], "FunctionName": "slow"}
    assert refused(provider.update_event_source_mapping, context(), request) == message


@pytest.mark.parametrize(
    ("source", "service", "operation", "source_arn"),
    [
        ("kinesis", "kinesis", "describe_stream_summary", STREAM),
        ("consumer", "kinesis", "describe_stream_consumer", CONSUMER),
        ("dynamodb", "dynamodbstreams", "describe_stream", TABLE),
    ],
)
def test_a_stream_has_to_be_there(host, create, source, service, operation, source_arn):
    host.clients[service].answers[operation] = "ResourceNotFoundException"
    assert refused(create, source) == f"Stream not found: {source_arn}"
    host.clients[service].answers[operation] = "AccessDeniedException"
    assert refused(create, source).startswith(
        f"Cannot access stream {source_arn}. Please ensure the role can perform the GetRecords, "
    )


def test_clusters_and_brokers_are_not_asked(host, create):
    host.clients.clear()
    for source in ("msk", "kafka", "mq", "documentdb"):
        assert create(source)["State"] == "Creating"


# Duplicates


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "sqs",
            f'An event source mapping with SQS arn (" {QUEUE} ") and function (" f ") already exists. '
            "Please update or delete the existing mapping with UUID ",
        ),
        (
            "kinesis",
            f'The event source arn (" {STREAM} ") and function (" f ") provided mapping already exists. '
            "Please update or delete the existing mapping with UUID ",
        ),
        (
            "kafka",
            f'An event source mapping with event source ("kafka:1000"), function ("{arn("f")}"), topics ("topic") '
            "already exists. Please update or delete the existing mapping with UUID ",
        ),
        (
            "mq",
            f'An event source mapping with event source ("{BROKER}"), function ("{arn("f")}"), queues ("q") '
            "already exists. Please update or delete the existing mapping with UUID ",
        ),
    ],
)
def test_the_same_source_and_function_are_mapped_once(create, source, message):
    made = create(source)
    with pytest.raises(ResourceConflictException) as raised:
        create(source)
    assert raised.value.message == message + made["UUID"]
    with pytest.raises(ResourceConflictException):
        create(source, FunctionName=arn("f", "$LATEST"))


def test_clusters_with_a_server_in_common_are_the_same(create):
    create("kafka")
    more = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:1000", "kafka:2000"]}}
    with pytest.raises(ResourceConflictException, match=r'event source \("kafka:1000,kafka:2000"\)'):
        create("kafka", SelfManagedEventSource=more)
    create("kafka", Topics=["topic_2"])
    create("kafka", SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:2000"]}})


def test_other_functions_versions_and_aliases_are_not_the_same(provider, create, active):
    active("f", Publish=True)
    active("g")
    names = ["f", "f:1", f"{ACCOUNT}:function:g", arn("g", "$LATEST")]
    assert [create(FunctionName=name)["FunctionArn"] for name in names[:3]] == [arn("f"), arn("f", "1"), arn("g")]
    with pytest.raises(ResourceConflictException):
        create(FunctionName=names[3])


def test_an_update_may_not_make_two_mappings_the_same(provider, create, active):
    active("g")
    create()
    made = create(FunctionName="g")
    get(provider, made)
    with pytest.raises(ResourceConflictException):
        provider.update_event_source_mapping(context(), {"UUID": made["UUID"], "FunctionName": "f"})
    assert get(provider, made)["FunctionArn"] == arn("g")


# Life


def test_a_mapping_is_enabled_when_somebody_looks(provider, create):
    made = create()
    assert made["State"] == "Creating"
    assert get(provider, made)["State"] == "Enabled"
    other = create("kinesis", Enabled=False)
    seen = provider.list_event_source_mappings(context(), {"EventSourceArn": STREAM})["EventSourceMappings"]
    assert [(each["UUID"], each["State"]) for each in seen] == [(other["UUID"], "Disabled")]


def test_what_is_on_its_way_cannot_be_changed(provider, create):
    """ResourceInUseException: "you tried to update an event source mapping in the CREATING state" (API reference)."""
    uuid = {"UUID": create()["UUID"]}
    with pytest.raises(
        ResourceInUseException, match=r"^Cannot update the event source mapping because it is in use\.$"
    ):
        provider.update_event_source_mapping(context(), {**uuid, "Enabled": False})
    with pytest.raises(
        ResourceInUseException, match=r"^Cannot delete the event source mapping because it is in use\.$"
    ):
        provider.delete_event_source_mapping(context(), uuid)


@pytest.mark.parametrize("settings", [{"LAMBDA_SETTLE_MS": "0"}])
def test_a_transition_is_over_after_a_while(runtime: FakeRuntime, settings: dict[str, str]):
    host = FakeHost(settings)
    provider = LambdaProvider(host, runtime)  # type: ignore[arg-type]
    provider.start()
    try:
        from ..fakes import creation

        provider.create_function(context(), creation("f"))
        made = provider.create_event_source_mapping(context(), {"FunctionName": "f", **SOURCES["msk"]})
        uuid = {"UUID": made["UUID"]}
        assert provider.update_event_source_mapping(context(), {**uuid, "Enabled": False})["State"] == "Disabling"
        assert provider.delete_event_source_mapping(context(), uuid)["State"] == "Deleting"
        with pytest.raises(ResourceNotFoundException):
            provider.delete_event_source_mapping(context(), uuid)
    finally:
        provider.stop()


def test_enabling_and_disabling(provider, create):
    made = create()
    uuid = {"UUID": made["UUID"]}
    states = [get(provider, made)["State"]]
    for enabled in (False, False, True):
        states.append(provider.update_event_source_mapping(context(), {**uuid, "Enabled": enabled})["State"])
        states.append(get(provider, made)["State"])
    assert states == ["Enabled", "Disabling", "Disabled", "Updating", "Disabled", "Enabling", "Enabled"]


def test_a_deleted_mapping_is_gone_when_somebody_looks(provider, create):
    made = create()
    get(provider, made)
    deleted = provider.delete_event_source_mapping(context(), {"UUID": made["UUID"]})
    assert (deleted["State"], deleted["StateTransitionReason"]) == ("Deleting", "USER_INITIATED")
    with pytest.raises(ResourceInUseException):
        provider.update_event_source_mapping(context(), {"UUID": made["UUID"]})
    with pytest.raises(ResourceNotFoundException):
        get(provider, made)
    assert listed(provider) == []


def test_a_mapping_that_is_being_deleted_is_not_in_the_way_of_a_new_one(provider, create):
    made = create()
    get(provider, made)
    provider.delete_event_source_mapping(context(), {"UUID": made["UUID"]})
    assert create()["UUID"] != made["UUID"]


def test_an_unknown_mapping(provider):
    for call in (
        provider.get_event_source_mapping,
        provider.update_event_source_mapping,
        provider.delete_event_source_mapping,
    ):
        with pytest.raises(ResourceNotFoundException, match=r"^The resource you requested does not exist\.$") as raised:
            call(context(), {"UUID": UNKNOWN})
        assert raised.value.fields()["Type"] == "User"


def test_a_mapping_outlives_its_function(provider, create):
    """Recorded: test_event_source_mapping_lifecycle_delete_function."""
    made = create("dynamodb")
    before = get(provider, made)
    provider.delete_function(context(), {"FunctionName": "f"})
    assert get(provider, made) == before
    assert listed(provider, FunctionName="f") == [made["UUID"]]
    assert provider.delete_event_source_mapping(context(), {"UUID": made["UUID"]})["State"] == "Deleting"


# Updates


def test_an_update_keeps_what_is_not_sent(provider, create):
    made = create("kinesis", BatchSize=5, FunctionResponseTypes=["ReportBatchItemFailures"])
    seen = updated(provider, made, MaximumRetryAttempts=3)
    changed = {"MaximumRetryAttempts": 3, "State": "Enabled", "LastModified": seen["LastModified"]}
    assert seen == {**made, **changed}


def test_an_update_can_take_settings_away(provider, create):
    criteria = {"Filters": [{"Pattern": '{"a": [1]}'}]}
    made = create(ScalingConfig={"MaximumConcurrency": 5}, FilterCriteria=criteria, KMSKeyArn=KEY)
    seen = updated(provider, made, ScalingConfig={}, FilterCriteria={}, KMSKeyArn="")
    assert not {"ScalingConfig", "FilterCriteria", "KMSKeyArn"} & seen.keys()
    made = create("kinesis", DestinationConfig={"OnFailure": {"Destination": QUEUE}})
    assert updated(provider, made, DestinationConfig={"OnFailure": {}})["DestinationConfig"] == {"OnFailure": {}}


def test_an_update_is_checked_with_what_stays(provider, create):
    """Recorded: test_event_source_mapping_default_batch_size."""
    made = create(BatchSize=20, MaximumBatchingWindowInSeconds=1)
    with pytest.raises(InvalidParameterValueException, match=r"^Maximum batch window in seconds must be greater"):
        updated(provider, made, MaximumBatchingWindowInSeconds=0)
    assert get(provider, made)["MaximumBatchingWindowInSeconds"] == 1
    assert updated(provider, made, BatchSize=30)["BatchSize"] == 30


def test_what_an_update_cannot_change(provider, create):
    kafka = create("kafka")
    for config in ({"ConsumerGroupId": "other"}, {"ConsumptionMode": "Queue"}):
        assert refused(updated, provider, kafka, SelfManagedKafkaEventSourceConfig=config)
    group = kafka["SelfManagedKafkaEventSourceConfig"]["ConsumerGroupId"]
    registry = {"SchemaRegistryConfig": {"SchemaRegistryURI": "https://registry"}}
    seen = updated(provider, kafka, SelfManagedKafkaEventSourceConfig=registry)
    assert seen["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": group, **registry}

    broker = create("mq", SourceAccessConfigurations=[*BASIC, {"Type": "VIRTUAL_HOST", "URI": "/"}])
    assert refused(updated, provider, broker, SourceAccessConfigurations=[{"Type": "VIRTUAL_HOST", "URI": "/x"}])
    seen = updated(provider, broker, SourceAccessConfigurations=BASIC)
    assert [each["Type"] for each in seen["SourceAccessConfigurations"]] == ["BASIC_AUTH", "VIRTUAL_HOST"]


def test_a_topic_tells_of_itself_in_provisioned_mode_only(provider, create):
    tells = {"LoggingConfig": {"SystemLogLevel": "INFO"}, "MetricsConfig": {"Metrics": ["KafkaMetrics"]}}
    made = create("kafka", ProvisionedPollerConfig={"MinimumPollers": 1})
    assert tells.items() <= updated(provider, made, **tells).items()
    message = "LoggingConfig requires provisioned mode: specify ProvisionedPollerConfig."
    assert refused(updated, provider, made, ProvisionedPollerConfig={}) == message
    seen = updated(provider, made, ProvisionedPollerConfig={}, LoggingConfig={}, MetricsConfig={"Metrics": []})
    assert not {"ProvisionedPollerConfig", "LoggingConfig", "MetricsConfig"} & seen.keys()


def test_an_update_cannot_take_away_what_the_source_needs(provider, create):
    message = "Required 'sourceAccessConfigurations' parameter is missing."
    assert refused(updated, provider, create("mq"), SourceAccessConfigurations=[]) == message


def test_an_update_of_a_change_stream(provider, create):
    made = create("documentdb")
    seen = updated(provider, made, DocumentDBEventSourceConfig={"FullDocument": "UpdateLookup"})
    assert seen["DocumentDBEventSourceConfig"] == {"DatabaseName": "d", "FullDocument": "UpdateLookup"}


def test_an_update_names_another_function(provider, create, active):
    active("g")
    made = create()
    assert updated(provider, made, FunctionName="g")["FunctionArn"] == arn("g")
    assert refused(updated, provider, made, FunctionName="none") == "Function does not exist"


# Lists


def test_mappings_are_listed_by_source_and_function(provider, create, active):
    active("f", Publish=True)
    active("g")
    queue, version, stream, other = (
        create()["UUID"],
        create(FunctionName="f:1")["UUID"],
        create("kinesis")["UUID"],
        create(FunctionName="g")["UUID"],
    )
    assert listed(provider) == [queue, version, stream, other]
    assert listed(provider, EventSourceArn=QUEUE) == [queue, version, other]
    assert listed(provider, FunctionName="f") == [queue, stream]
    assert listed(provider, FunctionName=arn("f", "$LATEST")) == [queue, stream]
    assert listed(provider, FunctionName=f"{ACCOUNT}:function:f:1") == [version]
    assert listed(provider, FunctionName="g", EventSourceArn=STREAM) == []


def test_lists_have_pages(provider, create):
    made = [create(EventSourceArn=f"{QUEUE}{number}")["UUID"] for number in range(5)]
    first = provider.list_event_source_mappings(context(), {"MaxItems": 2})
    rest = provider.list_event_source_mappings(context(), {"Marker": first["NextMarker"]})
    assert [each["UUID"] for each in first["EventSourceMappings"] + rest["EventSourceMappings"]] == made
    assert "NextMarker" not in rest


def test_a_page_ends_at_a_hundred(provider, create):
    for number in range(101):
        create(EventSourceArn=f"{QUEUE}{number}")
    for request in ({}, {"MaxItems": 10_000}):
        answer = provider.list_event_source_mappings(context(), request)
        assert len(answer["EventSourceMappings"]) == 100
        assert "NextMarker" in answer


def test_regions_and_accounts_have_their_own(provider, create):
    made = create()
    for elsewhere in (context(region="us-east-1"), context(account_id="222222222222")):
        assert provider.list_event_source_mappings(elsewhere, {})["EventSourceMappings"] == []
        with pytest.raises(ResourceNotFoundException):
            provider.get_event_source_mapping(elsewhere, {"UUID": made["UUID"]})


# Encrypted filters


def test_encrypted_filters_are_shown_with_their_key_and_not_in_lists(provider, host, create):
    criteria = {"Filters": [{"Pattern": '{"a": [1]}'}]}
    host.clients["kms"] = Service(describe_key={})
    made = create(FilterCriteria=criteria, KMSKeyArn=KEY)
    assert get(provider, made)["FilterCriteria"] == criteria
    (seen,) = provider.list_event_source_mappings(context(), {})["EventSourceMappings"]
    assert "FilterCriteria" not in seen
    assert seen["KMSKeyArn"] == KEY
    host.clients["kms"].answers["describe_key"] = "NotFoundException"
    seen = get(provider, made)
    assert seen["FilterCriteria"] is None
    assert seen["FilterCriteriaError"] == {"ErrorCode": "NotFoundException", "Message": "No."}
    host.clients["kms"].answers["describe_key"] = {"KeyMetadata": {"KeyState": "Disabled"}}
    assert get(provider, made)["FilterCriteriaError"]["ErrorCode"] == "DisabledException"


# Durability


def test_mappings_survive_a_restart(host: FakeHost, runtime: FakeRuntime, tmp_path: Path):
    from ..fakes import creation

    provider = LambdaProvider(host, runtime, state_dir=tmp_path)  # type: ignore[arg-type]
    provider.start()
    provider.create_function(context(), creation("f"))
    requests: list[Any] = [
        {"FunctionName": "f", **members, "Tags": {"a": "b"}}
        for members in (
            SOURCES["mq"],
            SOURCES["kafka"],
            SOURCES["documentdb"],
            {**SOURCES["kinesis"], "FilterCriteria": {"Filters": [{"Pattern": '{"a": [1]}'}]}},
            {**SOURCES["sqs"], "ProvisionedPollerConfig": {"MinimumPollers": 2}},
        )
    ]
    made = [get(provider, provider.create_event_source_mapping(context(), request)) for request in requests]
    on_its_way = provider.create_event_source_mapping(context(), {"FunctionName": "f", **SOURCES["msk"]})
    provider.stop()

    restarted = LambdaProvider(host, runtime, state_dir=tmp_path)  # type: ignore[arg-type]
    restarted.start()
    try:
        assert [get(restarted, each) for each in made] == made
        assert get(restarted, on_its_way)["State"] == "Enabled"
        tags = restarted.list_tags(context(), {"Resource": made[0]["EventSourceMappingArn"]})
        assert tags == {"Tags": {"a": "b"}}
    finally:
        restarted.stop()


def test_nothing_is_stored_of_what_was_refused(provider, create):
    for source, members in (("sqs", {"BatchSize": 11}), ("kinesis", {"MaximumRecordAgeInSeconds": 1})):
        with pytest.raises(LambdaError):
            create(source, **members)
    assert listed(provider) == []
