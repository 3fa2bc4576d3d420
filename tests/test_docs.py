"""The code in the documentation runs as it stands there."""

from __future__ import annotations

import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.scenario


def block(page: str, mark: str) -> str:
    (found,) = re.findall(rf"^```python {mark}\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    return str(found)


class Acme:
    """The example of docs/hosts.md, run as it says."""

    def __init__(self, directory: Path) -> None:
        (directory / "acme.py").write_text(block("docs/hosts.md", "example"))
        # Kept bound: whoever asks for any port does not get it, and who asks for this one may have it, too.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        port = self._reserved.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "acme:app", "--port", str(port), "--log-level", "warning"],
            cwd=directory,
            env={**os.environ, "ACME_URL": self.url, "PYTHONPATH": str(directory)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._printed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, "the example did not start"
                time.sleep(0.02)

    def lines(self, until: str) -> list[str]:
        """What it printed, up to the line that contains `until`."""
        lines: list[str] = []
        while not lines or until not in lines[-1]:
            try:
                lines.append(self._printed.get(timeout=30))
            except queue.Empty:
                pytest.fail(f"{until!r} is not among {lines}")
        return lines

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._reader.join(30)
        self._reserved.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._printed.put(line)


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Acme]:
    running = Acme(tmp_path)
    yield running
    running.stop()


def test_the_example_of_a_host_fits_on_a_page() -> None:
    assert len(block("docs/hosts.md", "example").splitlines()) <= 60


def test_functions_run_in_the_example_of_a_host_and_use_its_queues(
    acme: Acme, client_for: Callable[..., Any], zip_of: Callable[..., bytes]
) -> None:
    client = client_for(acme.url, "lambda")
    client.create_function(
        FunctionName="hello",
        Runtime="python3.12",
        Handler="index.handler",
        Role="arn:aws:iam::000000000000:role/r",
        Code={
            "ZipFile": zip_of(
                {"index.py": "import os\ndef handler(e, c):\n  print('hi')\n  return os.environ['AWS_ENDPOINT_URL']"}
            )
        },
    )
    client.get_waiter("function_active_v2").wait(FunctionName="hello")
    assert json.load(client.invoke(FunctionName="hello")["Payload"]) == acme.url
    lines = acme.lines(until="REPORT")
    assert "/aws/lambda/hello: hi\n" in lines

    destination = {"OnSuccess": {"Destination": "arn:aws:sqs:us-east-1:000000000000:done"}}
    client.put_function_event_invoke_config(FunctionName="hello", DestinationConfig=destination)
    client.invoke(FunctionName="hello", InvocationType="Event", Payload="{}")
    queues = client_for(acme.url, "sqs")
    url = queues.get_queue_url(QueueName="done")["QueueUrl"]
    until = time.monotonic() + 30
    while not (messages := queues.receive_message(QueueUrl=url)["Messages"]):
        assert time.monotonic() < until, "no record came"
    assert json.loads(messages[0]["Body"])["responsePayload"] == acme.url


def test_what_the_example_does_not_have_is_refused_with_the_reason(acme: Acme, client_for: Callable[..., Any]) -> None:
    client = client_for(acme.url, "lambda")
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="the host 'acme' has no s3"):
        client.create_function(
            FunctionName="f",
            Runtime="python3.12",
            Handler="index.handler",
            Role="arn:aws:iam::000000000000:role/r",
            Code={"S3Bucket": "bucket", "S3Key": "key"},
        )


@pytest.mark.parametrize(
    ("page", "mark", "passed"), [("docs/testing-your-functions.md", "pytest", 2), ("README.md", "tests", 1)]
)
def test_the_tests_in_the_documentation_pass_with_pytest(tmp_path: Path, page: str, mark: str, passed: int) -> None:
    (tmp_path / "test_it.py").write_text(block(page, mark))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert f"{passed} passed" in done.stdout


@pytest.mark.parametrize(("mark", "says"), [("unittest", "OK"), ("plain", "got {'a': 1}")])
def test_the_programs_in_the_documentation_run(tmp_path: Path, mark: str, says: str) -> None:
    (tmp_path / "program.py").write_text(block("docs/testing-your-functions.md", mark))
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout + done.stderr
