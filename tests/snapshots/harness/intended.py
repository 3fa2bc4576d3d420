"""Where we differ from a recording on purpose: the one list.

A pattern is matched against `<file> <scenario> <JSON path>`; `*` stands for anything. Each has its reason.
"""

from __future__ import annotations

_OLD = "recorded before AWS answered this member; later recordings have it"
_OWN_REVISION = "recorded before policies had revision ids of their own; test_lambda_permission_fn_versioning is newer"

_HOST = "the answer of another service, which is the host's"

INTENDED: dict[str, str] = {
    f"{scenario} $.*.{member}": _OLD
    for scenario in (
        "lambda.json TestLambdaFeatures::test_basic_invoke",
        "lambda.json TestLambdaFeatures::test_lambda_environment",
        "lambda.json TestLambdaFeatures::test_invocation_type_event_error",
        "lambda_api.json TestLambdaVersions::test_publish_with_wrong_revisionid",
    )
    for member in ("LoggingConfig", "RuntimeVersionConfig", "SnapStart")
} | {
    "lambda.json TestLambdaConcurrency::test_lambda_provisioned_concurrency_moves_with_alias $.*.LoggingConfig": _OLD,
    "lambda_api.json TestLambdaEventSourceMappings::test_create_event_source_self_managed $.*.EventSourceMappingArn": _OLD,
    "lambda_api.json TestLambdaEventSourceMappings::test_event_source_mapping_lifecycle $.update_table_response": _HOST,
    "lambda_api.json TestLambdaEventSourceMappings::test_event_source_mapping_lifecycle_delete_function "
    "$.update_table_response": _HOST,
    "lambda.json TestLambdaBehavior::test_lambda_init_environment $.*.AWS_LAMBDA_RUNTIME_API": (
        "the Runtime API is on a port of the loopback interface, not on an address of AWS's own"
    ),
    "lambda.json TestLambdaBehavior::test_lambda_init_environment $.*.AWS_ENDPOINT_URL": (
        "functions are told where the host's AWS services are"
    ),
    "lambda_common.json TestLambdaRuntimesCommon::test_uncaught_exception_invoke[python3.8] $.*.requestId": (
        "AWS's client for Python 3.8 is not published any more; the one for a later version answers this member"
    ),
    "lambda_destinations.json TestLambdaDestinationSqs::test_maxeventage $.*.Attributes.SenderId": _HOST,
    "lambda_api.json TestLambdaPermissions::test_lambda_permission_versioning $.get_policy_after_*.RevisionId": _OWN_REVISION,
    "lambda_integration_sqs.json test_report_batch_item_failures $.send_message_batch.Failed": _HOST,
    "lambda_integration_dynamodbstreams.json * $.create_dynamodb_table_response*": _HOST,
    "lambda_integration_dynamodbstreams.json * $.create?table*": _HOST,
    "lambda_integration_dynamodbstreams.json * $.table_creation_response*": _HOST,
    "lambda_integration_dynamodbstreams.json * $.update_table_response*": _HOST,
    "lambda_integration_dynamodbstreams.json * $.failure_sns_message.SignatureVersion": _HOST,
    "lambda_integration_dynamodbstreams.json * $.create_event_source_mapping_response.EventSourceMappingArn": _OLD,
    "lambda_integration_kinesis.json * $.failure_sns_message.SignatureVersion": _HOST,
    "lambda_integration_sqs.json TestSQSEventSourceMapping::test_sqs_event_source_mapping_update $.*.FunctionArn": (
        "the recording has one placeholder for the function and its version"
    ),
    "lambda.json TestLambdaURL::test_lambda_url_persists_after_alias_delete $.create_lambda_url_config.FunctionArn": (
        "the recording has one placeholder for the function and its alias"
    ),
}
