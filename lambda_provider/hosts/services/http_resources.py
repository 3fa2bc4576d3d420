"""`AWS::ApiGatewayV2::*`, as far as functions are behind it, in calls of its API. Moto makes none of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lambda_provider.hosts.services.openapi import (
    AUTHORIZER,
    INTEGRATION,
    capital,
    operations_of,
    schemes_of,
    security_of,
)
from lambda_provider.hosts.services.resources import Resource


class HttpApi(Resource):
    """An HTTP API, with what its OpenAPI document describes."""

    TYPE = "AWS::ApiGatewayV2::Api"
    SERVICE = "apigatewayv2"
    ATTRIBUTES = ("ApiId", "ApiEndpoint")

    def create(self) -> None:
        body = self.properties.get("Body") or {}
        cors = self.properties.get("CorsConfiguration") or body.get("x-amazon-apigateway-cors")
        name = self.properties.get("Name") or (body.get("info") or {}).get("title") or self.name
        optional = {"CorsConfiguration": capital(cors)} if cors else {}
        made = self.client.create_api(Name=name, ProtocolType=self.properties.get("ProtocolType") or "HTTP", **optional)
        self.physical_resource_id = made["ApiId"]
        self.attributes = {"ApiId": made["ApiId"], "ApiEndpoint": made["ApiEndpoint"]}
        if target := self.properties.get("Target"):
            self._route(self.properties.get("RouteKey") or "$default", {"type": "AWS_PROXY", "uri": target}, {})
            self.client.create_stage(ApiId=made["ApiId"], StageName="$default", AutoDeploy=True)
        self._describe(body)

    def update(self, before: Mapping[str, Any]) -> None:
        api, client = {"ApiId": self.physical_resource_id}, self.client
        if self.properties.get("CorsConfiguration") != before.get("CorsConfiguration"):
            client.update_api(**api, CorsConfiguration=capital(self.properties.get("CorsConfiguration") or {}))
        if self.properties.get("Body") == before.get("Body"):
            return
        for route in client.get_routes(**api)["Items"]:
            client.delete_route(**api, RouteId=route["RouteId"])
        for integration in client.get_integrations(**api)["Items"]:
            client.delete_integration(**api, IntegrationId=integration["IntegrationId"])
        for authorizer in client.get_authorizers(**api)["Items"]:
            client.delete_authorizer(**api, AuthorizerId=authorizer["AuthorizerId"])
        self._describe(self.properties.get("Body") or {})

    def remove(self) -> None:
        self.client.delete_api(ApiId=self.physical_resource_id)

    def _describe(self, document: Mapping[str, Any]) -> None:
        authorizers = {
            name: self._authorizer(name, scheme)
            for name, scheme in schemes_of(document).items()
            if AUTHORIZER in scheme
        }
        for path, verb, operation in operations_of(document):
            key = "$default" if path == "/$default" else f"{verb} {path}"
            wanted = [authorizers[name] for name in security_of(operation, document) if name in authorizers]
            authorization = {"AuthorizerId": wanted[0][0], "AuthorizationType": wanted[0][1]} if wanted else {}
            if integration := operation.get(INTEGRATION):
                self._route(key, integration, authorization)

    def _route(self, key: str, integration: Mapping[str, Any], authorization: Mapping[str, Any]) -> None:
        optional = {"TimeoutInMillis": int(integration["timeoutInMillis"])} if "timeoutInMillis" in integration else {}
        made = self.client.create_integration(
            ApiId=self.physical_resource_id,
            IntegrationType=str(integration["type"]).upper(),
            IntegrationUri=integration["uri"],
            IntegrationMethod="POST",
            PayloadFormatVersion=str(integration.get("payloadFormatVersion") or "2.0"),
            **optional,
        )
        target = f"integrations/{made['IntegrationId']}"
        self.client.create_route(ApiId=self.physical_resource_id, RouteKey=key, Target=target, **authorization)

    def _authorizer(self, name: str, scheme: Mapping[str, Any]) -> tuple[str, str]:
        described = scheme[AUTHORIZER]
        kind = str(described.get("type", "request")).upper()
        sources = described.get("identitySource") or "$request.header.Authorization"
        parameters: dict[str, Any] = {
            "ApiId": self.physical_resource_id,
            "Name": name,
            "AuthorizerType": kind,
            "IdentitySource": re.split(r"\s*,\s*", sources) if isinstance(sources, str) else sources,
        }
        if kind == "JWT":
            parameters["JwtConfiguration"] = capital(described.get("jwtConfiguration") or {})
        else:
            parameters["AuthorizerUri"] = described["authorizerUri"]
            parameters["AuthorizerPayloadFormatVersion"] = str(described.get("authorizerPayloadFormatVersion") or "2.0")
            parameters["EnableSimpleResponses"] = described.get("enableSimpleResponses") in (True, "true")
        made = self.client.create_authorizer(**parameters)
        return made["AuthorizerId"], "JWT" if kind == "JWT" else "CUSTOM"


class _PartOfHttpApi(Resource):
    """A part of an HTTP API that is made and deleted by calls of one name."""

    SERVICE = "apigatewayv2"
    KIND: str
    FIXED = ("*",)

    def create(self) -> None:
        made = getattr(self.client, f"create_{self.KIND.lower()}")(**self.request(f"Create{self.KIND}"))
        self.physical_resource_id = made[f"{self.KIND}Id"]
        self.attributes = {f"{self.KIND}Id": self.physical_resource_id}

    def remove(self) -> None:
        identity = {"ApiId": self.properties["ApiId"], f"{self.KIND}Id": self.physical_resource_id}
        getattr(self.client, f"delete_{self.KIND.lower()}")(**identity)


class HttpIntegration(_PartOfHttpApi):
    """What a route of an HTTP API leads to."""

    TYPE = "AWS::ApiGatewayV2::Integration"
    KIND = "Integration"
    ATTRIBUTES = ("IntegrationId",)


class HttpRoute(_PartOfHttpApi):
    """A route of an HTTP API."""

    TYPE = "AWS::ApiGatewayV2::Route"
    KIND = "Route"
    ATTRIBUTES = ("RouteId",)


class HttpAuthorizer(_PartOfHttpApi):
    """Who decides who may call an HTTP API."""

    TYPE = "AWS::ApiGatewayV2::Authorizer"
    KIND = "Authorizer"
    ATTRIBUTES = ("AuthorizerId",)


class HttpStage(Resource):
    """A stage of an HTTP API."""

    TYPE = "AWS::ApiGatewayV2::Stage"
    SERVICE = "apigatewayv2"
    FIXED = ("ApiId", "StageName")

    def create(self) -> None:
        variables = {"StageVariables": self.properties["StageVariables"]} if "StageVariables" in self.properties else {}
        self.client.create_stage(**self._stage(), AutoDeploy=True, **variables)
        self.physical_resource_id = self.properties["StageName"]

    def update(self, before: Mapping[str, Any]) -> None:
        if self.properties.get("StageVariables") != before.get("StageVariables"):
            self.remove()
            self.create()

    def remove(self) -> None:
        self.client.delete_stage(**self._stage())

    def _stage(self) -> dict[str, Any]:
        return {"ApiId": self.properties["ApiId"], "StageName": self.properties["StageName"]}


RESOURCES: tuple[type[Resource], ...] = (HttpApi, HttpIntegration, HttpRoute, HttpAuthorizer, HttpStage)
