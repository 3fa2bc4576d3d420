from __future__ import annotations

from pathlib import Path

import pytest

from lambda_runtime.executors.containers.settings import ContainerSettings, parse_flags


@pytest.mark.parametrize(
    ("runtime", "image"),
    [
        ("python3.12", "python:3.12"),
        ("nodejs20.x", "nodejs:20"),
        ("java8.al2", "java:8.al2"),
        ("java21", "java:21"),
        ("ruby3.3", "ruby:3.3"),
        ("dotnet8", "dotnet:8"),
        ("provided.al2023", "provided:al2023"),
        ("provided", "provided:alami"),
    ],
)
def test_every_runtime_has_an_image_of_aws(runtime: str, image: str) -> None:
    settings = ContainerSettings.read({})
    assert settings.image_of(runtime, "x86_64", True) == f"public.ecr.aws/lambda/{image}"


def test_an_image_of_another_architecture_has_a_tag_of_its_own() -> None:
    assert (
        ContainerSettings.read({}).image_of("python3.12", "arm64", False) == "public.ecr.aws/lambda/python:3.12-arm64"
    )


def test_a_mapping_is_json_a_file_or_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"python3.12": "from/file:1"}')
    mappings = {
        '{"python3.12": "own/python:1"}': "own/python:1",
        str(tmp_path / "map.json"): "from/file:1",
        "own/lambda-<runtime>:2": "own/lambda-python3.12:2",
    }
    for text, image in mappings.items():
        settings = ContainerSettings.read({"LAMBDA_RUNTIME_IMAGE_MAPPING": text})
        assert settings.image_of("python3.12", "x86_64", True) == image


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LAMBDA_RUNTIME_IMAGE_MAPPING", "nothing of all that"),
        ("LAMBDA_RUNTIME_IMAGE_MAPPING", '["a"]'),
        ("LAMBDA_DOCKER_FLAGS", "--restart always"),
        ("LAMBDA_DOCKER_FLAGS", "--add-host nowhere"),
        ("LAMBDA_DOCKER_FLAGS", "--publish 9000:http"),
        ("LAMBDA_DOCKER_FLAGS", "--ulimit nofile"),
        ("LAMBDA_DOCKER_CPU", "all"),
        ("LAMBDA_DOCKER_CONCURRENT_STARTS", "0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"setting {name}="):
        ContainerSettings.read({name: text})


def test_flags_are_those_of_docker_run(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# none\nA=1\n\nB=2\n")
    flags = parse_flags(
        f"-e C='3 4' --env-file {tmp_path}/env -v /a:/b:ro -p 9000:8080 --add-host db=10.0.0.1 --ulimit nofile=5:6 "
        "-l team=blue --dns 1.1.1.1 --network mine -u 5:6 --cap-add NET_ADMIN"
    )
    assert flags.environment == {"A": "1", "B": "2", "C": "3 4"}
    assert (flags.binds, flags.ports, flags.extra_hosts) == (("/a:/b:ro",), ("9000:8080",), ("db:10.0.0.1",))
    assert flags.ulimits == ({"Name": "nofile", "Soft": 5, "Hard": 6},)
    assert (flags.labels, flags.dns, flags.network, flags.user) == ({"team": "blue"}, ("1.1.1.1",), "mine", "5:6")
    assert flags.cap_add == ("NET_ADMIN",)


def test_settings_win_over_flags() -> None:
    found = ContainerSettings.read({"LAMBDA_DOCKER_FLAGS": "--network a --dns 1.1.1.1", "LAMBDA_DOCKER_NETWORK": "b"})
    assert (found.network, found.dns) == ("b", ("1.1.1.1",))
