"""Templates of CloudFormation: read, and with their transforms applied.

`AWS::Serverless-2016-10-31` is applied by AWS's own translator (aws-sam-translator), the one behind `sam deploy` on AWS.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from lambda_provider.context import partition_of

SERVERLESS = "AWS::Serverless-2016-10-31"
_NOTHING_TO_DO = frozenset({"AWS::CodeDeployBlueGreen"})


class TemplateError(Exception):
    """A template that cannot be used; the message is for its author."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which dates are texts, and `!Sub x` is `{"Fn::Sub": x}`."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str | Mapping[str, Any]) -> dict[str, Any]:
    """A template in JSON or YAML. Raises TemplateError."""
    if isinstance(text, Mapping):
        return copy.deepcopy(dict(text))
    try:
        document = _read(text)
    except yaml.YAMLError as error:
        raise TemplateError(f"Template format error: {error}") from error
    if not isinstance(document, dict):
        raise TemplateError("Template format error: unsupported structure.")
    normal: dict[str, Any] = _normal(document)
    return normal


def _read(text: str) -> Any:
    # Every JSON is YAML, but the parser of JSON is many times faster.
    if text.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return yaml.load(text, Loader=_Loader)


def _normal(value: Any) -> Any:
    """Attributes are lists: `{"Fn::GetAtt": "A.Arn"}` means `["A", "Arn"]`."""
    if isinstance(value, list):
        return [_normal(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: each.split(".", 1) if name == "Fn::GetAtt" and isinstance(each, str) else _normal(each)
        for name, each in value.items()
    }


def transforms_of(template: Mapping[str, Any]) -> list[str]:
    """The names of a template's transforms, in their order."""
    declared = template.get("Transform") or []
    listed = declared if isinstance(declared, list) else [declared]
    return [each if isinstance(each, str) else str(each.get("Name")) for each in listed]


def process(
    text: str, parameters: Mapping[str, Any], *, account_id: str, region: str, stack_name: str = "", stack_id: str = ""
) -> str:
    """The template with its transforms applied, as text; a template without any as it came. Raises TemplateError."""
    template = parse(text)
    names = [name for name in transforms_of(template) if name not in _NOTHING_TO_DO]
    if not names:
        return text
    if unknown := [name for name in names if name != SERVERLESS]:
        raise TemplateError(f"Transform {unknown[0]} is not supported here; only {SERVERLESS} is")
    known = {
        "AWS::Region": region,
        "AWS::AccountId": account_id,
        "AWS::Partition": partition_of(region),
        "AWS::StackName": stack_name,
        "AWS::StackId": stack_id,
        "AWS::URLSuffix": "amazonaws.com",
    }
    return json.dumps(_translate(template, {**parameters, **known}, region))


def _translate(template: dict[str, Any], values: dict[str, Any], region: str) -> dict[str, Any]:
    try:
        from boto3.session import Session
        from samtranslator.model.exceptions import InvalidDocumentException
        from samtranslator.parser.parser import Parser
        from samtranslator.translator.arn_generator import ArnGenerator
        from samtranslator.translator.translator import Translator
    except ImportError as error:
        raise TemplateError(
            f"Transform {SERVERLESS} needs aws-sam-translator: pip install 'lambda-provider[standalone]'"
        ) from error
    # It would warn that nobody publishes its metrics.
    logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)
    ArnGenerator.BOTO_SESSION_REGION_NAME = region
    translator = Translator(None, Parser(), boto_session=Session(region_name=region))
    try:
        translated: dict[str, Any] = translator.translate(
            template, parameter_values=values, get_managed_policy_map=lambda: _managed_policies(region)
        )
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes)
        raise TemplateError(
            f"Transform {SERVERLESS} failed with: Invalid Serverless Application Specification document. "
            f"Number of errors found: {len(error.causes)}. {causes}"
        ) from error
    translated.pop("Transform", None)
    return translated


@cache
def _managed_policies(region: str) -> dict[str, str]:
    """ARNs of AWS's managed policies by their names, by which SAM templates abbreviate them."""
    from moto.iam.aws_managed_policies import aws_managed_policies_data

    partition = partition_of(region)
    return {
        name: f"arn:{partition}:iam::aws:policy{policy['Path']}{name}"
        for name, policy in json.loads(aws_managed_policies_data).items()
    }
