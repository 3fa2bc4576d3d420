"""Which code a function takes: what its code signing configuration says about it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from lambda_provider.api import (
    CodeSigningConfigNotFoundException,
    CodeVerificationFailedException,
    InvalidParameterValueException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.code_signing import ENFORCE, CodeSigningConfig
from lambda_provider.model.configuration import Code, LayerReference
from lambda_provider.operations.base import Operations
from lambda_provider.operations.signatures import trusted_profile

logger = logging.getLogger(__name__)


class CodeTrust(Operations):
    """Which code a function takes."""

    def require_code_signing_config(self, context: RequestContext, arn: str, package_type: str) -> CodeSigningConfig:
        """The configuration that a function is to have; raises CodeSigningConfigNotFoundException.

        A container image cannot be signed for Lambda (Developer Guide, "Using code signing to verify code integrity").
        """
        config = self.find_code_signing_config(context, arn)
        if config is None:
            raise CodeSigningConfigNotFoundException(
                "The code signing configuration cannot be found. "
                f"Check that the provided configuration is not deleted: {arn}."
            )
        if package_type == "Image":
            raise InvalidParameterValueException(
                "Code signing is not supported for functions created with container images."
            )
        return config

    def find_code_signing_config(self, context: RequestContext, arn: str) -> CodeSigningConfig | None:
        """The caller's configuration of that ARN in the region."""
        config = self.store.code_signing_configs.get(context.account_id, context.region, arn.rpartition(":")[2])
        return config if config is not None and config.arn == arn else None

    def trusted(self, context: RequestContext, arn: str | None, name: str, code: Code) -> Code:
        """`code` with its signer, as the function's code signing configuration demands.

        Raises CodeVerificationFailedException if nobody whom the configuration allows signed it and the policy is Enforce.
        """
        config = self.find_code_signing_config(context, arn) if arn is not None else None
        if config is None or code.image_uri is not None or code.folder is not None:
            return code
        return replace(code, signing_profile_version_arn=self._signer(config, name, code.sha256))

    def require_trusted_layers(
        self, context: RequestContext, arn: str | None, name: str, layers: Iterable[LayerReference]
    ) -> None:
        """The same for the layers that a function is to have."""
        config = self.find_code_signing_config(context, arn) if arn is not None else None
        if config is not None:
            for layer in layers:
                self._signer(config, name, layer.sha256)

    def _signer(self, config: CodeSigningConfig, name: str, sha256: str) -> str | None:
        signer = trusted_profile(self.archives.get(sha256).path, config.publishers)
        if signer is None:
            if config.policy == ENFORCE:
                raise CodeVerificationFailedException(
                    "Lambda cannot deploy the function. The function or layer might be signed using a signature that the "
                    f"client is not configured to accept. Check the provided signature for {name}."
                )
            logger.warning("%s is deployed with code that no publisher of %s has signed", name, config.arn)
        return signer
