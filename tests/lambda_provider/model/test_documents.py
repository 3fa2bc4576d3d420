from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from lambda_provider.model.configuration import (
    Code,
    FunctionConfiguration,
    ImageSettings,
    LayerReference,
    LoggingSettings,
    VpcSettings,
)
from lambda_provider.model.documents import DocumentError, dump, load
from lambda_provider.model.function import Alias, FunctionSettings, Status, Version

FULL = FunctionConfiguration(
    code=Code(sha256="ab" * 32, size=7, source_kms_key_arn="k"),
    role="r",
    logging=LoggingSettings(log_group="g", log_format="JSON", application_log_level="INFO", system_log_level="WARN"),
    runtime="python3.12",
    handler="h",
    description="d ä",
    timeout_s=4,
    memory_mib=256,
    ephemeral_storage_mib=1024,
    architecture="arm64",
    environment={"A": "b"},
    tracing_mode="Active",
    snap_start="PublishedVersions",
    vpc=VpcSettings(subnet_ids=("s",), security_group_ids=("g",), ipv6_allowed=True, vpc_id="v"),
    layers=(LayerReference(arn="a", sha256="cd" * 32, size=3),),
    dead_letter_target_arn="q",
    kms_key_arn="k",
    file_systems=({"Arn": "a", "LocalMountPath": "/mnt/a"},),
    image=ImageSettings(command=("c",), working_directory="/w"),
    kept={"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
)

VALUES = [
    Version(
        number="1",
        configuration=FULL,
        revision_id="r",
        last_modified="2025-01-01T00:00:00.000+0000",
        status=Status.active(),
        description="x",
    ),
    Alias(name="live", version="1", revision_id="r", weights={"2": 0.5}),
    FunctionSettings(name="f", account_id="1" * 12, region="eu-west-1", tags={"a": "b"}, reserved_concurrency=0),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_read_back_as_it_was_written(value):
    assert load(type(value), dump(value)) == value


def test_defaults_are_not_written():
    assert json.loads(dump(Alias(name="live", version="1", revision_id="r"))) == {
        "name": "live",
        "version": "1",
        "revision_id": "r",
    }


def test_a_field_that_came_later_has_its_default():
    assert load(Alias, '{"name":"live","version":"1","revision_id":"r"}').weights == {}


@dataclass(frozen=True)
class Sample:
    number: int
    text: str = ""
    names: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    anything: Any = None


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "Sample is [], which is of the wrong type"),
        ("{}", "Sample lacks number"),
        ('{"number":1,"other":2}', "Sample has unknown fields: other"),
        ('{"number":"1"}', 'Sample.number is "1"'),
        ('{"number":true}', "Sample.number is true"),
        ('{"number":1,"names":[1]}', "Sample.names[0] is 1"),
        ('{"number":1,"shares":{"a":"b"}}', 'Sample.shares.a is "b"'),
    ],
)
def test_a_document_that_does_not_fit_is_refused_with_the_place(document, complaint):
    with pytest.raises(DocumentError) as raised:
        load(Sample, document)
    assert complaint in str(raised.value)


def test_whole_numbers_are_read_where_a_fraction_is_meant():
    assert load(Sample, '{"number":1,"shares":{"a":1}}').shares == {"a": 1.0}
