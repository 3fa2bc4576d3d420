"""Code in a folder of this machine: every change takes effect at the next invoke (docs/configuration.md, Hot reload)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/lambda-role"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "index.py").write_text("def handler(event, context): return 0\n")
    return project


@pytest.fixture
def live(aws_client: Callable[..., Any], project: Path) -> Iterator[str]:
    client, name = aws_client("lambda"), f"live-{project.parent.name}"
    client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="index.handler",
        Role=ROLE,
        Code={"S3Bucket": "hot-reload", "S3Key": str(project)},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    yield name
    client.delete_function(FunctionName=name)


def test_no_change_is_missed(live: str, project: Path, result: Callable[..., Any]) -> None:
    """Twenty in a row, of the same size, as fast as they can be written."""
    for number in range(10, 30):
        (project / "index.py").write_text(f"def handler(event, context): return {number}\n")
        assert result(live) == number


def test_environments_stay_warm_while_nothing_changes(live: str, project: Path, result: Callable[..., Any]) -> None:
    (project / "index.py").write_text("import helper\ncalls = 0\n" + COUNTS)
    (project / "helper.py").write_text("name = 'first'\n")
    assert [result(live) for _ in range(3)] == [["first", 1], ["first", 2], ["first", 3]]
    (project / "helper.py").write_text("name = 'second'\n")
    assert result(live) == ["second", 1]


COUNTS = "def handler(event, context):\n    global calls\n    calls += 1\n    return [helper.name, calls]\n"


def test_the_function_sees_a_copy_at_var_task_and_cannot_change_the_folder(
    live: str, project: Path, result: Callable[..., Any]
) -> None:
    (project / "index.py").write_text(
        "import os\n"
        "def handler(event, context):\n"
        "    try:\n        open('/var/task/index.py', 'a').write('#')\n"
        "    except OSError:\n        pass\n"
        "    return os.getcwd()\n"
    )
    before = (project / "index.py").read_text()
    result(live)
    assert (project / "index.py").read_text() == before


def test_a_mistake_and_its_repair(live: str, project: Path, invoke: Callable[..., Any]) -> None:
    (project / "index.py").write_text("def handler(event, context) return 1\n")
    assert invoke(live).payload["errorType"] == "Runtime.UserCodeSyntaxError"
    (project / "index.py").write_text("def handler(event, context): return 1\n")
    assert invoke(live).payload == 1


def test_a_folder_that_goes_and_comes_back(live: str, project: Path, invoke: Callable[..., Any]) -> None:
    away = project.rename(project.parent / "away")
    with pytest.raises(ClientError, match="cannot be read"):
        invoke(live)
    away.rename(project)
    assert invoke(live).payload == 0


def test_an_ordinary_function_becomes_one_with_a_folder_and_back(
    deploy: Callable[..., str], aws_client: Callable[..., Any], project: Path, result: Callable[..., Any]
) -> None:
    client, name = aws_client("lambda"), deploy()
    ordinary = client.get_function(FunctionName=name)["Configuration"]["CodeSha256"]
    client.update_function_code(FunctionName=name, S3Bucket="hot-reload", S3Key=str(project))
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert result(name, "echo") == 0
    found = client.get_function(FunctionName=name)
    assert found["Code"]["Location"] == project.as_uri()
    assert found["Configuration"]["CodeSha256"] != ordinary


def test_only_folders_of_this_machine_will_do(
    aws_client: Callable[..., Any], refused: Callable[..., Any], project: Path
) -> None:
    for key in ("relative/path", str(project / "not-there"), str(project / "index.py")):
        answer = refused(
            aws_client("lambda").create_function,
            FunctionName="live-refused",
            Runtime="python3.11",
            Handler="index.handler",
            Role=ROLE,
            Code={"S3Bucket": "hot-reload", "S3Key": key},
        )
        assert answer["Error"]["Code"] == "InvalidParameterValueException"
