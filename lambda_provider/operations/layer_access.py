"""Finding a layer version for whoever may have it: here, or with the help of a layer fetcher."""

from __future__ import annotations

from functools import cached_property

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.api import AccessDeniedException
from lambda_provider.context import RequestContext, partition_of
from lambda_provider.host import ServiceUnavailable
from lambda_provider.model.layers import Layer, LayerVersion
from lambda_provider.model.policy import account_principal
from lambda_provider.operations.base import Operations
from lambda_provider.operations.layer_fetchers import LayerFetchers
from lambda_provider.validation.layer_names import LayerVersionId


class LayerAccess(Operations):
    """Looks layer versions up as a user of them, not only as their owner."""

    @cached_property
    def layer_fetchers(self) -> LayerFetchers:
        """The installed layer fetchers, loaded when the first layer version is not here."""
        return LayerFetchers.installed(unzipped_limit=self.config.code_size_unzipped)

    def find_layer_version(self, context: RequestContext, wanted: LayerVersionId) -> tuple[Layer, LayerVersion] | None:
        """The layer version, wherever it is, or None.

        Raises AccessDeniedException for one of another account that the caller's may not have. Nobody is told whether it
        exists: a wrong region is answered alike (https://github.com/ShivamJoker/Canvas-Lambda-Layer/issues/2).
        """
        found = self._look_for_layer_version(context, wanted)
        if not wanted.belongs_to(context.account_id) and (
            found is None or not self._may_have_layer_version(context, wanted, found[1])
        ):
            raise not_authorized(context, "lambda:GetLayerVersion", wanted.arn)
        return found

    def _look_for_layer_version(
        self, context: RequestContext, wanted: LayerVersionId
    ) -> tuple[Layer, LayerVersion] | None:
        if not wanted.is_aws_own and wanted.layer.region != context.region:
            return None
        layer = self.store.layers.get(wanted.layer.account_id, wanted.layer.region, wanted.layer.name)
        version = layer.version(wanted.number) if layer is not None else None
        if layer is not None and version is not None:
            return layer, version
        if layer is not None and wanted.number < layer.next_version:
            # It was published here and deleted: one of that number elsewhere is another one.
            return None
        return self._fetch_layer_version(wanted)

    def _fetch_layer_version(self, wanted: LayerVersionId) -> tuple[Layer, LayerVersion] | None:
        """Have a layer version fetched, and keep it as one of its account."""
        fetched = self.layer_fetchers.fetch(wanted)
        if fetched is None:
            return None
        version, content = fetched
        account_id, region, name = wanted.layer.account_id, wanted.layer.region, wanted.layer.name
        with self.archives.hold(content), self.store.layers.changing(account_id, region) as layers:
            layer = layers.get(name) or Layer(
                account_id=account_id, region=region, name=name, sequence=layers.next_sequence
            )
            # Somebody else may have fetched it in the meantime.
            kept = layer.version(wanted.number)
            if kept is None:
                kept, layer = version, layers.put(layer.with_version(version))
        return layer, kept

    def _may_have_layer_version(self, context: RequestContext, wanted: LayerVersionId, version: LayerVersion) -> bool:
        """Whether the policy of a layer version lets the caller's account have it."""
        account = account_principal(context.account_id, wanted.layer.region)
        for statement in version.policy.statements if version.policy is not None else ():
            organization = statement.get("Condition", {}).get("StringEquals", {}).get("aws:PrincipalOrgID")
            if statement["Principal"] in ("*", account) and (
                organization is None or organization == self._organization_of_caller(context)
            ):
                return True
        return False

    def _organization_of_caller(self, context: RequestContext) -> str | None:
        """The id of the organization that the caller's account is in, or None. A host without Organizations has none."""
        try:
            organizations = self.host.connect_to("organizations", account_id=context.account_id, region=context.region)
            organization_id: str = organizations.describe_organization()["Organization"]["Id"]
        except (ClientError, BotoCoreError, ServiceUnavailable):
            return None
        return organization_id


def not_authorized(context: RequestContext, action: str, resource: str) -> AccessDeniedException:
    """The error for a resource of another account whose policy does not name the caller's.

    The words, with the root of an account: https://github.com/crucial-project/serverless-shell/issues/2. Who within the
    account calls is not known here.
    """
    caller = f"arn:{partition_of(context.region)}:iam::{context.account_id}:root"
    return AccessDeniedException(
        f"User: {caller} is not authorized to perform: {action} on resource: {resource} "
        f"because no resource-based policy allows the {action} action"
    )
