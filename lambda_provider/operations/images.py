"""Container images of the host's own ECR: what an ImageUri names, and whether Lambda takes it.

"Create a Lambda function using a container image" (lambda/latest/dg/images-create.html): the repository is in the function's
region, the image is of one architecture, and of another account it needs the permissions of "Amazon ECR cross-account
permissions". What the image is for is not checked on AWS either: a wrong architecture is seen when the function is prepared.
"""

from __future__ import annotations

import json

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.api.errors import AccessDeniedException
from lambda_provider.context import Caller, RequestContext, partition_of
from lambda_provider.host import ContainerImage, Host, ImageNotFound
from lambda_provider.model.policy import Policy
from lambda_provider.operations.authorization import AccessRequest, Decision, decide

_MANIFESTS = frozenset(
    ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")
)
_CONFIGURATIONS = frozenset(
    ("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json")
)
_LAYERS = frozenset(
    (
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    )
)
"""Docker's image manifest V2, schema 2, and OCI's specification 1.0; layers that are compressed otherwise are refused."""
_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def find_image(
    host: Host, context: RequestContext, uri: str, function_arn: str, *, enforce: bool
) -> ContainerImage | None:
    """The image of the host's ECR that a request for a function names, None if it is somewhere else.

    Raises InvalidParameterValueException in AWS's words for one that is not there or that Lambda does not take, and, where
    permissions count, AccessDeniedException for one of an account that has not given its permission.
    """
    try:
        image = host.find_image(uri)
    except ImageNotFound as error:
        raise InvalidParameterValueException(
            f"Source image {uri} does not exist. Provide a valid source image."
        ) from error
    except ValueError as error:
        raise _not_valid(uri) from error
    if image is None:
        return None
    if image.region != context.region:
        raise _not_valid(uri)
    if enforce and image.account_id != context.account_id and not _permitted(image, context, function_arn):
        raise AccessDeniedException(
            "Lambda does not have permission to access the ECR image. Check the ECR permissions."
        )
    if not _is_supported(image.media_types):
        raise InvalidParameterValueException(
            f"The image manifest, config or layer media type for the source image {uri} is not supported."
        )
    return image


def _not_valid(uri: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"Source image {uri} is not valid. Provide a valid source image.")


def _is_supported(media_types: tuple[str, ...]) -> bool:
    manifest, *parts = media_types
    if manifest not in _MANIFESTS:
        return False
    # Without parts the manifest was put as a mere text: whoever did that wants no image to be looked at.
    return not parts or (parts[0] in _CONFIGURATIONS and _LAYERS.issuperset(parts[1:]))


def _permitted(image: ContainerImage, context: RequestContext, function_arn: str) -> bool:
    """Whether the repository's policy lets both the function's account and Lambda on its behalf read the image."""
    if image.policy is None:
        return False
    # A policy may have a single statement, and no resource: it is of the repository that it stands at.
    statements = json.loads(image.policy)["Statement"]
    statements = [statements] if isinstance(statements, dict) else statements
    arn = f"arn:{partition_of(image.region)}:ecr:{image.region}:{image.account_id}:repository/{image.repository}"
    policy = Policy(revision_id="", statements=tuple({"Resource": arn, **each} for each in statements))
    callers = (
        Caller(account_id=context.account_id),
        Caller(service="lambda.amazonaws.com", source_arn=function_arn, source_account=context.account_id),
    )
    requests = (AccessRequest(caller=caller, action=action, resource=arn) for caller in callers for action in _ACTIONS)
    return all(decide([policy], request) is Decision.ALLOWED for request in requests)
