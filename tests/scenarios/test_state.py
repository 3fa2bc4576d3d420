"""State that outlives its gateway: moved as one file, refused when it cannot be used, whole when the disk is full."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.scenario

ECHO = "def handler(event, context):\n    return [context.function_version, event]\n"

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli() -> Cli:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lambda_provider.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def keeping(own_gateway, tmp_path) -> Callable[..., Any]:
    """`keeping()` starts a gateway on the test's state directory, `tmp_path / "state"`."""
    return lambda **env: own_gateway("--state-dir", str(tmp_path / "state"), **env)


def code_of(functions: Any, name: str) -> str:
    return str(functions.client.get_function_configuration(FunctionName=name)["CodeSha256"])


# one file


def test_state_moves_from_gateway_to_gateway_as_one_file(keeping, own_gateway, functions_of, cli, tmp_path):
    source = keeping()
    functions = functions_of(source)
    functions.create("one", ECHO, Publish=True)
    functions.client.create_alias(FunctionName="one", Name="live", FunctionVersion="1")
    functions.create("two", ECHO.replace("event]", "2]"))
    file = tmp_path / "moved"
    exported = cli("state", "export", file, "--endpoint-url", source.url)
    assert (exported.returncode, exported.stderr) == (0, "")
    assert exported.stdout.startswith("exported 6 records, 0 asynchronous events, 0 positions")
    assert functions.result("one", 1, Qualifier="live") == ["1", 1], "the source goes on"

    target = own_gateway()
    imported = cli("state", "import", file, "--endpoint-url", target.url)
    assert (imported.returncode, imported.stderr) == (0, "")
    assert imported.stdout == exported.stdout.replace("exported", "imported")
    there = functions_of(target)
    assert there.result("one", 5, Qualifier="live") == ["1", 5]
    assert there.result("two") == ["$LATEST", 2]

    there.client.delete_function(FunctionName="one")
    refused = cli("state", "import", file, "--endpoint-url", target.url)
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr and "--replace" in refused.stderr
    assert [each["FunctionName"] for each in there.client.list_functions()["Functions"]] == ["two"]
    assert cli("state", "import", file, "--endpoint-url", target.url, "--replace").returncode == 0
    assert there.result("one", 6) == ["$LATEST", 6]


def test_state_of_a_directory_is_exported_and_imported_without_a_gateway(
    keeping, functions_of, stop_gateway, own_gateway, cli, tmp_path
):
    running = keeping()
    functions_of(running).create("one", ECHO)
    in_use = cli("state", "export", tmp_path / "file", "--state-dir", tmp_path / "state")
    assert in_use.returncode == 1
    assert f"in use by another process (pid {running.process.pid})" in in_use.stderr
    assert "leave --state-dir out" in in_use.stderr
    assert not (tmp_path / "file").exists()
    stop_gateway(running)
    assert cli("state", "export", tmp_path / "file", "--state-dir", tmp_path / "state").returncode == 0
    other = tmp_path / "other"
    assert cli("state", "import", tmp_path / "file", "--state-dir", other).returncode == 0
    assert "is not empty" in cli("state", "import", tmp_path / "file", "--state-dir", other).stderr
    assert functions_of(own_gateway("--state-dir", str(other))).result("one", 7) == ["$LATEST", 7]


def test_there_is_nothing_to_export_where_no_state_is(cli, tmp_path):
    exported = cli("state", "export", tmp_path / "file", "--state-dir", tmp_path / "nothing")
    assert (exported.returncode, exported.stderr) == (1, f"lambda-provider: there is no state in {tmp_path}/nothing\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_used_changes_nothing(keeping, functions_of, cli, tmp_path):
    running = keeping()
    functions = functions_of(running)
    functions.create("one", ECHO)
    good, bad = tmp_path / "good", tmp_path / "bad"
    assert cli("state", "export", good, "--endpoint-url", running.url).returncode == 0
    content = bytearray(good.read_bytes())
    manifest = json.loads(zipfile.ZipFile(good).read("manifest.json"))

    def refused(damaged: bytes) -> str:
        bad.write_bytes(damaged)
        imported = cli("state", "import", bad, "--endpoint-url", running.url, "--replace")
        assert imported.returncode == 1
        assert functions.result("one", 8) == ["$LATEST", 8]
        return imported.stderr

    assert "is it a file of `lambda-provider state export`, and whole?" in refused(content[: len(content) // 2])
    code = content.index(b"index.py")
    content[code] ^= 1
    assert "the file cannot be read" in refused(content)
    newer = tmp_path / "newer"
    with zipfile.ZipFile(newer, "w") as file:
        file.writestr("manifest.json", json.dumps({**manifest, "stateFormat": 99}))
    assert "import it with the newer version that wrote it" in refused(newer.read_bytes())


# a second gateway


def test_a_second_gateway_on_the_same_directory_says_whose_it_is(keeping, cli, tmp_path):
    running = keeping()
    second = cli("start", "--port", "0", "--state-dir", tmp_path / "state")
    assert second.returncode == 1
    assert (
        f"lambda-provider: the state directory {tmp_path}/state is in use by another process (pid {running.process.pid}): "
        "stop that one first, or choose another directory" in second.stderr
    )


# a full disk


def test_what_a_full_disk_refuses_is_not_there_and_everything_else_is(keeping, functions_of, zip_of, tmp_path):
    running = keeping()
    functions = functions_of(running)
    functions.create("one", ECHO)
    functions.result("one")
    call = functions.client
    kept = code_of(functions, "one")

    def is_refused(operation: Callable[..., Any], **request: Any) -> None:
        with pytest.raises(ClientError) as raised:
            operation(**request)
        answer = raised.value.response
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert answer["Error"]["Code"] == "ServiceException"
        assert answer["Error"]["Message"] == "The change could not be stored."

    # What has no room for a byte: every write to a file fails, as it does on a disk that is full.
    before = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    other = zip_of({"index.py": ECHO.replace("event]", "2]")})
    role, runtime = "arn:aws:iam::000000000000:role/r", "python3.12"
    is_refused(
        call.create_function, FunctionName="two", Runtime=runtime, Handler="index.handler", Role=role, Code={"ZipFile": other}
    )  # fmt: skip
    is_refused(call.update_function_code, FunctionName="one", ZipFile=other)
    is_refused(call.update_function_configuration, FunctionName="one", Description="new")
    is_refused(call.create_alias, FunctionName="one", Name="a", FunctionVersion="$LATEST")
    is_refused(call.publish_layer_version, LayerName="l", Content={"ZipFile": other})
    is_refused(call.delete_function, FunctionName="one")
    is_refused(call.invoke, FunctionName="one", InvocationType="Event")
    assert functions.result("one", 1) == ["$LATEST", 1], "what needs no room works"
    assert [each["FunctionName"] for each in call.list_functions()["Functions"]] == ["one"]

    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, before)
    functions.create("two", {"index.py": ECHO.replace("event]", "2]")})
    call.create_alias(FunctionName="one", Name="b", FunctionVersion="$LATEST")
    running.process.kill()
    running.process.wait()
    again = functions_of(keeping())
    assert [each["FunctionName"] for each in again.client.list_functions()["Functions"]] == ["one", "two"]
    assert [each["Name"] for each in again.client.list_aliases(FunctionName="one")["Aliases"]] == ["b"]
    assert code_of(again, "one") == kept
    assert again.result("two") == ["$LATEST", 2]
    assert len(list((tmp_path / "state" / "code").iterdir())) == 2


def test_a_gateway_is_emptied_by_a_request(keeping, functions_of, client_for):
    running = keeping()
    functions = functions_of(running)
    functions.create("one", {"index.py": ECHO})
    functions.create(
        "long", {"index.py": "import time\ndef handler(event, context):\n    time.sleep(60)\n"}, Timeout=90
    )
    functions.client.invoke(FunctionName="long", InvocationType="Event", Payload=b"1")
    client_for(running.url, "s3").create_bucket(Bucket="bucket")
    for _ in range(2):  # Nothing is left to forget by the second one.
        request = urllib.request.Request(f"{running.url}/_lambda/reset", method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status == 200
        assert functions.client.list_functions()["Functions"] == []
        assert client_for(running.url, "s3").list_buckets()["Buckets"] == []
    with urllib.request.urlopen(f"{running.url}/_lambda/health", timeout=30) as response:
        health = json.load(response)
    assert (health["functions"], health["environments"], health["queued_events"]) == (0, 0, 0)
    functions.create("two", {"index.py": ECHO})
    assert functions.result("two", 2) == ["$LATEST", 2]
    running.process.kill()
    running.process.wait()
    again = functions_of(keeping())
    assert [each["FunctionName"] for each in again.client.list_functions()["Functions"]] == ["two"]
