"""The command `lambda-provider` as users run it: a process with arguments, output and an exit status."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.cli import build_parser

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`cli("invoke", "name", …)` runs a command to its end."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lambda_provider.cli", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
            check=False,
        )

    return run


@pytest.fixture
def own_gateway(start_gateway: Any, stop_gateway: Any) -> Iterator[Any]:
    """A gateway that a test may kill."""
    running = start_gateway()
    yield running
    if running.process.poll() is None:
        stop_gateway(running)


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


# start


def test_the_gateway_is_ready_within_two_seconds(own_gateway: Any) -> None:
    assert own_gateway.ready_after_s < 2


def test_one_line_says_where_and_how(own_gateway: Any, stop_gateway: Any) -> None:
    process = own_gateway.process
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "", "the ready line was the only one"
    assert f"export AWS_ENDPOINT_URL={own_gateway.url}" in own_gateway.ready_line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_gateway_cleanly(own_gateway: Any, number: signal.Signals) -> None:
    own_gateway.process.send_signal(number)
    assert own_gateway.process.wait(15) == 0


def test_a_busy_port_is_named_and_the_status_is_1(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        result = cli("start", "--port", port)
    assert result.returncode == 1
    assert port in result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--executor", "no-such"], {}, ["no-such", "process"]),
        (["--host-adapter", "no-such"], {}, ["no-such", "standalone", "lambda_provider.hosts"]),
        (["--host", "256.0.0.1"], {}, ["256.0.0.1"]),
        ([], {"LAMBDA_KEEPALIVE_S": "soon"}, ["LAMBDA_KEEPALIVE_S", "soon"]),
        (["--state-dir", "/proc/no-such/state"], {}, ["/proc/no-such"]),
    ],
)
def test_what_cannot_be_started_is_said_in_one_message(
    cli: Cli, arguments: list[str], environment: dict[str, str], words: list[str]
) -> None:
    result = cli("start", "--port", "0", *arguments, **environment)
    assert result.returncode == 1
    assert result.stderr.startswith("lambda-provider: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_killing_the_gateway_leaves_no_child(own_gateway: Any, client_for: Any) -> None:
    client_for(own_gateway.url, "sts").get_caller_identity()
    moto = get_json(own_gateway.url + "/_lambda/health")["services"]["moto"]["pid"]
    children = os.pidfd_open(moto)
    own_gateway.process.kill()
    own_gateway.process.wait()
    ended, _, _ = select.select([children], [], [], 30)
    os.close(children)
    assert ended, f"moto (process {moto}) outlived its gateway"


@pytest.mark.parametrize(
    "arguments", [[], ["no-such-command"], ["start", "--port", "70000"], ["invoke"], ["status", "--account", "12"]]
)
def test_wrong_usage_has_status_2(cli: Cli, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.returncode == 2
    assert "usage:" in result.stderr


# health


def test_health_says_what_runs(gateway: Any) -> None:
    health = get_json(gateway.url + "/_lambda/health")
    assert health["status"] == "running"
    assert health["executor"] == "process"
    assert re.fullmatch(r"\d+\.\d+\.\d+", health["version"])
    assert {"functions", "environments", "uptime_s"} <= health.keys()
    assert health["services"]["lambda"] == {"state": "running"}


def test_an_unknown_internal_path_names_those_there_are(gateway: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get_json(gateway.url + "/_lambda/nothing")
    assert caught.value.code == 404
    assert "/_lambda/health" in json.load(caught.value)["known"]


def test_internal_paths_take_get_only(gateway: Any) -> None:
    request = urllib.request.Request(gateway.url + "/_lambda/health", b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert (caught.value.code, caught.value.headers["allow"]) == (405, "GET, HEAD")
    caught.value.close()


# invoke, logs, status, doctor

GREET = """
def handler(event, context):
    print("greeting", event)
    if event.get("fail"):
        raise ValueError("as asked")
    return {"hello": event.get("name")}
"""


def test_invoke_prints_the_answer(cli: Cli, gateway: Any, deploy: Any) -> None:
    name = deploy(GREET)
    result = cli("invoke", name, "--payload", '{"name": "you"}', AWS_ENDPOINT_URL=gateway.url)
    assert (result.returncode, json.loads(result.stdout)) == (0, {"hello": "you"})


def test_invoke_reads_files_and_standard_input(cli: Cli, gateway: Any, deploy: Any, tmp_path: Path) -> None:
    name, url = deploy(GREET), ("--endpoint-url", gateway.url)
    (tmp_path / "event.json").write_text('{"name": "file"}')
    assert json.loads(cli("invoke", name, *url, "--payload", f"@{tmp_path}/event.json").stdout) == {"hello": "file"}
    assert json.loads(cli("invoke", name, *url, "--payload", "-", stdin='{"name": "pipe"}').stdout) == {"hello": "pipe"}
    missing = cli("invoke", name, *url, "--payload", "@/no/such/file")
    assert (missing.returncode, "/no/such/file" in missing.stderr) == (1, True)


def test_a_function_error_has_status_1_and_its_log_on_standard_error(cli: Cli, gateway: Any, deploy: Any) -> None:
    name = deploy(GREET)
    result = cli("invoke", name, "--tail", "--payload", '{"fail": true}', "--endpoint-url", gateway.url)
    assert result.returncode == 1
    assert json.loads(result.stdout)["errorType"] == "ValueError"
    assert "greeting {'fail': True}" in result.stderr
    assert "START RequestId: " in result.stderr


def test_an_aws_error_is_a_message(cli: Cli, gateway: Any) -> None:
    result = cli("invoke", "no-such-function", "--endpoint-url", gateway.url)
    assert result.returncode == 1
    assert result.stderr.startswith("lambda-provider: ResourceNotFoundException: Function not found: ")


def test_logs_prints_what_the_function_printed(cli: Cli, gateway: Any, deploy: Any) -> None:
    name, url = deploy(GREET), ("--endpoint-url", gateway.url)
    cli("invoke", name, *url, "--payload", '{"name": "you"}')
    result = cli("logs", name, *url)
    assert result.returncode == 0
    assert re.search(
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z  greeting \{'name': 'you'\}$", result.stdout, re.MULTILINE
    )


def test_logs_of_a_function_in_a_log_group_that_it_shares(cli: Cli, gateway: Any, deploy: Any) -> None:
    shared = {"LoggingConfig": {"LogGroup": f"shared-{os.getpid()}"}}
    name, other, url = deploy(GREET, **shared), deploy(GREET, **shared), ("--endpoint-url", gateway.url)
    cli("invoke", name, *url, "--payload", '{"name": "you"}')
    cli("invoke", other, *url, "--payload", '{"name": "nobody"}')
    result = cli("logs", name, *url)
    assert "greeting {'name': 'you'}" in result.stdout
    assert "nobody" not in result.stdout


def test_logs_of_a_function_that_never_ran_says_where_it_looked(cli: Cli, gateway: Any) -> None:
    result = cli(
        "logs", "never-ran", "--endpoint-url", gateway.url, "--region", "eu-west-1", "--account", "111111111111"
    )
    assert result.returncode == 1
    assert "no log group /aws/lambda/never-ran in eu-west-1 of account 111111111111" in result.stderr


def test_following_logs_shows_new_lines_as_they_come(gateway: Any, deploy: Any, aws_client: Any) -> None:
    name = deploy(GREET)
    command = [sys.executable, "-m", "lambda_provider.cli", "logs", name, "-f", "--endpoint-url", gateway.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        give_up = threading.Timer(60, follower.kill)
        give_up.start()
        try:
            assert follower.stderr.readline().endswith(" yet; waiting\n")
            for who in ("first", "second"):
                aws_client("lambda").invoke(FunctionName=name, Payload=json.dumps({"name": who}))
                assert any(f"greeting {{'name': '{who}'}}" in line for line in iter(follower.stdout.readline, ""))
        finally:
            give_up.cancel()
            follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130


def test_status_shows_the_gateway_and_its_operations(cli: Cli, gateway: Any) -> None:
    health = cli("status", "--endpoint-url", gateway.url)
    assert json.loads(health.stdout)["status"] == "running"
    operations = cli("status", "--operations", "--endpoint-url", gateway.url).stdout
    implemented, _, missing = operations.partition("Answer 501")
    assert re.match(r"\d+ of \d+ operations are implemented", operations)
    assert "  CreateFunction\n" in implemented
    assert "  CreateFunction\n" not in missing


def test_without_a_gateway_commands_say_how_to_start_one(cli: Cli) -> None:
    for command in (["invoke", "f"], ["logs", "f"], ["status"]):
        result = cli(*command, "--endpoint-url", "http://127.0.0.1:1")
        assert result.returncode == 1
        assert "lambda-provider start" in result.stderr
    assert "not a URL" in cli("status", "--endpoint-url", "nonsense").stderr


def test_runtimes_install_says_what_it_needs(cli: Cli, tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    refused = cli("runtimes", "install", "java", **nothing)
    assert refused.returncode == 1
    assert "there is no `mvn`" in refused.stderr
    assert "LAMBDA_MAVEN_REPOSITORY=" in refused.stderr


def test_doctor_tells_what_runs_each_runtime(cli: Cli) -> None:
    report = json.loads(cli("doctor", "--json").stdout)["Executor process"]
    told = {each["name"]: each for each in report}
    assert {"python3.12", "nodejs24.x", "java21", "ruby3.4", "dotnet8", "provided.al2023"} <= set(told)
    own = told[f"python3.{sys.version_info[1]}"]
    assert own["available"]
    assert f"python 3.{sys.version_info[1]}." in own["detail"] and "awslambdaric" in own["detail"]
    for name, each in told.items():
        if name.startswith(("python", "nodejs", "java", "ruby", "dotnet")) and not each["available"]:
            assert "Install it" in each["detail"] or "runtimes install java" in each["detail"], each


def test_doctor_tells_what_there_is_and_what_follows(cli: Cli) -> None:
    report = json.loads(cli("doctor", "--json").stdout)
    items = {item["name"]: item for group in report.values() for item in group}
    assert {"file isolation", "memory limit", "python3.12", "Docker engine", "moto"} <= items.keys()
    assert all(item["detail"] for item in items.values())
    text = cli("doctor")
    assert text.returncode == 0
    assert "Docker engine" in text.stdout
    missing = cli("doctor", DOCKER_HOST="tcp://127.0.0.1:1").stdout
    assert re.search(r"no +Docker engine +.*tcp://127.0.0.1:1", missing)


@pytest.mark.parametrize(
    ("key", "account"), [("111111111111", "111111111111"), ("test", "000000000000"), ("", "000000000000")]
)
def test_the_access_key_of_the_environment_may_be_the_account(
    monkeypatch: pytest.MonkeyPatch, key: str, account: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    assert build_parser().parse_args(["invoke", "f"]).account == account


def test_every_command_explains_itself(cli: Cli) -> None:
    commands = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr,index]
    assert set(commands) == {"start", "invoke", "logs", "state", "status", "runtimes", "doctor"}
    for command in commands:
        assert cli(command, "--help").returncode == 0
