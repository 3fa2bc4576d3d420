"""How moto's CloudFormation gets its templates: from where, in which language, with which transforms."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lambda_provider.hosts.moto_buckets import bucket_in_host
from lambda_provider.hosts.services import templates
from lambda_provider.hosts.services.patches import replace


def read_templates(models: Any, responses: Any) -> None:
    """Have moto read templates as we do."""
    from moto.cloudformation.exceptions import ValidationError
    from moto.s3.exceptions import S3ClientError
    from moto.s3.models import s3_backends

    def parsed(template: Any) -> dict[str, Any]:
        try:
            return templates.parse(template)
        except templates.TemplateError as error:
            raise ValidationError(message=str(error)) from error

    def of_change_set(_: Any) -> Any:
        def _parse_template(self: Any) -> None:
            self.template_dict = parsed(self.template)

        return _parse_template

    def processed(backend: Any, template: Any, parameters: Any, name: str) -> Any:
        listed = parameters if isinstance(parameters, list) else []
        values = (
            dict(parameters)
            if isinstance(parameters, Mapping)
            else {each["ParameterKey"]: each["ParameterValue"] for each in listed if "ParameterValue" in each}
        )
        try:
            return templates.process(
                template, values, account_id=backend.account_id, region=backend.region_name, stack_name=name
            )
        except templates.TemplateError as error:
            raise ValidationError(message=str(error)) from error

    def creating(create: Any) -> Any:
        def create_stack(self: Any, name: str, template: str, parameters: Any, *rest: Any, **more: Any) -> Any:
            return create(self, name, processed(self, template, parameters, name), parameters, *rest, **more)

        return create_stack

    def proposing(create: Any) -> Any:
        def create_change_set(
            self: Any, stack_name: str, change_set_name: str, template: str, parameters: Any, *rest: Any, **more: Any
        ) -> Any:
            refuse_while_busy(self, stack_name)
            text = processed(self, template, parameters, stack_name)
            return create(self, stack_name, change_set_name, text, parameters, *rest, **more)

        return create_change_set

    def updating(update: Any) -> Any:
        def update_stack(self: Any, name: str, template: str, role_arn: Any, parameters: Any, tags: Any = None) -> Any:
            refuse_while_busy(self, name)
            return update(self, name, processed(self, template, parameters, name), role_arn, parameters, tags)

        return update_stack

    def summary(original: Any) -> Any:
        def get_template_summary_response_from_template(template_body: str) -> Any:
            found = original(json.dumps(parsed(template_body)))
            declared = templates.transforms_of(parsed(template_body))
            return {**found, "DeclaredTransforms": declared, "Capabilities": []}

        return get_template_summary_response_from_template

    def fetching(_: Any) -> Any:
        in_host = bucket_in_host(os.environ)

        def get_stack_from_s3_url(template_url: str, account_id: str, partition: str) -> str:
            url = urlsplit(template_url)
            bucket, _, key = url.path.lstrip("/").partition("/")
            if in_host(url.netloc):
                bucket, key = url.netloc.split(".")[0], url.path.lstrip("/")
            version = parse_qs(url.query).get("versionId", [None])[0]
            try:
                found = s3_backends[account_id][partition].get_object(bucket, unquote(key), version_id=version)
            except S3ClientError as error:
                raise ValidationError(message=f"S3 error: {error.message}") from error
            if found is None:
                raise ValidationError(message="S3 error: The specified key does not exist.")
            return str(found.value.decode())

        return get_stack_from_s3_url

    for module in (models, responses):
        replace(module, "get_stack_from_s3_url", "template_url account_id partition", fetching)
    backend = models.CloudFormationBackend
    replace(models.Stack, "parse_template", "template", lambda _: parsed)
    replace(models.ChangeSet, "_parse_template", "self", of_change_set)
    replace(backend, "create_stack", "self name template parameters", creating)
    replace(backend, "create_change_set", "self stack_name change_set_name template parameters", proposing)
    replace(backend, "update_stack", "self name template role_arn parameters tags", updating)
    replace(responses, "get_template_summary_response_from_template", "template_body", summary)


def refuse_while_busy(backend: Any, name: str) -> None:
    """Raise unless a stack can be changed now."""
    from moto.cloudformation.exceptions import ValidationError

    for stack in list(backend.stacks.values()):
        busy = stack.status.endswith("_IN_PROGRESS") and stack.status != "REVIEW_IN_PROGRESS"
        if name in (stack.name, stack.stack_id) and busy:
            raise ValidationError(message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")
