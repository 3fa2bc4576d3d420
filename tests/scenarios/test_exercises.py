"""What beginners' courses do with the AWS CLI: a layer with `requests`, a canary, and a function that is throttled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from .packages import PYTHON, python_packages
from .rendezvous import MEET, Rendezvous

pytestmark = pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not installed")

ROLE = "arn:aws:iam::000000000000:role/lambda-role"
PATIENCE_S = 120.0
OF_REQUESTS = ("requests", "urllib3", "idna", "certifi", "charset_normalizer")


class Cli:
    """The AWS CLI in a folder of its own, as somebody uses it who has configured nothing but an endpoint.

    It does not repeat what was refused: the first answer is what an exercise is about.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that runs while others do."""
        return subprocess.Popen(
            ["aws", *arguments, "--output", "json"],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str) -> Any:
        """Run a command; what it printed."""
        status, printed, problem = finished(self.start(*arguments))
        assert status == 0, problem
        return json.loads(printed) if printed.strip() else None

    def invoke(self, name: str, event: Any, *more: str) -> tuple[Any, Any]:
        """What `lambda invoke` printed, and what it wrote into its file."""
        (self.folder / "event.json").write_text(json.dumps(event))
        told = self("lambda", "invoke", "--function-name", name, "--payload", "fileb://event.json", "out.json", *more)
        return told, json.loads((self.folder / "out.json").read_text())

    def create(self, name: str, source: str, *more: str) -> None:
        """Zip a source file and make a function of it."""
        self.zip("function.zip", source)
        create = ["lambda", "create-function", "--function-name", name, "--handler", "index.handler", "--role", ROLE]
        self(*create, "--runtime", PYTHON, "--zip-file", "fileb://function.zip", *more)
        self("lambda", "wait", "function-active-v2", "--function-name", name)

    def zip(self, archive: str, source: str) -> None:
        """An archive with `index.py`."""
        with zipfile.ZipFile(self.folder / archive, "w") as made:
            made.writestr("index.py", source)


@pytest.fixture
def cli(gateway: Any, tmp_path: Path) -> Cli:
    return Cli(gateway.url, tmp_path)


@pytest.fixture
def name(request: pytest.FixtureRequest, aws_client: Callable[..., Any]) -> Any:
    """A name for a function, which is deleted when the test ends."""
    name = f"exercise-{request.node.name.replace('_', '-')[5:40]}-{os.getpid()}"
    yield name
    client = aws_client("lambda")
    try:
        client.delete_function(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return


def layer_with_requests(folder: Path) -> Path:
    """What `pip install requests -t python` and `zip -r layer.zip python` make; without PyPI, of what the tests have."""
    layer = folder / "layer.zip"
    with zipfile.ZipFile(layer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        try:
            packages = python_packages("requests")
        except pytest.skip.Exception:
            site = Path(sysconfig.get_path("purelib"))
            for path in sorted(path for package in OF_REQUESTS for path in (site / package).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    made.write(path, Path("python") / path.relative_to(site))
        else:
            with zipfile.ZipFile(packages) as installed:
                for entry in installed.infolist():
                    made.writestr(f"python/{entry.filename}", installed.read(entry))
    return layer


USES_REQUESTS = """
import os
import requests
def handler(event, context):
    answer = requests.get(os.environ["AWS_ENDPOINT_URL"] + "/_lambda/health", timeout=10)
    return {"from": requests.__file__, "status": answer.status_code, "executor": answer.json()["executor"]}
"""


def test_layer_with_requests(cli: Cli, name: str) -> None:
    layer_with_requests(cli.folder)
    publish = ["lambda", "publish-layer-version", "--layer-name", f"{name}-layer", "--zip-file", "fileb://layer.zip"]
    layer = cli(*publish, "--compatible-runtimes", PYTHON)
    assert layer["Version"] == 1
    cli.create(name, USES_REQUESTS)
    told, answer = cli.invoke(name, {})
    assert told["FunctionError"] == "Unhandled"
    assert answer["errorMessage"].startswith("Unable to import module 'index': No module named 'requests'")

    arn = layer["LayerVersionArn"]
    cli("lambda", "update-function-configuration", "--function-name", name, "--layers", arn)
    cli("lambda", "wait", "function-updated-v2", "--function-name", name)
    told, answer = cli.invoke(name, {})
    assert told == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
    assert (answer["status"], answer["executor"]) == (200, "process")
    assert answer["from"].startswith("/opt/python/requests/")

    # A layer version that is deleted goes on in the functions that have it.
    cli("lambda", "delete-layer-version", "--layer-name", f"{name}-layer", "--version-number", "1")
    assert cli("lambda", "list-layer-versions", "--layer-name", f"{name}-layer")["LayerVersions"] == []
    assert cli.invoke(name, {})[1]["status"] == 200


def test_canary(cli: Cli, name: str, aws_client: Callable[..., Any]) -> None:
    """10 %, 50 % and 100 % of the traffic of an alias. The bounds are more than six standard deviations away."""
    client = aws_client("lambda")
    cli.create(name, "def handler(event, context):\n    return 'one'\n")
    assert cli("lambda", "publish-version", "--function-name", name)["Version"] == "1"
    alias = ["--function-name", name, "--name", "live"]
    cli("lambda", "create-alias", *alias, "--function-version", "1")
    assert cli.invoke(f"{name}:live", {})[1] == "one"

    cli.zip("function.zip", "def handler(event, context):\n    return 'two'\n")
    update = ["lambda", "update-function-code", "--function-name", name, "--zip-file", "fileb://function.zip"]
    assert cli(*update, "--publish")["Version"] == "2"
    cli("lambda", "wait", "published-version-active", "--function-name", name, "--qualifier", "2")
    assert cli.invoke(f"{name}:live", {})[1] == "one"

    def shares(count: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in range(count):
            answer = client.invoke(FunctionName=name, Qualifier="live")
            word = {"1": "one", "2": "two"}[answer["ExecutedVersion"]]
            assert json.load(answer["Payload"]) == word
            found[word] += 1
        return found

    since = datetime.now(UTC).replace(second=0, microsecond=0)
    total = Counter(one=2)
    for weight, lowest, highest in (("0.1", 5, 95), ("0.5", 130, 270)):
        cli("lambda", "update-alias", *alias, "--routing-config", f"AdditionalVersionWeights={{2={weight}}}")
        counted = shares(400)
        assert lowest <= counted["two"] <= highest, counted
        total += counted
    cli("lambda", "update-alias", *alias, "--function-version", "2", "--routing-config", "AdditionalVersionWeights={}")
    assert shares(50) == {"two": 50}
    total["two"] += 50

    for version, word in (("1", "one"), ("2", "two")):
        place = [f"Name=FunctionName,Value={name}", f"Name=Resource,Value={name}:live"]
        place.append(f"Name=ExecutedVersion,Value={version}")
        assert statistic(cli, "Invocations", "Sum", since, *place) == total[word]


def test_three_run_and_seven_are_throttled(cli: Cli, name: str, aws_client: Callable[..., Any]) -> None:
    """Reserve a concurrency of three and start ten invokes that take long: until we let them go."""
    client = aws_client("lambda")
    cli.create(name, MEET, "--timeout", "60")
    reserve = ["lambda", "put-function-concurrency", "--function-name", name, "--reserved-concurrent-executions", "3"]
    assert cli(*reserve) == {"ReservedConcurrentExecutions": 3}
    since = datetime.now(UTC).replace(second=0, microsecond=0)
    with ThreadPoolExecutor(10) as pool, Rendezvous() as place:
        (cli.folder / "event.json").write_text(str(place.port))
        invoke = ["lambda", "invoke", "--function-name", name, "--payload", "fileb://event.json"]
        calls = [pool.submit(finished, cli.start(*invoke, f"out-{number}.json")) for number in range(10)]
        place.await_guests(3)
        with pytest.raises(client.exceptions.TooManyRequestsException) as throttled:
            client.invoke(FunctionName=name, Payload=str(place.port))
        refused = [call.result() for call in islice(as_completed(calls, timeout=PATIENCE_S), 7)]
        assert not all(call.done() for call in calls)
        place.let_go()
        ended = [call.result() for call in calls]
    for status, _, problem in refused:
        assert status != 0
        assert "(TooManyRequestsException) when calling the Invoke operation" in problem
        assert "Rate Exceeded." in problem
    ran = [json.loads(printed) for status, printed, _ in ended if status == 0]
    assert ran == [{"StatusCode": 200, "ExecutedVersion": "$LATEST"}] * 3
    response = throttled.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert (response["Type"], response["message"]) == ("User", "Rate Exceeded.")

    of_function = f"Name=FunctionName,Value={name}"
    assert statistic(cli, "ConcurrentExecutions", "Maximum", since, of_function) == 3
    assert statistic(cli, "Throttles", "Sum", since, of_function) == 8
    assert statistic(cli, "Invocations", "Sum", since, of_function) == 3


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of a command, when it has ended."""
    printed, problem = process.communicate(timeout=PATIENCE_S)
    return process.returncode, printed, problem


def statistic(cli: Cli, metric: str, kind: str, since: datetime, *dimensions: str) -> float:
    """A statistic of a metric over the minutes since then."""
    points = cli(
        *["cloudwatch", "get-metric-statistics", "--namespace", "AWS/Lambda", "--metric-name", metric],
        *["--statistics", kind, "--period", "3600", "--dimensions", *dimensions],
        *["--start-time", since.isoformat(), "--end-time", (datetime.now(UTC) + timedelta(minutes=1)).isoformat()],
    )["Datapoints"]
    values = [point[kind] for point in points]
    return float(max(values) if kind == "Maximum" else sum(values))
