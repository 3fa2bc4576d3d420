"""What all operations share: the store, the host, the runtime, and how a function is looked up."""

from __future__ import annotations

from lambda_provider.config import ProviderConfig
from lambda_provider.host import Host
from lambda_provider.model.function import Function, Version
from lambda_provider.operations.authorization import Authorizer
from lambda_provider.operations.capacity import Capacity
from lambda_provider.operations.code_locations import CodeLocations
from lambda_provider.operations.transitions import VersionTransitions
from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.store import Store
from lambda_provider.validation.names import FunctionId
from lambda_runtime.service import RuntimeService


class Operations:
    """The collaborators of an operation. `LambdaProvider` sets them; operations only read them."""

    config: ProviderConfig
    host: Host
    runtime: RuntimeService
    store: Store
    archives: ArchiveStore
    transitions: VersionTransitions
    code_locations: CodeLocations
    authorizer: Authorizer | None
    capacity: Capacity

    def look_up(self, identity: FunctionId) -> tuple[Function, Version]:
        """The function and the version that the qualifier names, or ResourceNotFoundException."""
        function = self.store.get(identity)
        version = function.find(identity.qualifier)
        if version is None:
            raise identity.not_found()
        return function, version

    def look_up_settled(self, identity: FunctionId) -> tuple[Function, Version]:
        """Like `look_up`, but transitions of the function's versions that are prepared are finished first.

        All of them: a version that was published with the function is Active when the function is seen to be (recorded:
        test_publish_version_on_create).
        """
        function, version = self.look_up(identity)
        moving = [each for each in function.all_versions() if not each.status.settled]
        if not moving:
            return function, version
        for each in moving:
            self.transitions.settle(f"{function.arn}:{each.number}")
        return self.look_up(identity)
