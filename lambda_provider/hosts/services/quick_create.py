"""HTTP APIs that are created with a target: AWS makes their integration, route and stage at once, moto only the API.

https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis.html, "Create Api": `target` and `routeKey`
"""

from __future__ import annotations

import json
from typing import Any

from lambda_provider.hosts.services.patches import replace

_DEFAULT = "$default"


def install() -> None:
    """Have moto's API Gateway make what a target needs."""
    from moto.apigatewayv2.responses import ApiGatewayV2Response

    replace(ApiGatewayV2Response, "create_api", "self", _with_target)


def _with_target(create_api: Any) -> Any:
    def create(self: Any) -> Any:
        answer = create_api(self)
        request = json.loads(self.body)
        if target := request.get("target"):
            _connect(self.apigatewayv2_backend.get_api(json.loads(answer[2])["apiId"]), target, request)
        return answer

    return create


def _connect(api: Any, target: str, request: dict[str, Any]) -> None:
    to_function = target.startswith("arn:")
    integration = api.create_integration(
        connection_type="INTERNET",
        description=None,
        integration_method="POST" if to_function else "ANY",
        integration_type="AWS_PROXY" if to_function else "HTTP_PROXY",
        integration_uri=target,
        credentials_arn=request.get("credentialsArn"),
        payload_format_version="2.0" if to_function else "1.0",
    )
    api.create_route(
        api_key_required=False,
        authorization_scopes=[],
        route_key=request.get("routeKey") or _DEFAULT,
        target=f"integrations/{integration.id}",
        authorization_type="NONE",
    )
    api.create_stage({"stageName": _DEFAULT, "autoDeploy": True})
