"""Which versions can be invoked: from the preparation of each until nothing of it is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lambda_runtime.errors import EnvironmentNotStarted, ServiceStopped, VersionFailed, VersionNotDeployed
from lambda_runtime.executors.base import PreparedVersion, RuntimeExecutor
from lambda_runtime.live_code import look_at
from lambda_runtime.managed_instances import ManagedInstances
from lambda_runtime.snapstart import SnapshotFailed, Snapshots
from lambda_runtime.types import FunctionVersion
from lambda_runtime.version_manager import VersionManager

logger = logging.getLogger(__name__)

Manager = VersionManager | ManagedInstances

NO_RUNTIME = "InvalidRuntime"
"""The StateReasonCode with which an executor says that it has nothing to run a runtime with."""


class DeployedVersions:
    """Function versions by ARN, and the manager that runs each.

        deploy -> preparing -> deployed -> draining -> released     `retire`, or a newer value of the same ARN
                            -> without a runtime                    deployed, as on AWS; its invokes say what is missing
                            -> VersionFailed                        an older value stays in place

    A manager that is taken out finishes its work; what the executor prepared for it is released with its last environment.

    Owned by the RuntimeService, touched only on the runtime loop; hence no locks. `new_manager` makes the manager of what was
    prepared, which tells `manager_drained` when it has nothing left; `on_deployed` is called when a manager took its place.
    """

    def __init__(
        self,
        executor: RuntimeExecutor,
        new_manager: Callable[[PreparedVersion], Manager],
        on_deployed: Callable[[Manager], None],
        *,
        needs_runtime: bool,
    ) -> None:
        """`needs_runtime`: a runtime that this machine does not have fails the deployment."""
        self.managers: dict[str, Manager] = {}
        """Of what can be invoked now, by ARN. One dictionary for good: the way of an invoke holds it. Others read it only."""
        self.shutdowns: set[asyncio.Task[None]] = set()
        """The shutdown phases of environments with extensions; none takes longer than its limit."""
        self._executor = executor
        self._new_manager = new_manager
        self._on_deployed = on_deployed
        self._needs_runtime = needs_runtime
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._without_runtime: dict[str, VersionFailed] = {}
        self._to_try_again: dict[str, FunctionVersion] = {}
        """Versions without a runtime that an invoke prepares again."""
        self._failed: set[str] = set()
        self._draining: set[Manager] = set()
        self._drain_ended = asyncio.Event()
        self._unwanted: set[asyncio.Future[None]] = set()
        """Preparations that are not waited for any longer."""
        self._releases: set[asyncio.Task[None]] = set()
        self._stopped = False

    def start(self) -> None:
        """Take versions from now on."""
        self._stopped = False

    def stop(self) -> None:
        """From now on `deploy` and `deployed` raise ServiceStopped; what there is stays."""
        self._stopped = True

    # --- a version

    async def deploy(self, version: FunctionVersion) -> None:
        """Prepare a version, and put it in place of an older value. Raises VersionFailed or ServiceStopped."""
        if self._stopped:
            raise ServiceStopped("the service is stopping")
        done = self._under_way[version.arn] = asyncio.get_running_loop().create_future()
        try:
            manager = await self._prepare(version)
            old = self.managers.pop(version.arn, None)
            if manager is not None:
                self.managers[version.arn] = manager
                self._on_deployed(manager)
            if old is not None:
                self._drain(old)
        except VersionFailed:
            self._failed.add(version.arn)
            raise
        finally:
            if self._under_way.get(version.arn) is done:
                del self._under_way[version.arn]
            done.set_result(None)

    def retire(self, arn: str) -> Manager | None:
        """Forget a version, and drain its manager, which is the answer; None if it has none."""
        self._forget_failure(arn)
        manager = self.managers.pop(arn, None)
        if manager is not None:
            self._drain(manager)
        return manager

    async def deployed(self, arn: str) -> Manager:
        """The manager of a version, once a deployment that is under way has ended.

        Raises VersionNotDeployed, VersionFailed or ServiceStopped.
        """
        while (under_way := self._under_way.get(arn)) is not None:
            await asyncio.shield(under_way)
        if self._stopped:
            raise ServiceStopped("the service is stopping")
        if (version := self._to_try_again.get(arn)) is not None:
            await self.deploy(version)
        manager = self.managers.get(arn)
        if manager is None:
            raise self._without_runtime.get(arn) or VersionNotDeployed(arn)
        return manager

    async def up_to_date(self, manager: Manager, folder: Path) -> Manager:
        """The manager of what the version's folder holds now; an older one finishes its work and goes."""
        content = await asyncio.to_thread(look_at, folder)
        arn = manager.version.arn
        manager = await self.deployed(arn)
        if manager.prepared.content != content:
            await self.deploy(manager.version)
            manager = await self.deployed(arn)
        return manager

    def known(self, arn: str) -> bool:
        """Whether a version is deployed, with a runtime or without, or about to be."""
        return arn in self.managers or arn in self._under_way or arn in self._without_runtime

    def failed(self, arn: str) -> bool:
        """Whether the last deployment of a version came to nothing."""
        return arn in self._without_runtime or arn in self._failed

    # --- all of them

    def running(self) -> list[Manager]:
        """Managers that have or may get environments, those that drain among them."""
        return [*self.managers.values(), *self._draining]

    def counts(self) -> dict[str, int]:
        """What is under way; all 0 at rest."""
        return {
            "draining_versions": len(self._draining),
            "shutdowns": len(self.shutdowns),
            "releases": len(self._releases),
        }

    def end_all(self) -> set[Manager]:
        """Forget every version and begin to end all managers, which are the answer; `ended` waits for them."""
        self._draining.update(self.managers.values())
        self.managers.clear()
        self._without_runtime.clear()
        self._to_try_again.clear()
        self._failed.clear()
        ending = set(self._draining)
        for manager in ending:
            manager.stop()
        return ending

    async def ended(self, ending: set[Manager]) -> None:
        """Return when nothing of these managers is left. Cancelled, they end by themselves."""
        while ending & self._draining:
            self._drain_ended.clear()
            await self._drain_ended.wait()
        await asyncio.gather(*self.shutdowns, return_exceptions=True)
        await asyncio.gather(*self._releases, return_exceptions=True)

    async def close(self) -> None:
        """Return when nothing is under way any more; preparations that nobody waits for are given up."""
        for unwanted in self._unwanted:
            unwanted.cancel()
        await asyncio.gather(*self.shutdowns, *self._unwanted, return_exceptions=True)
        await asyncio.gather(*self._releases, return_exceptions=True)

    def manager_drained(self, manager: Manager) -> None:
        """A manager has nothing left: what was prepared for it is given back."""
        self._draining.discard(manager)
        self._drain_ended.set()
        task = asyncio.get_running_loop().create_task(self._executor.release(manager.prepared))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    # --- inside

    def _drain(self, manager: Manager) -> None:
        self._draining.add(manager)
        manager.drain()

    def _forget_failure(self, arn: str) -> None:
        self._without_runtime.pop(arn, None)
        self._to_try_again.pop(arn, None)
        self._failed.discard(arn)

    async def _prepare(self, version: FunctionVersion) -> Manager | None:
        """The manager of a version; None if this machine has no runtime for it."""
        self._forget_failure(version.arn)
        try:
            prepared = await self._prepared(version)
        except VersionFailed as error:
            if error.code != NO_RUNTIME or self._needs_runtime:
                raise
            logger.warning("%s cannot run here: %s", version.arn, error)
            self._without_runtime[version.arn] = error
            if error.passing:
                self._to_try_again[version.arn] = version
            return None
        manager = self._new_manager(prepared)
        if isinstance(manager, VersionManager) and manager.snapshots is not None:
            await self._take_snapshot(manager.snapshots, prepared)
        return manager

    async def _take_snapshot(self, snapshots: Snapshots, prepared: PreparedVersion) -> None:
        try:
            await snapshots.take()
        except BaseException as error:
            await self._executor.release(prepared)
            if isinstance(error, SnapshotFailed):
                # The words: https://github.com/serverless/serverless/pull/13847, the code: the model and
                # https://github.com/hashicorp/terraform-provider-aws/issues/49904.
                text = "An error occurred during function initialization."
                raise VersionFailed("FunctionError", text) from error
            if isinstance(error, EnvironmentNotStarted):
                raise VersionFailed("InternalError", str(error)) from error
            raise

    async def _prepared(self, version: FunctionVersion) -> PreparedVersion:
        """What the executor has prepared. Cancelled, it is given back as soon as it is there."""
        preparing = asyncio.ensure_future(self._executor.prepare(version))
        try:
            return await asyncio.shield(preparing)
        except asyncio.CancelledError:
            giving_back = asyncio.ensure_future(self._give_back(preparing))
            self._unwanted.add(giving_back)
            giving_back.add_done_callback(self._unwanted.discard)
            raise

    async def _give_back(self, preparing: asyncio.Future[PreparedVersion]) -> None:
        with suppress(VersionFailed):
            await self._executor.release(await preparing)
