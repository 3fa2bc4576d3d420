"""What functions must not see or change, and what they must find; through the gateway, as a user meets it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

EXECUTORS = ("process", "docker")

pytestmark = [pytest.mark.scenario, pytest.mark.usefixtures("isolated")]

EVALUATE = "import os, sys, json, subprocess\ndef handler(event, context):\n    return eval(event)\n"
AWS_VARIABLES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "LANG",
    "LD_LIBRARY_PATH",
    "PATH",
    "TZ",
    "_HANDLER",
}
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime"""


@pytest.fixture
def evaluate(lasting, result):
    """`evaluate(expression)`: what it is inside of a function."""
    return lambda expression: result(lasting(EVALUATE), expression)


def test_variables_of_the_gateway_are_invisible_also_to_what_a_function_starts(own_gateway, functions_of):
    functions = functions_of(own_gateway(A_SECRET_OF_THE_HOST="s3cr3t", AWS_PROFILE="mine", PYTHONPATH="/nowhere"))
    name = functions.create("looks", EVALUATE)
    script = '#!/bin/sh\nenv >&2\nexec python3 -c "pass"\n'
    functions.create("looks-too", {"bootstrap": script}, Runtime="provided.al2023")
    for where in ("dict(os.environ)", "subprocess.run('env', capture_output=True, text=True).stdout"):
        assert "s3cr3t" not in json.dumps(functions.result(name, where))
    everywhere = "subprocess.run('cat /proc/*/environ', shell=True, capture_output=True).stdout.decode()"
    assert "AWS_REGION" in functions.result(name, everywhere)
    assert "s3cr3t" not in functions.result(name, everywhere)
    assert functions.result(name, "'AWS_PROFILE' in os.environ") is False
    assert "s3cr3t" not in functions.invoke("looks-too", LogType="Tail").log


def test_every_variable_of_aws_is_set_and_no_other(evaluate):
    variables = evaluate("dict(os.environ)")
    assert variables.keys() >= AWS_VARIABLES
    others = {name for name in variables if not name.startswith(("AWS_", "_AWS_", "_X_AMZN", "_LAMBDA", "LAMBDA_"))}
    assert others - AWS_VARIABLES <= {"LC_CTYPE", "PWD", "PYTHONPATH", "SHLVL"}
    assert variables["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert variables["_HANDLER"] == "index.handler"
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA")


def test_home_directories_and_files_of_the_host_are_invisible(evaluate, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    secret.chmod(0o644)
    for path in (
        secret,
        Path.home() / ".bashrc",
        Path(__file__),
        "/etc/shadow",
        "/etc/machine-id",
        "/var/lib",
        "/var/run/docker.sock",
    ):
        assert evaluate(f"os.path.exists({str(path)!r})") is False, path
    assert evaluate(f"[n for _, _, names in os.walk({str(Path.home())!r}) for n in names]") == []


def test_a_function_is_not_root_and_cannot_become_it(evaluate):
    assert evaluate("[os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]")[:3] == [993, 993, 990]
    assert evaluate("subprocess.run(['sudo', '-n', 'id']).returncode if os.path.exists('/usr/bin/sudo') else 1") != 0
    assert "0000000000000000" in evaluate("[l for l in open('/proc/self/status') if l.startswith('CapEff')][0]")


def test_nothing_can_be_mounted_or_traced(evaluate):
    assert evaluate("subprocess.run(['mount', '-t', 'tmpfs', 'x', '/tmp'], capture_output=True).returncode") != 0
    assert evaluate("subprocess.run(['unshare', '-m', 'true'], capture_output=True).returncode in (0, 1)")
    assert evaluate("len([n for n in os.listdir('/proc') if n.isdigit()])") == 2


@pytest.mark.parametrize(
    "path", ["/var/task/index.py", "/var/task/new.py", "/opt/new", "/var/runtime/bootstrap.py", "/new"]
)
def test_code_is_not_writable(lasting, invoke, path):
    payload = invoke(lasting(EVALUATE), f"open({path!r}, 'a')").payload
    assert payload["errorType"] in ("OSError", "PermissionError"), payload


def test_var_task_opt_and_tmp_are_there(deploy, aws_client, result, zip_of):
    client = aws_client("lambda")
    layer = client.publish_layer_version(
        LayerName="isolation", Content={"ZipFile": zip_of({"python/of_layer.py": "x = 7\n"})}
    )
    name = deploy({"index.py": EVALUATE, "data/file.txt": "mine"}, Layers=[layer["LayerVersionArn"]])
    assert result(name, "open('/var/task/data/file.txt').read() + os.getcwd()") == "mine/var/task"
    assert result(name, "[os.listdir('/opt/python'), __import__('of_layer').x]") == [["of_layer.py"], 7]
    assert result(name, "open('/tmp/mine', 'w').write('x')") == 1
    assert result(name, "os.listdir('/tmp')") == ["mine"], "kept from invoke to invoke"


def test_the_tmp_of_another_function_and_of_another_environment_is_invisible(lasting, deploy, result):
    first, second = lasting(EVALUATE), deploy(EVALUATE)
    assert result(first, "open('/tmp/private', 'w').write('x')") == 1
    assert result(second, "os.listdir('/tmp')") == []
    assert not Path("/tmp/private").exists()


def test_the_code_of_another_function_is_invisible(deploy, result):
    deploy({"index.py": EVALUATE, "of_another.py": "secret = 1\n"})
    name = deploy(EVALUATE, Timeout=60)
    looked = (
        "subprocess.run('find / -name of_another.py 2>/dev/null', shell=True, capture_output=True, text=True).stdout"
    )
    assert result(name, looked) == ""


def test_processes_of_another_function_are_invisible_and_out_of_reach(deploy, invoke, result):
    name, other = deploy(EVALUATE), deploy(EVALUATE)
    mark = f"{73_000 + os.getpid()}.25"
    count = f"subprocess.run('cat /proc/*/cmdline', shell=True, capture_output=True).stdout.count(b'sleep\\x00{mark}')"
    assert result(name, f"subprocess.Popen(['sleep', '{mark}']) and None") is None
    assert result(name, count) == 1
    assert result(other, count) == 0
    assert invoke(other, "os.kill(-1, 9)").payload["errorType"] == "ProcessLookupError", "there is nobody else"
    assert result(name, count) == 1


@pytest.mark.process_only  # In a container the image tells.
@pytest.mark.parametrize(("runtime", "version"), [("python3.12", "2023"), ("python3.11", "2")])
def test_the_system_is_called_what_it_is_on_aws(deploy, result, runtime, version):
    # Prisma, for one, loads its engine by what this file says, and functions bring the one for AWS along.
    release = result(deploy(EVALUATE, runtime=runtime), "open('/etc/os-release').read().splitlines()")
    assert ['ID="amzn"', f'VERSION_ID="{version}"'] == [
        line for line in release if line.startswith(("ID=", "VERSION_ID="))
    ]
