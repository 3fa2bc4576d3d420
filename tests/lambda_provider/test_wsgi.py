"""The WSGI application: started by the first request of a process, ended with it, and not inherited by a fork."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.host import HostBase
from lambda_provider.wsgi import WsgiApplication


def get(application: WsgiApplication, path: str = "/_lambda/health") -> str:
    status: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
    }
    body: Any = application(environ, lambda line, headers: status.append(line))
    assert b"".join(body)
    body.close()
    return status[0]


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lambda-provider"]


@pytest.fixture
def application() -> Iterator[WsgiApplication]:
    made = WsgiApplication(host=HostBase({}))
    yield made
    made.stop()


def test_the_first_request_starts_it_and_the_next_ones_find_it(application: WsgiApplication) -> None:
    assert loop_threads() == []
    assert get(application) == "200 OK"
    (thread,) = loop_threads()
    assert get(application, "/elsewhere") == "501 Not Implemented"
    assert loop_threads() == [thread]


def test_it_can_be_stopped_and_starts_again(application: WsgiApplication) -> None:
    get(application)
    application.stop()
    application.stop()
    assert loop_threads() == []
    assert get(application) == "200 OK"


def test_what_cannot_start_leaves_no_thread() -> None:
    application = WsgiApplication(host="bare", executor="hamsters")
    with pytest.raises(LookupError, match="hamsters"):
        get(application)
    assert loop_threads() == []


def test_what_cannot_be_is_said_when_it_is_made() -> None:
    with pytest.raises(TypeError):
        WsgiApplication(hosts="bare")


FORKS = """
import os, sys
from test_wsgi import get, loop_threads
from lambda_provider.host import HostBase
from lambda_provider.wsgi import WsgiApplication
application = WsgiApplication(host=HostBase({}))
if sys.argv[1] == "after":
    get(application)
if os.fork() == 0:
    assert loop_threads() == []
    print(get(application), flush=True)
    sys.exit()
assert os.wait()[1] == 0
print(get(application))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forked_process_starts_its_own(when: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, when],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("200 OK\n200 OK\n", "", 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["lambda_provider.asgi", "lambda_provider.wsgi"])
def test_importing_an_application_starts_nothing(module: str) -> None:
    program = (
        f"import sys, threading, {module} as module\n"
        "assert threading.active_count() == 1\n"
        "assert callable(module.app) and callable(module.create_app)\n"
        "assert not {'botocore', 'uvicorn', 'lambda_provider.provider'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
