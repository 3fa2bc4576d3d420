"""What all operations share: the store, the host, the runtime, and how a function is looked up."""

from __future__ import annotations

from lambda_provider.config import ProviderConfig
from lambda_provider.host import Host
from lambda_provider.model.function import Function, Version
from lambda_provider.operations.code_locations import CodeLocations
from lambda_provider.operations.deployment import Deployments
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
    deployments: Deployments
    code_locations: CodeLocations

    def look_up(self, identity: FunctionId) -> tuple[Function, Version]:
        """The function and the version that the qualifier names, or ResourceNotFoundException."""
        function = self.store.get(identity)
        version = function.find(identity.qualifier)
        if version is None:
            raise identity.not_found()
        return function, version

    def look_up_settled(self, identity: FunctionId) -> tuple[Function, Version]:
        """Like `look_up`, but a transition of the version that is prepared is finished first."""
        function, version = self.look_up(identity)
        if not version.status.settled:
            self.deployments.settle(f"{function.arn}:{version.number}")
            function, version = self.look_up(identity)
        return function, version
