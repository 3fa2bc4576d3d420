"""Functions in Ruby, on the interpreter of this machine and our runtime client."""

from __future__ import annotations

import base64
import json
import re
import shutil
import uuid
from pathlib import Path

import pytest

pytestmark = [pytest.mark.scenario, pytest.mark.skipif(shutil.which("ruby") is None, reason="Ruby is not installed")]
RULES = (Path(__file__).parents[1] / "functions" / "ruby" / "rules.rb").read_text()


@pytest.fixture
def in_ruby(deploy):
    """`in_ruby("method")` deploys a method of `tests/functions/ruby/rules.rb`, or the handler of other files."""

    def create(handler: str, files: dict[str, str] | None = None, **parameters):
        name = handler if "." in handler else f"rules.{handler}"
        return deploy(files or {"rules.rb": RULES}, runtime="ruby3.3", handler=name, **({"Timeout": 10} | parameters))

    return create


def test_a_function_sees_what_it_sees_on_aws(in_ruby, invoke, aws_client):
    name = in_ruby("look", MemorySize=256)
    given = base64.b64encode(json.dumps({"client": {"app_title": "ä"}}).encode()).decode()
    cold = invoke(name, {}, LogType="Tail")
    warm = invoke(name, {}, LogType="Tail", ClientContext=given)
    assert [cold.payload["invocations"], warm.payload["invocations"]] == [1, 2], "one process for both"
    assert "Init Duration" in cold.log and "Init Duration" not in warm.log
    seen = warm.payload
    assert seen["requestId"] == warm.request_id
    assert seen["arn"] == aws_client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert 8_000 < seen["remainingMs"] <= 10_000
    assert (seen["memoryMb"], seen["logGroup"]) == ("256", f"/aws/lambda/{name}")
    assert seen["clientContext"] == {"client": {"app_title": "ä"}}
    variables = seen["variables"]
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_ruby3.3"
    assert variables["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert "/ruby/gems/3.3.0" in variables["GEM_PATH"]
    assert "_LAMBDA_TELEMETRY_LOG_FD" not in variables


@pytest.mark.usefixtures("isolated")
def test_paths_and_user_are_those_of_aws(in_ruby, result):
    seen = result(in_ruby("look"), {})
    assert (seen["directory"], seen["file"], seen["uid"]) == ("/var/task", "/var/task/rules.rb", 993)


def test_handlers_are_methods_of_classes_and_of_files_in_folders_too(in_ruby, result):
    assert result(in_ruby("rules.Inner::Handlers.process"), "it") == "processed it"
    files = {
        "folder/file.rb": "require_relative 'other'\ndef run(event:, context:) = OTHER\n",
        "folder/other.rb": "OTHER = 1\n",
    }
    assert result(in_ruby("folder/file.run", files), {}) == 1


def test_responses_are_json_or_what_a_stream_holds(in_ruby, result):
    name = in_ruby("fail_with")
    for event in (None, 1.5, "ä€😀", [1, {"a": None}]):
        assert result(name, event) == event
    assert result(name, "stream") == {"streamed": True}


def test_events_and_responses_may_be_made_otherwise(in_ruby, result):
    source = """
module AwsLambda
  class Marshaller
    class << self
      def marshall_request(request) = request.body.upcase
      def marshall_response(response) = [response.sub('EVENT', 'answer'), 'application/json']
    end
  end
end
def run(event:, context:) = event
"""
    assert result(in_ruby("own.run", {"own.rb": source}), "event") == "answer"


def test_errors_have_their_class_and_their_trace_and_the_process_goes_on(in_ruby, invoke):
    name = in_ruby("fail_with")
    outcome = invoke(name, "argument", LogType="Tail")
    assert outcome.error == "Unhandled"
    assert (outcome.payload["errorType"], outcome.payload["errorMessage"]) == ("Function<ArgumentError>", "ä bad one")
    assert re.search(r"/rules\.rb:\d+:in [`'].*fail_with'$", outcome.payload["stackTrace"][0])
    assert not [line for line in outcome.payload["stackTrace"] if "/var/runtime" in line]
    assert "Error raised from handler method" in outcome.log
    assert '"errorType": "Function<ArgumentError>"' in outcome.log
    assert result_of(invoke(name, "go on")) == "go on"


def result_of(outcome):
    assert outcome.error is None, outcome
    return outcome.payload


@pytest.mark.parametrize(
    ("event", "kind"), [("name", "NameError"), ("exit", "SystemExit"), ("deep", "SystemStackError")]
)
def test_critical_exceptions_are_told_and_end_the_process(in_ruby, invoke, event, kind):
    name = in_ruby("fail_with")
    outcome = invoke(name, event, LogType="Tail")
    assert outcome.payload["errorType"] == f"Function<{kind}>"
    if kind != "SystemStackError":  # Its trace fills the end of the log, which is all that the caller gets.
        assert "Critical exception from handler" in outcome.log
    assert "Init Duration" in invoke(name, "go on", LogType="Tail").log


def test_an_exit_without_a_word_is_an_exit_of_the_runtime(in_ruby, invoke):
    outcome = invoke(in_ruby("fail_with"), "hard exit")
    message = f"RequestId: {outcome.request_id} Error: Runtime exited with error: exit status 3"
    assert outcome.payload == {"errorType": "Runtime.ExitError", "errorMessage": message}


def test_a_timeout_ends_it(in_ruby, invoke):
    assert invoke(in_ruby("fail_with", Timeout=1), "sleep").payload["errorType"] == "Sandbox.Timedout"


@pytest.mark.parametrize(
    ("handler", "source", "kind", "message"),
    [
        ("missing.run", "", "Init<LoadError>", "cannot load such file -- missing"),
        ("own.run", "raise 'at the start'", "Init<RuntimeError>", "at the start"),
        ("own.run", "def run(", "Init<SyntaxError>", "syntax"),
        ("own.a.b.c", "", "Init<ArgumentError>", "must be of form FILENAME.METHOD"),
        ("own.run", "exit 2", "Init<SystemExit>", "exit"),
    ],
)
def test_what_cannot_be_loaded_says_why(in_ruby, invoke, handler, source, kind, message):
    outcome = invoke(in_ruby(handler, {"own.rb": source}), {})
    assert (outcome.error, outcome.payload["errorType"]) == ("Unhandled", kind)
    assert message in outcome.payload["errorMessage"]


def test_a_method_that_is_not_there_is_an_error_of_the_invocation(in_ruby, invoke):
    outcome = invoke(in_ruby("not_there"), {})
    assert outcome.payload["errorType"] == "Function<NoMethodError>"


def test_lines_and_loggers(in_ruby, invoke):
    outcome = invoke(in_ruby("print_all"), {"text": "ä"}, LogType="Tail")
    for line in ("put: ä\nits second line\n", "printed: ä\n", "on the other: ä\n"):
        assert line in outcome.log
    for letter, level, text in (("I", " INFO", "informed: ä"), ("D", "DEBUG", "debugged: ä")):
        assert re.search(
            rf"^{letter}, \[\d{{4}}-\d\d-\d\dT[\d:.]+ #\d+\] {level} {outcome.request_id} -- : {text}$",
            outcome.log,
            re.MULTILINE,
        )


def test_the_json_format_has_levels_request_ids_and_errors(in_ruby, invoke):
    name = in_ruby("print_all", LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"})
    outcome = invoke(name, {"text": "ä"}, LogType="Tail")
    events = [json.loads(line) for line in outcome.log.splitlines() if '"requestId":"' in line and '"level"' in line]
    informed = next(event for event in events if event["message"] == "informed: ä")
    assert (informed["level"], informed["requestId"]) == ("INFO", outcome.request_id)
    failed = next(event for event in events if event["level"] == "ERROR")
    assert (failed["errorType"], failed["errorMessage"]) == ("ArgumentError", "logged")
    assert failed["location"].endswith(f"rules.rb:print_all:{failed['stackTrace'][0].split(':')[1]}")
    assert "debugged" not in outcome.log


def test_layers_bring_libraries_and_gems(in_ruby, result, aws_client, zip_of):
    client, layer = aws_client("lambda"), f"ruby-{uuid.uuid4().hex[:10]}"
    content = {"ZipFile": zip_of({"ruby/lib/from_a_layer.rb": "FROM_A_LAYER = 'layered'\n"})}
    version = client.publish_layer_version(LayerName=layer, Content=content)
    try:
        assert result(in_ruby("use", Layers=[version["LayerVersionArn"]]), {}) == "layered"
    finally:
        client.delete_layer_version(LayerName=layer, VersionNumber=version["Version"])


def test_gems_that_are_bundled_with_the_function_are_found(in_ruby, result):
    root = "vendor/bundle/ruby/3.3.0"
    specification = """Gem::Specification.new do |s|
  s.name = 'vendored'
  s.version = '1.0.0'
  s.summary = 'a gem'
  s.authors = ['me']
  s.files = ['lib/vendored.rb']
  s.require_paths = ['lib']
end
"""
    files = {
        f"{root}/specifications/vendored-1.0.0.gemspec": specification,
        f"{root}/gems/vendored-1.0.0/lib/vendored.rb": "VENDORED = 'found'\n",
        "own.rb": "require 'vendored'\ndef run(event:, context:) = VENDORED\n",
    }
    assert result(in_ruby("own.run", files), {}) == "found"
