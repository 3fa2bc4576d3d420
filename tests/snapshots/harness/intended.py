"""Where we differ from a recording on purpose: the one list.

A pattern is matched against `<file> <scenario> <JSON path>`; `*` stands for anything. Each has its reason.
"""

from __future__ import annotations

_OLD = "recorded before AWS answered this member; later recordings have it"

INTENDED: dict[str, str] = {
    f"{scenario} $.*.{member}": _OLD
    for scenario in (
        "lambda.json TestLambdaFeatures::test_basic_invoke",
        "lambda.json TestLambdaFeatures::test_lambda_environment",
        "lambda.json TestLambdaFeatures::test_invocation_type_event_error",
        "lambda_api.json TestLambdaVersions::test_publish_with_wrong_revisionid",
    )
    for member in ("LoggingConfig", "RuntimeVersionConfig", "SnapStart")
}
