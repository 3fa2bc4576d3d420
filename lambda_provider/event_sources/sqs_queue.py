"""One queue, as a poller sees it: receiving, deleting and giving back, a few requests at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.event_sources.source import AUTHORIZATION_ERROR, EventSource, SourceProblem, retry_delay_s
from lambda_provider.event_sources.sqs_events import Message
from lambda_provider.host import ServiceUnavailable

logger = logging.getLogger(__name__)

AT_ONCE = 10
"""What one request receives, deletes or changes at most."""
DELETE_ATTEMPTS = 3

_DELETING = 2
"""Requests that delete, at once; what is to be deleted meanwhile goes together into the next."""
_FAILURES = (ClientError, BotoCoreError, ServiceUnavailable, OSError)
_GONE = frozenset(
    {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "AWS.SimpleQueueService.QueueDeletedRecently"}
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AWS.SimpleQueueService.AccessDenied"})

_Deletion = tuple[Message, asyncio.Future[bool]]


class PolledQueue:
    """The queue of a mapping. Touched only on the loop; requests are made in threads of the source's share.

    What fails is a SourceProblem where nothing can go on without it, and only logged where the queue makes up for it: a message
    that could not be deleted comes again.
    """

    def __init__(self, source: EventSource, arn: str) -> None:
        self.visibility_s = 30.0
        """How long messages are ours after they were received."""
        self._source = source
        self._arn = arn
        self._sqs: Any = None
        self._url = ""
        self._to_delete: deque[_Deletion] = deque()
        self._deleting: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Find the queue. Raises SourceProblem."""
        try:
            self._sqs = await self._source.call(self._source.client, "sqs")
            answer = await self._source.call(self._sqs.get_queue_url, QueueName=self._arn.rpartition(":")[2])
            self._url = answer["QueueUrl"]
            await self._learn_visibility()
        except _FAILURES as error:
            raise _problem(error) from error

    async def learn_visibility(self) -> None:
        """Ask for the visibility timeout, which may have changed; without an answer the old one stays."""
        try:
            await self._learn_visibility()
        except _FAILURES as error:
            logger.info("%s: %s", self._arn, error)

    async def receive(self, count: int, wait_s: int) -> list[Message]:
        """Messages, at most ten; with `wait_s` the queue waits for the first one. Raises SourceProblem."""
        call = self._source.wait_for if wait_s else self._source.call
        try:
            answer = await call(
                self._sqs.receive_message,
                QueueUrl=self._url,
                MaxNumberOfMessages=count,
                WaitTimeSeconds=wait_s,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        except _FAILURES as error:
            raise _problem(error) from error
        return list(answer.get("Messages") or ())

    async def delete(self, messages: Sequence[Message]) -> int:
        """Delete messages, together with those of other batches; how many were deleted."""
        loop = asyncio.get_running_loop()
        deletions: list[_Deletion] = [(message, loop.create_future()) for message in messages]
        self._to_delete.extend(deletions)
        if len(self._deleting) < _DELETING:
            task = loop.create_task(self._delete_all())
            self._deleting.add(task)
            task.add_done_callback(self._deleting.discard)
        return sum(await asyncio.gather(*(deleted for _, deleted in deletions)))

    async def give_back(self, messages: Sequence[Message]) -> None:
        """Have messages shown again that nobody has seen."""
        await self._hide(messages, 0)

    async def keep(self, messages: Sequence[Message]) -> None:
        """Have messages that are ours hidden from others for as long as if they were received now."""
        await self._hide(messages, int(self.visibility_s))

    async def _hide(self, messages: Sequence[Message], seconds: int) -> None:
        for start in range(0, len(messages), AT_ONCE):
            entries = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": seconds}
                for index, message in enumerate(messages[start : start + AT_ONCE])
            ]
            try:
                await self._source.call(self._sqs.change_message_visibility_batch, QueueUrl=self._url, Entries=entries)
            except _FAILURES as error:
                logger.info("how long messages are hidden in %s could not be changed: %s", self._arn, error)

    async def _learn_visibility(self) -> None:
        answer = await self._source.call(
            self._sqs.get_queue_attributes, QueueUrl=self._url, AttributeNames=["VisibilityTimeout"]
        )
        self.visibility_s = float(answer["Attributes"]["VisibilityTimeout"])

    async def _delete_all(self) -> None:
        while self._to_delete:
            part = [self._to_delete.popleft() for _ in range(min(AT_ONCE, len(self._to_delete)))]
            try:
                await self._delete_part(part)
            finally:
                for _, deleted in part:
                    if not deleted.done():
                        deleted.set_result(False)

    async def _delete_part(self, part: Sequence[_Deletion]) -> None:
        left = {str(index): deletion for index, deletion in enumerate(part)}
        for attempt in range(1, DELETE_ATTEMPTS + 1):
            entries = [{"Id": id_, "ReceiptHandle": message["ReceiptHandle"]} for id_, (message, _) in left.items()]
            try:
                answer = await self._source.call(self._sqs.delete_message_batch, QueueUrl=self._url, Entries=entries)
            except _FAILURES as error:
                if _code(error) in _GONE:
                    return
                logger.warning("messages could not be deleted from %s: %s", self._arn, error)
            else:
                failed = {each["Id"]: each.get("SenderFault", False) for each in answer.get("Failed") or ()}
                for id_, (_, deleted) in left.items():
                    if not deleted.done() and failed.get(id_, True) is not False:
                        deleted.set_result(id_ not in failed)
                left = {id_: each for id_, each in left.items() if failed.get(id_, True) is False}
                if not left:
                    return
            if attempt < DELETE_ATTEMPTS:
                await self._source.clock.sleep_until(self._source.clock.now() + retry_delay_s(attempt))


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _problem(error: Exception) -> SourceProblem:
    """Why a queue cannot be polled. It is tried again, so a queue that is made anew is polled again."""
    reason = {"reason": AUTHORIZATION_ERROR} if _code(error) in _DENIED else {}
    return SourceProblem(str(error), **reason)
