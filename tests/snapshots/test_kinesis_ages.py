"""Records of streams that become too old, on a gateway whose clock runs fast."""

from __future__ import annotations

import threading

import pytest

from .harness.fast_clock import target_with_clock
from .harness.plugin import recorded
from .streams import Surroundings, names

CLOCK_RATE = 20  # A minute passes in three seconds.
pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def aws(request):
    yield from target_with_clock(request, CLOCK_RATE)


@pytest.fixture
def here(aws):
    surroundings = Surroundings(aws)
    yield surroundings
    surroundings.close()


@recorded("lambda_integration_kinesis.json", "TestKinesisSource::test_kinesis_maximum_record_age_exceeded")
@pytest.mark.parametrize("too_late", [True, False], ids=["expire-before-ingestion", "expire-while-retrying"])
def test_record_that_is_too_old_is_given_up(aws, snapshot, create, here, too_late):
    (stream, arn), (url, failures_arn) = here.stream(), here.queue()
    function = create("fails_on_purpose.py")["FunctionName"]
    names(snapshot, stream, function, failures_arn.rpartition(":")[2])
    kinesis = aws.client("kinesis")
    if too_late:
        kinesis.put_record(StreamName=stream, Data="hello", PartitionKey="test")
        threading.Event().wait(70 / (1 if aws.is_aws else CLOCK_RATE))  # Nothing tells when a record is old.
    made = here.connect(
        function,
        arn,
        BatchSize=1,
        MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=0 if too_late else -1,
        MaximumRecordAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": failures_arn}},
    )
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    if not too_late:
        kinesis.put_record(StreamName=stream, Data="hello", PartitionKey="test")
    snapshot.match("record_age_exceeded_payload", here.received(url))
