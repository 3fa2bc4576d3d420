"""The environment variables of an execution environment.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime, and as recorded in
`TestLambdaBehavior::test_lambda_init_environment`.
"""

from __future__ import annotations

from collections.abc import Mapping

from lambda_runtime.types import FunctionVersion

XRAY_DAEMON_PORT = 2000
SNAP_START = "snap-start"
"""The initialization type of environments of versions with SnapStart."""

_OF_THE_RUNTIME = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_AWS_XRAY_DAEMON_ADDRESS",
        "_AWS_XRAY_DAEMON_PORT",
        "_HANDLER",
    }
)


def extension_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """What extensions see of an environment's variables: all but those of the runtime process.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html, "Environment variables".
    """
    return {name: value for name, value in variables.items() if name not in _OF_THE_RUNTIME}


def environment_variables(
    version: FunctionVersion,
    *,
    runtime_api: str,
    log_stream: str,
    credentials: Mapping[str, str],
    executor_variables: Mapping[str, str],
    endpoint_url: str | None,
    initialization_type: str = "on-demand",
) -> dict[str, str]:
    """Everything that the processes of an environment see, and nothing else.

    Those with SnapStart do not see where their log is
    (https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html).

    A function's own variables win over those of the executor (PATH, LD_LIBRARY_PATH, …) and over `AWS_ENDPOINT_URL`, but the
    reserved ones are AWS's: the control plane refuses them in a configuration.
    """
    daemon_host = runtime_api.rpartition(":")[0]
    variables = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": f"{daemon_host}:{XRAY_DAEMON_PORT}",
        "_AWS_XRAY_DAEMON_ADDRESS": daemon_host,
        "_AWS_XRAY_DAEMON_PORT": str(XRAY_DAEMON_PORT),
    }
    if endpoint_url:
        variables["AWS_ENDPOINT_URL"] = endpoint_url
    variables.update(executor_variables)
    variables.update(version.environment)
    variables.update(
        {
            "_HANDLER": version.handler or "",
            "AWS_REGION": version.region,
            "AWS_DEFAULT_REGION": version.region,
            "AWS_LAMBDA_FUNCTION_NAME": version.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": version.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mib),
            "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
            "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            **credentials,
        }
    )
    if initialization_type == SNAP_START:
        del variables["AWS_LAMBDA_LOG_GROUP_NAME"], variables["AWS_LAMBDA_LOG_STREAM_NAME"]
    variables.setdefault("LAMBDA_TASK_ROOT", "/var/task")
    variables.setdefault("LAMBDA_RUNTIME_DIR", "/var/runtime")
    if version.runtime and not version.runtime.startswith("provided"):
        variables["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{version.runtime}"
    if version.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = version.application_log_level or "INFO"
    return variables
