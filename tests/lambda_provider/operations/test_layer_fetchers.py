"""Layer versions that come from elsewhere."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from lambda_provider import plugins
from lambda_provider.api import AccessDeniedException, InvalidParameterValueException, ResourceNotFoundException
from lambda_provider.operations.layer_fetchers import FetchedLayerVersion, LayerFetchers
from lambda_provider.provider import LambdaProvider

from ..fakes import ACCOUNT, REGION, FakeHost, archive, context, creation
from .conftest import configuration
from .test_layers import LAYER, OTHER, delete_layer, publish_layer

FOREIGN = f"arn:aws:lambda:{REGION}:{OTHER}:layer:powertools"


class Elsewhere:
    """A fetcher that knows one layer; `asked` are the ARNs that it was asked for."""

    def __init__(self, *known: str, content: Any = None) -> None:
        self.known = known
        self.content = archive("fetched") if content is None else content
        self.asked: list[str] = []

    def __call__(self, arn: str) -> FetchedLayerVersion | None:
        self.asked.append(arn)
        if not arn.startswith(self.known):
            return None
        return FetchedLayerVersion(content=self.content, description="from elsewhere", runtimes=["python3.12"])


def broken(arn: str) -> FetchedLayerVersion | None:
    raise OSError(f"no network to get {arn}")


def use(provider: LambdaProvider, **fetchers: Any) -> None:
    provider.layer_fetchers = LayerFetchers(fetchers, unzipped_limit=provider.config.code_size_unzipped)


def test_a_function_has_a_layer_that_was_fetched(provider, runtime):
    use(provider, elsewhere=Elsewhere(FOREIGN))
    provider.create_function(context(), creation(Layers=[f"{FOREIGN}:7"]))
    assert configuration(provider)["Layers"] == [{"Arn": f"{FOREIGN}:7", "CodeSize": len(archive("fetched"))}]
    (layer,) = next(iter(runtime.deployed.values())).layers
    assert layer.path.read_bytes() == archive("fetched")


def test_what_was_fetched_is_kept_as_a_resource_of_its_account(provider):
    elsewhere = Elsewhere(FOREIGN)
    use(provider, elsewhere=elsewhere)
    found = provider.get_layer_version_by_arn(context(), {"Arn": f"{FOREIGN}:7"})
    assert (found["LayerArn"], found["Version"], found["Description"]) == (FOREIGN, 7, "from elsewhere")
    assert found["CompatibleRuntimes"] == ["python3.12"]
    use(provider)
    again = provider.get_layer_version(context(), {"LayerName": FOREIGN, "VersionNumber": 7})
    assert again["Content"]["CodeSha256"] == found["Content"]["CodeSha256"]
    assert provider.list_layers(context(), {})["Layers"] == []
    (owned,) = provider.list_layers(context(account_id=OTHER), {})["Layers"]
    assert owned["LatestMatchingVersion"]["LayerVersionArn"] == f"{FOREIGN}:7"
    assert elsewhere.asked == [f"{FOREIGN}:7"]


def test_what_was_fetched_survives_a_restart(runtime, tmp_path):
    host: Any = FakeHost()
    provider = LambdaProvider(host, runtime, state_dir=tmp_path)
    use(provider, elsewhere=Elsewhere(FOREIGN))
    provider.get_layer_version_by_arn(context(), {"Arn": f"{FOREIGN}:7"})
    provider.stop()
    again = LambdaProvider(host, runtime, state_dir=tmp_path)
    use(again)
    assert again.get_layer_version_by_arn(context(), {"Arn": f"{FOREIGN}:7"})["Version"] == 7
    again.stop()


def test_a_fetcher_that_fails_is_named_and_the_next_one_is_asked(provider, caplog):
    elsewhere = Elsewhere(FOREIGN)
    use(provider, broken=broken, elsewhere=elsewhere)
    with caplog.at_level(logging.WARNING):
        provider.create_function(context(), creation(Layers=[f"{FOREIGN}:7"]))
    (record,) = caplog.records
    assert record.getMessage() == f"layer fetcher 'broken' failed for {FOREIGN}:7"
    assert record.exc_info is not None
    assert "no network" in str(record.exc_info[1])


@pytest.mark.parametrize(
    "fetcher",
    [
        pytest.param(broken, id="raises"),
        pytest.param(Elsewhere(), id="knows nothing"),
        pytest.param(Elsewhere("arn:", content=b"no zip"), id="brings no zip file"),
        pytest.param(Elsewhere("arn:", content="text"), id="brings no bytes"),
        pytest.param(lambda arn: "something else", id="brings something else"),
    ],
)
def test_when_no_fetcher_brings_it_the_error_is_that_of_aws(provider, fetcher):
    use(provider, fetcher=fetcher)
    with pytest.raises(AccessDeniedException, match=f"lambda:GetLayerVersion on resource: {FOREIGN}:7"):
        provider.create_function(context(), creation(Layers=[f"{FOREIGN}:7"]))
    with pytest.raises(InvalidParameterValueException, match=f"Layer version {LAYER}:7 does not exist"):
        provider.create_function(context(), creation(Layers=[f"{LAYER}:7"]))
    with pytest.raises(ResourceNotFoundException):
        provider.get_layer_version_by_arn(context(), {"Arn": f"{LAYER}:7"})
    assert provider.store.layers.values(OTHER, REGION) == []


def test_what_was_published_and_deleted_here_is_not_fetched(provider):
    elsewhere = Elsewhere(LAYER)
    use(provider, elsewhere=elsewhere)
    publish_layer(provider)
    delete_layer(provider, 1)
    with pytest.raises(InvalidParameterValueException):
        provider.create_function(context(), creation(Layers=[f"{LAYER}:1"]))
    assert elsewhere.asked == []


def test_versions_published_here_have_numbers_behind_those_fetched(provider):
    use(provider, elsewhere=Elsewhere(LAYER))
    provider.get_layer_version_by_arn(context(), {"Arn": f"{LAYER}:41"})
    provider.get_layer_version_by_arn(context(), {"Arn": f"{LAYER}:7"})
    assert publish_layer(provider)["Version"] == 42
    versions = provider.list_layer_versions(context(), {"LayerName": "l"})["LayerVersions"]
    assert [version["Version"] for version in versions] == [42, 41, 7]


def test_another_region_is_not_asked_for(provider):
    elsewhere = Elsewhere("arn:")
    use(provider, elsewhere=elsewhere)
    with pytest.raises(AccessDeniedException):
        provider.create_function(context(), creation(Layers=[f"arn:aws:lambda:us-east-1:{OTHER}:layer:l:1"]))
    assert elsewhere.asked == []


def test_a_layer_of_aws_itself_has_no_account_region_or_number(provider):
    arn = "arn:aws:lambda:::awslayer:AmazonLinux1803"
    with pytest.raises(InvalidParameterValueException, match=f"Layer version {arn} does not exist"):
        provider.create_function(context(), creation(Layers=[arn]))
    use(provider, elsewhere=Elsewhere(arn))
    provider.create_function(context(), creation(Layers=[arn]))
    assert configuration(provider)["Layers"][0]["Arn"] == arn
    assert provider.get_layer_version_by_arn(context(), {"Arn": arn})["LayerVersionArn"] == arn


def test_installed_fetchers_are_loaded_and_one_that_cannot_be_is_named(provider, monkeypatch, caplog):
    group = plugins.LAYER_FETCHERS
    installed = [
        EntryPoint("absent", "no.such.module:fetch", group),
        EntryPoint("here", f"{__name__}:INSTALLED", group),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: installed if group == plugins.LAYER_FETCHERS else [])
    assert provider.get_layer_version_by_arn(context(), {"Arn": f"{FOREIGN}:7"})["Version"] == 7
    assert INSTALLED.asked == [f"{FOREIGN}:7"]
    (record,) = caplog.records
    assert "'absent' (no.such.module:fetch) of lambda_provider.layer_fetchers cannot be loaded" in record.getMessage()


INSTALLED = Elsewhere(FOREIGN)


def test_a_fetched_layer_is_for_every_account_to_use_and_for_its_own_to_change(provider):
    use(provider, elsewhere=Elsewhere(FOREIGN))
    provider.create_function(context(), creation(Layers=[f"{FOREIGN}:7"]))
    third = context(account_id="333333333333")
    assert provider.get_layer_version_by_arn(third, {"Arn": f"{FOREIGN}:7"})["Version"] == 7
    with pytest.raises(AccessDeniedException, match="lambda:DeleteLayerVersion"):
        provider.delete_layer_version(context(account_id=ACCOUNT), {"LayerName": FOREIGN, "VersionNumber": 7})
