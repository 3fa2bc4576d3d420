"""From Pending to Active: the transitions of function versions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lambda_provider.api import ResourceNotFoundException, ServiceException
from lambda_provider.host import ContainerImage, ImageNotFound
from lambda_provider.model.configuration import Code
from lambda_provider.model.function import Function, Version
from lambda_provider.operations.runtime_loop import submit
from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.store import Store
from lambda_provider.validation.names import FunctionId
from lambda_runtime.errors import ServiceStopped, VersionFailed
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import FunctionVersion

logger = logging.getLogger(__name__)

_PARALLEL_PREPARATIONS = 8


@dataclass(slots=True, eq=False)
class _Transition:
    """One version on its way: PREPARING -> prepared (or failed) -> finished.

    `prepared` has the outcome of the preparation. Whoever first wants to know the outcome afterwards, a reader or the timer,
    finishes: gives the version its new status, once.
    """

    arn: str
    number: str
    target: FunctionId
    restoring: bool
    predecessor: concurrent.futures.Future[VersionFailed | None] | None
    """The preparation before, of the same ARN: of a function that was deleted and created again."""
    prepared: concurrent.futures.Future[VersionFailed | None] = field(default_factory=concurrent.futures.Future)
    finishing: threading.Lock = field(default_factory=threading.Lock)
    snapshot: bool = False
    """The preparation has made one."""


class VersionTransitions:
    """Hands versions to the runtime and brings the outcome into the store.

    A transition is finished when the preparation is done and somebody looked (`settle`, `ready`) or `settle_s` seconds passed:
    a client that waits never waits for us, and a second update that follows at once meets AWS's conflict.

    Stored versions that are to be prepared again stand in a line and get their transition when it is their turn: eight at a
    time, in their order, but what somebody waits for leaves the line at once and is next. Their outcome is known anew at each
    start, so nothing is written for it.
    Usable from every thread; the preparation itself runs on the runtime's loop.
    """

    def __init__(
        self,
        store: Store,
        archives: ArchiveStore,
        runtime: RuntimeService,
        *,
        settle_s: float,
        patience_s: float,
        find_image: Callable[[str], ContainerImage | None] = lambda uri: None,
    ) -> None:
        """`find_image` is that of the host."""
        self._store = store
        self._archives = archives
        self._runtime = runtime
        self._settle_s = settle_s
        self._patience_s = patience_s
        self._find_image = find_image
        self._transitions: dict[str, _Transition] = {}
        self._latest_preparation: dict[str, concurrent.futures.Future[VersionFailed | None]] = {}
        self._running: set[concurrent.futures.Future[None]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._line: dict[str, tuple[Function, Version]] = {}
        self._line_lock = threading.Lock()
        """Held while a version leaves the line, so that nobody sees it neither there nor in transition."""
        self._preparations = asyncio.Semaphore(_PARALLEL_PREPARATIONS)

    @property
    def pending(self) -> int:
        """How many versions are being prepared, or stand in line for it."""
        with self._line_lock:
            return len(self._line) + len(self._transitions)

    def begin(self, function: Function, version: Version) -> None:
        """Start to prepare a version of a stored function; an older transition of the same version is forgotten."""
        self._start(self._transition(function, version), function, version)

    def restore(self, functions: Iterable[Function]) -> None:
        """Prepare all versions of functions that were loaded, in their order."""
        with self._line_lock:
            for function in functions:
                self._line.update(
                    {f"{function.arn}:{version.number}": (function, version) for version in function.all_versions()}
                )
        for _ in range(min(_PARALLEL_PREPARATIONS, len(self._line))):
            self._run(self._go_down_the_line())

    def retire(self, function: Function, numbers: list[str]) -> None:
        """Versions were deleted: what they run may finish, nothing else."""
        for number in numbers:
            arn = f"{function.arn}:{number}"
            with self._line_lock:
                self._line.pop(arn, None)
            self._transitions.pop(arn, None)
            submit(self._runtime, self._runtime.retire(arn))

    def settle(self, arn: str) -> None:
        """Finish the transition of a version if it is prepared, or is within the patience of a reader. Blocks."""
        transition = self._wanted(arn)
        if transition is None:
            return
        try:
            transition.prepared.result(self._patience_s)
        except (TimeoutError, ServiceStopped):
            return
        self._finish(transition)

    async def ready(self, arn: str, *, at_once: bool = False) -> None:
        """Wait on the loop until a version is prepared, and finish its transition. Raises ServiceStopped.

        `at_once` gives up after a reader's patience.
        """
        transition = self._wanted(arn)
        if transition is not None:
            prepared = asyncio.shield(asyncio.wrap_future(transition.prepared))
            if at_once and not (await asyncio.wait([prepared], timeout=self._patience_s))[0]:
                return
            await prepared
            await asyncio.get_running_loop().run_in_executor(None, self._finish, transition)

    def forget_all(self) -> None:
        """Drop every transition and timer; what is under preparation is cancelled. May be called twice."""
        with self._line_lock:
            self._line.clear()
        for running in list(self._running):
            running.cancel()
        for transition in list(self._transitions.values()):
            _stop(transition)
        self._transitions.clear()
        self._latest_preparation.clear()

    async def cancelled(self) -> None:
        """Wait on the loop until nothing is under preparation any more, after `forget_all`."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _transition(self, function: Function, version: Version, *, restoring: bool = False) -> _Transition:
        target = FunctionId(function.account_id, function.region, function.name)
        arn = f"{function.arn}:{version.number}"
        transition = _Transition(arn, version.number, target, restoring, self._latest_preparation.get(arn))
        self._transitions[arn] = transition
        self._latest_preparation[arn] = transition.prepared
        return transition

    def _wanted(self, arn: str) -> _Transition | None:
        """The transition of a version that somebody waits for; it does not stand in line for that any longer."""
        if arn in self._line and (started := self._leave_line(arn)) is not None:
            self._start(*started)
        return self._transitions.get(arn)

    def _leave_line(self, arn: str | None = None) -> tuple[_Transition, Function, Version] | None:
        """The version of that ARN, or the first one, with its transition; None if it is not in line (any more)."""
        with self._line_lock:
            arn = arn or next(iter(self._line), None)
            if arn is None or arn not in self._line:
                return None
            function, version = self._line.pop(arn)
            return self._transition(function, version, restoring=True), function, version

    async def _go_down_the_line(self) -> None:
        while (next_one := self._leave_line()) is not None:
            await self._carry_out(*next_one)

    def _start(self, transition: _Transition, function: Function, version: Version) -> None:
        if not self._run(self._carry_out(transition, function, version)):
            _stop(transition)

    def _run(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run work on the loop until `forget_all`; whether it does run."""
        running = submit(self._runtime, work)
        if running is not None:
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        return running is not None

    async def _carry_out(self, transition: _Transition, function: Function, version: Version) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if transition.predecessor is not None:
            # What is prepared last must be what was deployed last.
            await asyncio.wait([asyncio.wrap_future(transition.predecessor)])
            transition.predecessor = None
        async with self._preparations:
            failure = await self._deploy(transition.arn, function, version)
            transition.snapshot = failure is None and self._runtime.has_snapshot(transition.arn)
        if self._latest_preparation.get(transition.arn) is transition.prepared:
            del self._latest_preparation[transition.arn]
        # Asked now: from the next moment on, a reader may finish the transition, and that takes it out, too. Who deletes the
        # version from now on has the runtime retire what it has.
        deleted = transition.arn not in self._transitions
        with suppress(concurrent.futures.InvalidStateError):
            transition.prepared.set_result(failure)
        if deleted:
            # Deleted while it was prepared: the runtime was told to retire what it did not have yet.
            await self._runtime.retire(transition.arn)
            return
        if not transition.restoring:
            await asyncio.sleep(self._settle_s)
        await asyncio.get_running_loop().run_in_executor(None, self._finish, transition)

    async def _deploy(self, arn: str, function: Function, version: Version) -> VersionFailed | None:
        try:
            deployed = runtime_version(function, version, self._archives)
            _require_code(deployed)
            code = version.configuration.code
            if code.image_found:
                address = await asyncio.get_running_loop().run_in_executor(None, self._image_address, code)
                deployed = replace(deployed, image_address=address)
            await self._runtime.deploy(deployed)
        except VersionFailed as failure:
            if arn in self._transitions:  # Else it was deleted meanwhile, and its code with it.
                logger.warning("%s cannot run: %s", arn, failure)
            return failure
        except ServiceStopped:
            raise asyncio.CancelledError from None
        except Exception:
            logger.exception("%s could not be prepared", arn)
            return VersionFailed("InternalError", "An internal error occurred while the function was prepared.")
        return None

    def _image_address(self, code: Code) -> str | None:
        """Where the image that was meant is now: it may be deleted, and the host have another address since."""
        try:
            image = self._find_image(code.resolved_image_uri or "")
        except ImageNotFound as error:
            raise VersionFailed(
                "ImageDeleted", f"Source image {code.image_uri} does not exist. Provide a valid source image. ({error})"
            ) from error
        return image.address if image is not None else None

    def _finish(self, transition: _Transition) -> None:
        with transition.finishing:
            if self._transitions.get(transition.arn) is not transition:
                return
            failure = transition.prepared.result()
            try:
                with self._store.function(transition.target, durable=not transition.restoring) as function:
                    version = function.function.version(transition.number)
                    if version is not None and (failure is not None or not version.status.settled):
                        status = (
                            version.status.prepared(snapshot=transition.snapshot)
                            if failure is None
                            else version.status.preparation_failed(failure.code, str(failure))
                        )
                        function.settle(transition.number, status, new_revision=not transition.restoring)
            except ResourceNotFoundException:
                logger.debug("%s was deleted while it was prepared", transition.arn)
            except ServiceException:
                return  # The disk does not take it, as the log says. Whoever looks next tries again.
            if self._transitions.get(transition.arn) is transition:
                del self._transitions[transition.arn]


def _stop(transition: _Transition) -> None:
    """Wake whoever waits for a preparation that will not end."""
    with suppress(concurrent.futures.InvalidStateError):
        transition.prepared.set_exception(ServiceStopped("the service is stopping"))


def _require_code(version: FunctionVersion) -> None:
    """Raise VersionFailed when a part of the code is not in the state directory any more."""
    for what, archive in (("code", version.code), *(("layer", layer) for layer in version.layers)):
        if archive is not None and not archive.path.exists():
            raise VersionFailed(
                "InvalidZipFileException",
                f"The {what} of the function is missing from the state directory (archive {archive.sha256}). "
                f"Upload the {what} again, or restore the directory from a copy.",
            )


def runtime_version(function: Function, version: Version, archives: ArchiveStore) -> FunctionVersion:
    """What the data plane needs to run a version."""
    configuration = version.configuration
    image, folder = configuration.image, configuration.code.folder
    return FunctionVersion(
        arn=f"{function.arn}:{version.number}",
        account_id=function.account_id,
        region=function.region,
        function_name=function.name,
        version=version.number,
        revision=version.revision_id,
        runtime=configuration.runtime,
        handler=configuration.handler,
        code=archives.get(configuration.code.sha256) if configuration.package_type == "Zip" and not folder else None,
        code_folder=Path(folder) if folder else None,
        layers=tuple(archives.get(layer.sha256) for layer in configuration.layers),
        environment=configuration.environment or {},
        architecture=configuration.architecture,
        memory_mib=configuration.memory_mib,
        timeout_s=configuration.timeout_s,
        ephemeral_storage_mib=configuration.ephemeral_storage_mib,
        role_arn=configuration.role,
        log_group=configuration.logging.log_group,
        # Functions on managed instances always log in JSON ("Python runtime for Lambda Managed Instances").
        log_format="JSON" if configuration.capacity_provider_arn else configuration.logging.log_format,
        application_log_level=configuration.logging.application_log_level,
        system_log_level=configuration.logging.system_log_level,
        tracing_mode=configuration.tracing_mode,
        snap_start=version.snap_start,
        runtime_version_arn=function.runtime_version_arn(version),
        image_uri=configuration.code.image_uri,
        image_command=image.command if image else None,
        image_entry_point=image.entry_point if image else None,
        image_working_directory=image.working_directory if image else None,
        reserved_concurrency=function.settings.reserved_concurrency,
        max_concurrency=configuration.max_concurrency,
    )
