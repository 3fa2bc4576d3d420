"""Moto's queues as we change them, in a process of their own: what is changed stays changed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

SETUP = """
import json, threading, time
from lambda_provider.hosts import moto_activity
from moto.sqs.models import sqs_backends

reports = []
moto_activity.install("sqs", lambda arn, delay_s=0.0: reports.append((arn.rpartition(":")[2], round(delay_s, 1))))
backend = sqs_backends["000000000000"]["us-east-1"]


def receive(name, count=10, wait_s=0, visibility_s=30):
    return backend.receive_message(name, count, wait_s, visibility_s, ["All"])
"""


def run(code: str) -> object:
    """What the code leaves in `result`."""
    text = SETUP + textwrap.dedent(code) + "\nprint(json.dumps(result))\n"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_comes_now_and_later_is_reported() -> None:
    reports = run(
        """
        backend.create_queue("q")
        backend.send_message("q", "now")
        backend.send_message("q", "later", delay_seconds=5)
        (message,) = receive("q")
        backend.change_message_visibility("q", message.receipt_handle, 3)
        receive("q")
        result = reports
        """
    )
    # The last one says when the first of the two that are hidden is shown.
    assert reports == [["q", 0.0], ["q", 5.0], ["q", 5.0], ["q", 3.0], ["q", 3.0]]


def test_messages_of_a_group_come_again_in_their_order() -> None:
    shown = run(
        """
        backend.create_queue("q.fifo", FifoQueue="true")
        for number in range(4):
            backend.send_message("q.fifo", str(number), deduplication_id=str(number), group_id="g")
        first = [message.body for message in receive("q.fifo", visibility_s=1)]
        blocked = [message.body for message in receive("q.fifo")]
        again = [message.body for message in receive("q.fifo", wait_s=5)]
        result = [first, blocked, again]
        """
    )
    assert shown == [["0", "1", "2", "3"], [], ["0", "1", "2", "3"]]


def test_a_duplicate_is_not_taken_although_the_first_one_was_processed() -> None:
    first, second, later, shown = run(  # type: ignore[misc]
        """
        backend.create_queue("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
        first = backend.send_message("q.fifo", "same", group_id="g")
        (message,) = receive("q.fifo")
        backend.delete_message("q.fifo", message.receipt_handle)
        second = backend.send_message("q.fifo", "same", group_id="h")
        shown = [len(receive("q.fifo"))]
        vars(backend.queues["q.fifo"])["_sent_lately"].clear()  # As after five minutes.
        later = backend.send_message("q.fifo", "same", group_id="g")
        shown += [len(receive("q.fifo"))]
        result = [*([each.id, each.sequence_number] for each in (first, second, later)), shown]
        """
    )
    assert first == second
    assert first[0] != later[0]
    assert first[1] < later[1] and len(later[1]) == 20
    assert shown == [0, 1]


def test_deduplication_ends_after_five_minutes() -> None:
    assert run(
        """
        from lambda_provider.hosts import moto_fifo
        backend.create_queue("q.fifo", FifoQueue="true")
        backend.send_message("q.fifo", "1", group_id="g", deduplication_id="d")
        moto_fifo._DEDUPLICATION_MS = 0
        backend.send_message("q.fifo", "2", group_id="g", deduplication_id="d")
        result = [message.body for message in receive("q.fifo")], list(vars(backend.queues["q.fifo"])["_sent_lately"])
        """
    ) == [["1", "2"], [[None, "d"]]]


def test_groups_deduplicate_for_themselves_where_the_queue_says_so() -> None:
    assert run(
        """
        backend.create_queue("q.fifo", FifoQueue="true", DeduplicationScope="messageGroup",
                             FifoThroughputLimit="perMessageGroupId")
        for group in ("g", "h", "g"):
            backend.send_message("q.fifo", group, group_id=group, deduplication_id="d")
        result = [message.body for message in receive("q.fifo")]
        """
    ) == ["g", "h"]


def test_a_dead_letter_is_never_a_duplicate() -> None:
    assert run(
        """
        backend.create_queue("dead.fifo", FifoQueue="true")
        policy = json.dumps({"deadLetterTargetArn": backend.queues["dead.fifo"].queue_arn, "maxReceiveCount": 1})
        backend.create_queue("q.fifo", FifoQueue="true", RedrivePolicy=policy)
        for name in ("dead.fifo", "q.fifo"):
            backend.send_message(name, name, group_id="g", deduplication_id="d")
        receive("q.fifo", visibility_s=0)
        receive("q.fifo")
        result = [message.body for message in receive("dead.fifo")]
        """
    ) == ["dead.fifo", "q.fifo"]


def test_a_dead_letter_says_of_which_queue_it_is() -> None:
    attributes = run(
        """
        import boto3
        from moto import mock_aws

        def received(url, **asked):
            answer = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, MaxNumberOfMessages=10, **asked)
            messages = answer.get("Messages", ())
            return {each["Body"]: each.get("Attributes", {}).get("DeadLetterQueueSourceArn") for each in messages}

        with mock_aws():
            sqs = boto3.client("sqs", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
            dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
            arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
            queue = sqs.create_queue(QueueName="q", Attributes={"RedrivePolicy": policy})["QueueUrl"]
            sqs.send_message(QueueUrl=queue, MessageBody="letter")
            sqs.send_message(QueueUrl=dead, MessageBody="sent")
            result = [received(queue, AttributeNames=["All"]), received(queue), received(dead, AttributeNames=["All"]),
                      received(dead, MessageSystemAttributeNames=["DeadLetterQueueSourceArn"]), received(dead)]
        """
    )
    letter = {"letter": "arn:aws:sqs:us-east-1:123456789012:q", "sent": None}
    assert attributes == [{"letter": None}, {}, letter, letter, {"letter": None, "sent": None}]


def test_the_next_of_a_group_is_reported_when_those_before_it_are_deleted() -> None:
    assert run(
        """
        backend.create_queue("q.fifo", FifoQueue="true")
        for number in range(2):
            backend.send_message("q.fifo", str(number), deduplication_id=str(number), group_id="g")
        (message,) = receive("q.fifo", 1)
        reports.clear()
        backend.delete_message("q.fifo", message.receipt_handle)
        backend.delete_message("q.fifo", message.receipt_handle)
        (message,) = receive("q.fifo", 1)
        result = [reports, message.body]
        """
    ) == [[["q.fifo", 0.0]], "1"]


@pytest.mark.parametrize("fifo", [False, True])
def test_threads_lose_no_message(fifo: bool) -> None:
    result = run(
        f"""
        name = "q.fifo" if {fifo} else "q"
        backend.create_queue(name, **({{"FifoQueue": "true"}} if {fifo} else {{}}))
        more = lambda key: dict(deduplication_id=key, group_id=key) if {fifo} else {{}}
        got, lock = [], threading.Lock()

        def send(thread):
            for number in range(200):
                backend.send_message(name, f"{{thread}}-{{number}}", **more(f"{{thread}}-{{number}}"))

        def take():
            while len(got) < 800:
                for message in receive(name, wait_s=1):
                    with lock:
                        got.append(message.body)
                    backend.delete_message(name, message.receipt_handle)

        threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
        threads += [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        result = [len(got), len(set(got)), len(backend.queues[name]._messages)]
        """
    )
    assert result == [800, 800, 0]


def test_a_long_poll_ends_when_something_comes_or_its_time_is_over() -> None:
    empty_s, found_s, processor_s = run(  # type: ignore[misc]
        """
        backend.create_queue("q")
        began, processor = time.monotonic(), time.process_time()
        assert receive("q", wait_s=1) == []
        empty_s, processor_s = time.monotonic() - began, time.process_time() - processor
        threading.Timer(0.2, lambda: backend.send_message("q", "now")).start()
        began = time.monotonic()
        assert [message.body for message in receive("q", wait_s=20)] == ["now"]
        result = [empty_s, time.monotonic() - began, processor_s]
        """
    )
    assert 1 <= empty_s < 5
    assert found_s < 5
    assert processor_s < 0.5


def test_attributes_count_messages_when_they_are_asked_for() -> None:
    assert run(
        """
        backend.create_queue("q", DelaySeconds="0")
        for number in range(3):
            backend.send_message("q", "m")
        receive("q", 1)
        backend.send_message("q", "later", delay_seconds=9)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        every = backend.get_queue_attributes("q", ["All"])
        result = [list(map(int, backend.get_queue_attributes("q", names).values())), every["ApproximateNumberOfMessages"],
                  dict(every.items())["ApproximateNumberOfMessagesDelayed"], every["VisibilityTimeout"]]
        """
    ) == [[2, 1], 2, 1, 30]


def test_a_moto_that_is_not_known_is_left_as_it_is() -> None:
    done = run(
        """
        import logging
        from moto.kinesis.models import Stream

        logged = []
        handler = logging.Handler()
        handler.emit = lambda record: logged.append(record.getMessage())
        logging.getLogger().addHandler(handler)
        Stream.put_record = None
        moto_activity.install("kinesis", lambda arn: None)
        moto_activity.install("s3", lambda arn: None)
        result = logged
        """
    )
    assert len(done) == 1 and "cannot tell when there is something in kinesis" in done[0]  # type: ignore[arg-type, index]
