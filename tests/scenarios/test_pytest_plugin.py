"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.scenario

TWO_TESTS = """
import boto3, os

ECHO = {"index.py": "def handler(event, context):\\n    return event\\n"}

def leaves_something(lambda_emulator):
    assert lambda_emulator.client("lambda").list_functions()["Functions"] == []
    assert lambda_emulator.client("sqs").list_queues().get("QueueUrls", []) == []
    assert lambda_emulator.deploy(ECHO).invoke(1) == 1
    boto3.client("sqs").create_queue(QueueName="q")
    assert boto3.client("sts").get_caller_identity()["Account"] == "000000000000"

def test_one(lambda_emulator):
    leaves_something(lambda_emulator)

def test_two(lambda_emulator):
    leaves_something(lambda_emulator)

def test_without_it():
    assert "AWS_ENDPOINT_URL" not in os.environ
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A pytest of its own; in a process of its own, as a user runs it."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PYTEST_XDIST"))]:
        monkeypatch.delenv(name)
    return pytester


def test_each_test_has_an_emulator_that_is_as_new(run: pytest.Pytester) -> None:
    run.makepyfile(TWO_TESTS)
    run.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=3)


def test_workers_have_emulators_of_their_own(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run.makepyfile(
        """
        import os, pathlib, pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(lambda_emulator, number):
            function = lambda_emulator.deploy({"index.py": "def handler(e, c):\\n    return e\\n"})
            assert function.name == "function" and function.invoke(number) == number
            pathlib.Path(os.environ["URLS"], os.environ["PYTEST_XDIST_WORKER"]).write_text(lambda_emulator.url)
        """
    )
    monkeypatch.setenv("URLS", str(run.mkdir("urls")))
    run.runpytest_subprocess("-n", "2", "--lambda-other-services", "off").assert_outcomes(passed=4)
    urls = {path.name: path.read_text() for path in (run.path / "urls").iterdir()}
    assert sorted(urls) == ["gw0", "gw1"]
    assert len(set(urls.values())) == 2


def test_options_of_the_ini_file_and_of_the_command_line(run: pytest.Pytester) -> None:
    run.makeini(
        """
        [pytest]
        lambda_other_services = off
        lambda_state_dir = state
        lambda_settings =
            LAMBDA_SETTLE_MS=7
            LAMBDA_HOT_RELOAD_BUCKET = live
        """
    )
    run.makepyfile(
        """
        import os, pytest

        def test_it(lambda_emulator):
            config = lambda_emulator.gateway.hosted.assembly.provider.config
            assert (config.settle_s, config.hot_reload_bucket) == (0.007, "live")
            with pytest.raises(Exception, match="has no service 'sqs'"):
                lambda_emulator.client("sqs").list_queues()
            lambda_emulator.deploy({"index.py": "def handler(e, c): ..."}, name="left")
        """
    )
    run.runpytest_subprocess().assert_outcomes(passed=1)
    assert (run.path / "state").is_dir()
    other = run.path / "other"
    run.runpytest_subprocess("--lambda-state-dir", str(other)).assert_outcomes(passed=1)
    assert other.is_dir()


def test_what_the_last_test_left_is_in_the_state_directory(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        def test_one(lambda_emulator):
            lambda_emulator.deploy({"index.py": "def handler(e, c): ..."}, name="first")

        def test_two(lambda_emulator):
            lambda_emulator.deploy({"index.py": "def handler(e, c): ..."}, name="second")
        """
    )
    run.runpytest_subprocess("--lambda-state-dir", "kept", "--lambda-other-services", "off").assert_outcomes(passed=2)
    run.makepyfile(
        test_look="""
        from lambda_provider.testing import Emulator

        def test_it():
            with Emulator(state_dir="kept", other_services=False) as emulator:
                functions = emulator.client("lambda").list_functions()["Functions"]
                assert [function["FunctionName"] for function in functions] == ["second"]
        """
    )
    run.runpytest_subprocess("test_look.py").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "says"),
    [
        ("lambda_other_services = maybe", "lambda_other_services is 'maybe'; it has to be on or off"),
        ("lambda_settings = LAMBDA_SETTLE_MS", "it has to be NAME=VALUE"),
        ("lambda_executor = hamsters", "no executor is called 'hamsters'"),
    ],
)
def test_options_that_cannot_be_used_are_said(run: pytest.Pytester, ini: str, says: str) -> None:
    run.makeini(f"[pytest]\n{ini}\n")
    run.makepyfile("def test_it(lambda_emulator): ...")
    result = run.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(f"*{says}*")


def test_a_session_fixture_keeps_what_it_deployed_for_all_tests(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def counter(lambda_emulator_session):
            source = "n = 0\\ndef handler(e, c):\\n    global n\\n    n += 1\\n    return n\\n"
            return lambda_emulator_session.deploy({"index.py": source})

        def test_one(counter):
            assert counter.invoke() == 1

        def test_two(counter):
            assert counter.invoke() == 2
        """
    )
    run.runpytest_subprocess("--lambda-other-services", "off").assert_outcomes(passed=2)


def test_a_run_that_does_not_use_it_imports_nothing_of_it(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import sys, threading

        def test_it():
            ours = [name for name in sys.modules if name.startswith(("lambda_provider", "lambda_runtime"))]
            assert sorted(ours) == ["lambda_provider", "lambda_provider.testing", "lambda_provider.testing.plugin"]
            assert not {"boto3", "botocore", "moto", "uvicorn"} & set(sys.modules)
            assert threading.active_count() == 1
        """
    )
    run.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=1)


def test_loading_it_takes_less_than_five_milliseconds() -> None:
    """What it adds to the start of every pytest, measured where nothing else runs in between: pytest's own modules are there."""
    program = (
        "import pytest, time\n"
        "began = time.process_time()\n"
        "import lambda_provider.testing.plugin\n"
        "print(time.process_time() - began)\n"
    )
    took = [
        float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    assert min(took) < 0.005


def test_its_help_names_the_fixture(run: pytest.Pytester) -> None:
    result = run.runpytest_subprocess("--fixtures")
    result.stdout.fnmatch_lines(["lambda_emulator *", "*as if it had just been started*"])
