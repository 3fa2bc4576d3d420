"""AWS's words for broken constraints: each message here was recorded from AWS, unless its comment says otherwise."""

from __future__ import annotations

import pytest

from lambda_provider.api.errors import ValidationException
from lambda_provider.validation import validate
from lambda_provider.validation.runtimes import SUPPORTED

ROLE = "arn:aws:iam::111111111111:role/executor"
PARTITION_AND_REGION = r"(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}"
LAYER_VERSION_PATTERN = (
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:{PARTITION_AND_REGION}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
    r"|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
TAGGABLE_PATTERN = (
    rf"arn:(aws[a-zA-Z-]*):lambda:{PARTITION_AND_REGION}:\d{{12}}:"
    r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|"
    r"event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|"
    r"capacity-provider:[a-zA-Z0-9-_]+)"
)
NAMESPACED_NAME_PATTERN = (
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?({PARTITION_AND_REGION}:)?(\d{{12}}:)?(function:)?([a-zA-Z0-9-_\.]+)"
    r"(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
LAYER_ARN = "arn:aws:lambda:us-east-1:111111111111:layer:tools"
KNOWN_RUNTIMES = (
    "ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, python2.7-greengrass, dotnetcore2.0, python3.8, "
    "java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, provided, dotnetcore3.1, dotnet8, java25, java17, nodejs, "
    "nodejs4.3, java8.al2, go1.x, dotnet10, nodejs20.x, go1.9, byol, nodejs10.x, provided.al2023, nodejs22.x, python3.10, "
    "java8, nodejs12.x, python3.11, nodejs24.x, nodejs8.x, python3.12, nodejs14.x, nodejs8.9, nodejs26.x, python3.13, "
    "python3.14, nodejs16.x, python3.15, provided.al2, nodejs4.3-edge, nodejs18.x, ruby3.2, python3.4, ruby3.3, ruby3.4, "
    "ruby2.5, python3.6, python2.7"
)
MATCH = "Member must satisfy regular expression pattern: "
WEIGHT = "[Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, "


def create_function(**members):
    return {"FunctionName": "f", "Role": ROLE, "Code": {}, **members}


def create_alias(**members):
    return {"FunctionName": "f", "FunctionVersion": "1", "Name": "live", **members}


def weights(**weights):
    return create_alias(RoutingConfig={"AdditionalVersionWeights": weights})


def permission(**members):
    return {"FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*", **members}


def layer_permission(**members):
    return {"LayerName": "l", "VersionNumber": 1, "StatementId": "s", "Principal": "*", **members}


@pytest.mark.parametrize(
    ("operation", "request_", "violation"),
    [
        # TestLambdaAlias::test_alias_naming
        ("CreateAlias", create_alias(Name="2024"), f"Value '2024' at 'name'|{MATCH}(?!^[0-9]+$)([a-zA-Z0-9-_]+)"),
        # TestLambdaAlias::test_notfound_and_invalid_routingconfigs
        (
            "CreateAlias",
            weights(**{"2": 2.0}),
            "Value '{2=2.0}' at 'routingConfig.additionalVersionWeights'|"
            f"Map value must satisfy constraint: {WEIGHT}Member must not be null]",
        ),
        (
            "CreateAlias",
            weights(**{"2": -1.0}),
            "Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights'|"
            f"Map value must satisfy constraint: {WEIGHT}Member must not be null]",
        ),
        (
            "UpdateAlias",
            weights(**{"$LATEST": 0.5}),
            "Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights'|Map keys must satisfy constraint: "
            "[Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, "
            f"{MATCH}[0-9]+]",
        ),
        # TestLambdaEventSourceMappings::test_create_event_source_validation_kinesis
        (
            "CreateEventSourceMapping",
            {"FunctionName": "f", "StartingPosition": "invalid"},
            "Value 'invalid' at 'startingPosition'|"
            "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
        ),
        # TestLambdaFunction::test_create_lambda_exceptions, test_update_lambda_exceptions
        (
            "CreateFunction",
            create_function(Role="r1"),
            rf"Value 'r1' at 'role'|{MATCH}arn:(aws[a-zA-Z-]*)?:iam::\d{{12}}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        ),
        (
            "UpdateFunctionConfiguration",
            {"FunctionName": "f", "Role": "r1"},
            rf"Value 'r1' at 'role'|{MATCH}arn:(aws[a-zA-Z-]*)?:iam::\d{{12}}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        ),
        (
            "CreateFunction",
            create_function(Architectures=["x86_64", "arm64"]),
            "Value '[x86_64, arm64]' at 'architectures'|Member must have length less than or equal to 1",
        ),
        (
            "CreateFunction",
            create_function(Architectures=["X86_64"]),
            "Value '[X86_64]' at 'architectures'|Member must satisfy constraint: "
            "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        ),
        # TestLambdaFunction::test_invalid_invoke
        (
            "Invoke",
            {"FunctionName": "arn:aws:lambda:us-east-1:123400000000@function:myfn"},
            "Value 'arn:aws:lambda:us-east-1:123400000000@function:myfn' at 'functionName'|"
            f"{MATCH}{NAMESPACED_NAME_PATTERN}",
        ),
        # TestLambdaFunction::test_invalid_vpc_config_security_group
        (
            "CreateFunction",
            create_function(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["bad-group"]}),
            "Value '[bad-group]' at 'vpcConfig.securityGroupIds'|Member must satisfy constraint: "
            "[Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, "
            f"{MATCH}sg-[0-9a-zA-Z]*]",
        ),
        # TestLambdaFunction::test_list_functions
        (
            "ListFunctions",
            {"FunctionVersion": "invalid"},
            "Value 'invalid' at 'functionVersion'|Member must satisfy enum value set: [ALL]",
        ),
        # TestLambdaLayer::test_layer_exceptions
        (
            "ListLayers",
            {"CompatibleRuntime": "runtimedoesnotexist"},
            f"Value 'runtimedoesnotexist' at 'compatibleRuntime'|Member must satisfy enum value set: [{KNOWN_RUNTIMES}]",
        ),
        (
            "ListLayers",
            {"CompatibleArchitecture": "archdoesnotexist"},
            "Value 'archdoesnotexist' at 'compatibleArchitecture'|Member must satisfy enum value set: [x86_64, arm64]",
        ),
        (
            "GetLayerVersionByArn",
            {"Arn": LAYER_ARN},
            f"Value '{LAYER_ARN}' at 'arn'|{MATCH}{LAYER_VERSION_PATTERN}",
        ),
        # TestLambdaLayer::test_layer_function_exceptions
        (
            "CreateFunction",
            create_function(Layers=[LAYER_ARN]),
            f"Value '[{LAYER_ARN}]' at 'layers'|Member must satisfy constraint: "
            "[Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, "
            f"{MATCH}{LAYER_VERSION_PATTERN}, Member must not be null]",
        ),
        # TestLambdaLayer::test_layer_policy_exceptions
        (
            "AddLayerVersionPermission",
            layer_permission(Action="*"),
            f"Value '*' at 'action'|{MATCH}lambda:GetLayerVersion",
        ),
        # TestLambdaPermissions::test_permission_exceptions
        (
            "AddPermission",
            permission(StatementId="example.com"),
            f"Value 'example.com' at 'statementId'|{MATCH}([a-zA-Z0-9-_]+)",
        ),
        (
            "AddPermission",
            permission(Qualifier="invalid-qualifier-with-?-char"),
            rf"Value 'invalid-qualifier-with-?-char' at 'qualifier'|{MATCH}\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
        ),
        # TestLambdaProvisionedConcurrency::test_provisioned_concurrency_exceptions
        (
            "PutProvisionedConcurrencyConfig",
            {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 0},
            "Value '0' at 'provisionedConcurrentExecutions'|Member must have value greater than or equal to 1",
        ),
        # TestLambdaTag::test_tag_exceptions
        (
            "TagResource",
            {"Resource": "arn:aws:lambda:us-east-1:111111111111:foobar:x", "Tags": {"a": "b"}},
            f"Value 'arn:aws:lambda:us-east-1:111111111111:foobar:x' at 'resource'|{MATCH}{TAGGABLE_PATTERN}",
        ),
        # Not recorded here; seen in public issue trackers (serverless-secrets#39): the map is sensitive, so not shown.
        (
            "CreateFunction",
            create_function(Environment={"Variables": {"9_LIVES": "secret"}}),
            f"Value at 'environment.variables'|Map keys must satisfy constraint: [{MATCH}[a-zA-Z]([a-zA-Z0-9_])+]",
        ),
        # The general forms, as AWS's services print them: a missing member, a structure in a list, a blob, an odd name.
        ("CreateFunction", {"FunctionName": "f", "Code": {}}, "Value null at 'role'|Member must not be null"),
        (
            "CreateEventSourceMapping",
            {"FunctionName": "f", "FilterCriteria": {"Filters": [{"Pattern": "{}"}, {"Pattern": "x" * 4097}]}},
            f"Value '{'x' * 4097}' at 'filterCriteria.filters.2.member.pattern'|"
            "Member must have length less than or equal to 4096",
        ),
        (
            "CreateFunction",
            create_function(KMSKeyArn="key"),
            f"Value 'key' at 'kMSKeyArn'|{MATCH}(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()",
        ),
    ],
)
def test_one_broken_constraint(operation, request_, violation):
    with pytest.raises(ValidationException) as refused:
        validate(operation, request_)
    where, _, what = violation.partition("|")
    assert refused.value.message == f"1 validation error detected: {where} failed to satisfy constraint: {what}"


@pytest.mark.parametrize(
    ("runtimes", "architectures"),
    [
        (["invalidruntime"], ["invalidarch"]),
        (["invalidruntime", "invalidruntime2", "nodejs20.x"], ["invalidarch", "x86_64"]),
    ],
)
def test_several_violations_come_in_the_order_of_the_model(runtimes, architectures):
    """Recorded: TestLambdaLayer::test_layer_exceptions, publish_layer_version_exc_*."""
    request = {
        "CompatibleArchitectures": architectures,
        "CompatibleRuntimes": runtimes,
        "Content": {"ZipFile": b""},
        "LayerName": "tools",
    }
    with pytest.raises(ValidationException) as refused:
        validate("PublishLayerVersion", request)
    assert refused.value.message == (
        f"2 validation errors detected: Value '[{', '.join(runtimes)}]' at 'compatibleRuntimes' failed to satisfy "
        f"constraint: Member must satisfy enum value set: [{', '.join(SUPPORTED)}]; "
        f"Value '[{', '.join(architectures)}]' at 'compatibleArchitectures' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )


@pytest.mark.parametrize("runtime", ["nodejs14.x", "python3.7", "java8", "go1.x", "provided"])
def test_a_layer_may_be_for_deprecated_runtimes_that_the_message_does_not_name(runtime):
    """Recorded: test_layer_compatibilities; the message of test_layer_exceptions lists none of them."""
    request = {"CompatibleRuntimes": [runtime], "Content": {"ZipFile": b""}, "LayerName": "tools"}
    validate("PublishLayerVersion", request)
    with pytest.raises(ValidationException) as refused:
        validate("PublishLayerVersion", request | {"CompatibleRuntimes": [runtime, "other"]})
    assert f"Member must satisfy enum value set: [{', '.join(SUPPORTED)}]" in refused.value.message
    assert runtime not in SUPPORTED


def test_a_value_that_breaks_pattern_and_length_is_named_twice_the_pattern_first():
    """In the order that AWS's services show where it is public (DynamoDB's tableName, STS's roleArn)."""
    with pytest.raises(ValidationException) as refused:
        validate("GetFunction", {"FunctionName": ""})
    assert refused.value.message == (
        f"2 validation errors detected: Value '' at 'functionName' failed to satisfy constraint: {MATCH}"
        f"{NAMESPACED_NAME_PATTERN}; Value '' at 'functionName' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )


@pytest.mark.parametrize("runtime", ["no-such-runtime", "nodejs12.x"])
def test_the_runtime_of_a_function_is_not_a_constraint_of_the_model(runtime):
    """Recorded: TestLambdaFunction::test_create_lambda_exceptions answers InvalidParameterValueException for it."""
    validate("CreateFunction", create_function(Runtime=runtime))


def test_a_null_among_security_groups_is_the_services_business_and_among_layers_the_models():
    validate("CreateFunction", create_function(VpcConfig={"SecurityGroupIds": [None]}))
    with pytest.raises(ValidationException, match=r"Value '\[null\]' at 'layers'"):
        validate("CreateFunction", create_function(Layers=[None]))


def test_the_error_has_a_message_and_no_type():
    """Recorded: every ValidationException has the message alone."""
    with pytest.raises(ValidationException) as refused:
        validate("ListFunctions", {"FunctionVersion": "x"})
    assert list(refused.value.fields()) == ["message"]
    assert refused.value.status_code == 400


def test_tags_take_letters_numbers_and_spaces_of_any_script():
    validate("TagResource", {"Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "Tags": {"名前 ١": "é_@"}})
    with pytest.raises(ValidationException, match="Map value must satisfy constraint"):
        validate("TagResource", {"Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "Tags": {"a": "b#"}})
