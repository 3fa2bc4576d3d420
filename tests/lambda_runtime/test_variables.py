"""The environment variables that a function sees."""

from __future__ import annotations

from lambda_runtime.variables import environment_variables

from .fakes import function_version

AWS_SETS = {
    "_HANDLER", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "LANG", "TZ", "PATH",
    "LD_LIBRARY_PATH", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_XRAY_DAEMON_ADDRESS", "AWS_XRAY_CONTEXT_MISSING",
    "_AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_PORT",
}  # fmt: skip


def variables(
    endpoint_url: str | None = None, executor: dict[str, str] | None = None, **changes: object
) -> dict[str, str]:
    return environment_variables(
        function_version(**changes),
        runtime_api="127.0.0.1:9001",
        log_stream="2026/01/01/[$LATEST]ab",
        credentials={"AWS_ACCESS_KEY_ID": "ASIA1"},
        executor_variables=executor or {},
        endpoint_url=endpoint_url,
    )


def test_aws_variables_are_all_set() -> None:
    assert not AWS_SETS - set(variables())


def test_function_sees_its_own_values() -> None:
    found = variables(environment={"PATH": "/mine", "A": "1"}, memory_mib=512)
    assert (found["PATH"], found["A"], found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("/mine", "1", "512")


def test_reserved_names_cannot_be_overridden() -> None:
    assert variables(environment={"AWS_LAMBDA_FUNCTION_NAME": "other"})["AWS_LAMBDA_FUNCTION_NAME"] == "fn"


def test_endpoint_url_only_where_the_host_has_one() -> None:
    assert "AWS_ENDPOINT_URL" not in variables()
    assert variables("http://127.0.0.1:4566")["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert variables("http://a", environment={"AWS_ENDPOINT_URL": "http://b"})["AWS_ENDPOINT_URL"] == "http://b"


def test_custom_runtimes_have_no_execution_env() -> None:
    assert "AWS_EXECUTION_ENV" not in variables(runtime="provided.al2023")


def test_json_log_format_tells_the_runtime() -> None:
    assert variables(log_format="JSON")["AWS_LAMBDA_LOG_LEVEL"] == "INFO"
    assert variables(log_format="JSON", application_log_level="DEBUG")["AWS_LAMBDA_LOG_LEVEL"] == "DEBUG"
    assert "AWS_LAMBDA_LOG_FORMAT" not in variables()
