"""`AWS::ApiGateway::*`, as far as functions are behind it, in calls of its API.

Moto makes a part of it, and of an OpenAPI document it leaves out who may call.
"""

from __future__ import annotations

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


class RestApi(Resource):
    """A REST API, with what its OpenAPI document describes."""

    TYPE = "AWS::ApiGateway::RestApi"
    SERVICE = "apigateway"
    NAME = "Name"
    ATTRIBUTES = ("RootResourceId", "RestApiId")

    def create(self) -> None:
        body = self.properties.get("Body") or {}
        name = self.properties.get("Name") or (body.get("info") or {}).get("title") or self.name
        optional = {
            "description": self.properties.get("Description"),
            "binaryMediaTypes": self.properties.get("BinaryMediaTypes")
            or body.get("x-amazon-apigateway-binary-media-types"),
        }
        given = {key: value for key, value in optional.items() if value}
        made = self.client.create_rest_api(name=name, **given)
        self.physical_resource_id = made["id"]
        root = next(
            each["id"] for each in self.client.get_resources(restApiId=made["id"])["items"] if each["path"] == "/"
        )
        self.attributes = {"RootResourceId": root, "RestApiId": made["id"]}
        self._describe(body)

    def update(self, before: Mapping[str, Any]) -> None:
        if self.properties.get("Body") == before.get("Body"):
            return
        api = {"restApiId": self.physical_resource_id}
        for resource in self.client.get_resources(**api, limit=500)["items"]:
            if resource["path"].count("/") == 1 and resource["path"] != "/":
                self._delete_tree(resource["id"])
            for verb in (resource.get("resourceMethods") or {}) if resource["path"] == "/" else ():
                self.client.delete_method(**api, resourceId=resource["id"], httpMethod=verb)
        for authorizer in self.client.get_authorizers(**api)["items"]:
            self.client.delete_authorizer(**api, authorizerId=authorizer["id"])
        self._describe(self.properties.get("Body") or {})

    def remove(self) -> None:
        self.client.delete_rest_api(restApiId=self.physical_resource_id)

    def _delete_tree(self, resource_id: str) -> None:
        api = {"restApiId": self.physical_resource_id}
        for each in self.client.get_resources(**api, limit=500)["items"]:
            if each.get("parentId") == resource_id:
                self._delete_tree(each["id"])
        self.client.delete_resource(**api, resourceId=resource_id)

    def _describe(self, document: Mapping[str, Any]) -> None:
        """Make what an OpenAPI document names."""
        api = {"restApiId": self.physical_resource_id}
        authorizers = {
            name: self._authorizer(name, scheme)
            for name, scheme in schemes_of(document).items()
            if AUTHORIZER in scheme
        }
        paths = {"/": self.attributes["RootResourceId"]}
        for path, verb, operation in operations_of(document):
            where = ""
            for part in filter(None, path.split("/")):
                parent, where = paths[where or "/"], f"{where}/{part}"
                if where not in paths:
                    paths[where] = self.client.create_resource(**api, parentId=parent, pathPart=part)["id"]
            method = {**api, "resourceId": paths[where or "/"], "httpMethod": verb}
            wanted = security_of(operation, document)
            found = next((authorizers[name] for name in wanted if name in authorizers), None)
            authorization = (
                {"authorizationType": found[1], "authorizerId": found[0]} if found else {"authorizationType": "NONE"}
            )
            key = any(
                schemes_of(document).get(name, {}).get("in") == "header" and name not in authorizers for name in wanted
            )
            self.client.put_method(**method, **authorization, apiKeyRequired=key)
            if integration := operation.get(INTEGRATION):
                put_integration(
                    self.client, method, {name[:1].upper() + name[1:]: value for name, value in integration.items()}
                )

    def _authorizer(self, name: str, scheme: Mapping[str, Any]) -> tuple[str, str]:
        described = scheme[AUTHORIZER]
        kind = str(described.get("type", "token")).upper()
        parameters: dict[str, Any] = {
            "restApiId": self.physical_resource_id,
            "name": name,
            "type": kind,
            "identitySource": described.get("identitySource")
            or f"method.request.header.{scheme.get('name', 'Authorization')}",
        }
        for ours, theirs in (("authorizerUri", "authorizerUri"), ("providerARNs", "providerARNs"),
                             ("identityValidationExpression", "identityValidationExpression")):  # fmt: skip
            if ours in described:
                parameters[theirs] = described[ours]
        made = self.client.create_authorizer(**parameters)
        return made["id"], "COGNITO_USER_POOLS" if kind == "COGNITO_USER_POOLS" else "CUSTOM"


def put_integration(client: Any, method: Mapping[str, Any], integration: Mapping[str, Any]) -> None:
    """Give a method its integration, with the responses of one without proxy."""
    parameters: dict[str, Any] = {"type": str(integration["Type"]).upper()}
    verb = integration.get("IntegrationHttpMethod") or integration.get("HttpMethod")
    for name, value in (
        ("integrationHttpMethod", verb),
        ("uri", integration.get("Uri")),
        ("requestTemplates", integration.get("RequestTemplates")),
        ("requestParameters", integration.get("RequestParameters")),
        ("passthroughBehavior", integration.get("PassthroughBehavior")),
        ("credentials", integration.get("Credentials")),
    ):
        if value:
            parameters[name] = value.upper() if name == "passthroughBehavior" else value
    if integration.get("TimeoutInMillis"):
        parameters["timeoutInMillis"] = int(integration["TimeoutInMillis"])
    client.put_integration(**method, **parameters)
    responses = integration.get("IntegrationResponses") or integration.get("Responses") or []
    if isinstance(responses, Mapping):
        responses = [
            {"SelectionPattern": "" if key == "default" else key, **capital(each)} for key, each in responses.items()
        ]
    for response in responses:
        status = str(response.get("StatusCode") or 200)
        client.put_method_response(**method, statusCode=status)
        optional = {
            "selectionPattern": response.get("SelectionPattern"),
            "responseParameters": response.get("ResponseParameters"),
            "responseTemplates": response.get("ResponseTemplates"),
        }
        given = {name: value for name, value in optional.items() if value}
        client.put_integration_response(**method, statusCode=status, **given)


class Method(Resource):
    """A method of a REST API."""

    TYPE = "AWS::ApiGateway::Method"
    SERVICE = "apigateway"
    FIXED = ("RestApiId", "ResourceId", "HttpMethod")

    def create(self) -> None:
        optional = {
            "authorizerId": self.properties.get("AuthorizerId"),
            "operationName": self.properties.get("OperationName"),
            "requestParameters": self.properties.get("RequestParameters"),
        }
        given = {name: value for name, value in optional.items() if value}
        key = self.properties.get("ApiKeyRequired") in (True, "true")
        kind = self.properties.get("AuthorizationType") or "NONE"
        self.client.put_method(**self._method(), authorizationType=kind, apiKeyRequired=key, **given)
        if integration := self.properties.get("Integration"):
            put_integration(self.client, self._method(), integration)

    def update(self, before: Mapping[str, Any]) -> None:
        self.remove()
        self.create()

    def remove(self) -> None:
        self.client.delete_method(**self._method())

    def _method(self) -> dict[str, Any]:
        return {
            "restApiId": self.properties["RestApiId"],
            "resourceId": self.properties["ResourceId"],
            "httpMethod": self.properties["HttpMethod"],
        }


class Deployment(Resource):
    """A deployment of a REST API; what it deploys is what the API is at any time."""

    TYPE = "AWS::ApiGateway::Deployment"
    SERVICE = "apigateway"
    FIXED = ("*",)
    ATTRIBUTES = ("DeploymentId",)

    def create(self) -> None:
        names = {"stageName": "StageName", "description": "Description"}
        given = {ours: self.properties[theirs] for ours, theirs in names.items() if theirs in self.properties}
        self.physical_resource_id = self.client.create_deployment(restApiId=self.properties["RestApiId"], **given)["id"]
        self.attributes = {"DeploymentId": self.physical_resource_id}

    def remove(self) -> None:
        api = {"restApiId": self.properties["RestApiId"]}
        if stage := self.properties.get("StageName"):
            self.client.delete_stage(**api, stageName=stage)
        self.client.delete_deployment(**api, deploymentId=self.physical_resource_id)


class Stage(Resource):
    """A stage of a REST API."""

    TYPE = "AWS::ApiGateway::Stage"
    SERVICE = "apigateway"
    FIXED = ("RestApiId", "StageName")

    def create(self) -> None:
        optional = {"variables": self.properties.get("Variables"), "description": self.properties.get("Description")}
        given = {name: value for name, value in optional.items() if value}
        self.client.create_stage(**self._stage(), deploymentId=self.properties["DeploymentId"], **given)
        self.physical_resource_id = self.properties["StageName"]

    def update(self, before: Mapping[str, Any]) -> None:
        patches = [{"op": "replace", "path": "/deploymentId", "value": self.properties["DeploymentId"]}]
        for name, value in (self.properties.get("Variables") or {}).items():
            patches.append({"op": "replace", "path": f"/variables/{name}", "value": str(value)})
        for name in before.get("Variables") or {}:
            if name not in (self.properties.get("Variables") or {}):
                patches.append({"op": "remove", "path": f"/variables/{name}"})
        self.client.update_stage(**self._stage(), patchOperations=patches)

    def remove(self) -> None:
        self.client.delete_stage(**self._stage())

    def _stage(self) -> dict[str, Any]:
        return {"restApiId": self.properties["RestApiId"], "stageName": self.properties["StageName"]}


class Authorizer(Resource):
    """Who decides who may call a REST API."""

    TYPE = "AWS::ApiGateway::Authorizer"
    SERVICE = "apigateway"
    FIXED = ("*",)
    ATTRIBUTES = ("AuthorizerId",)

    def create(self) -> None:
        made = self.client.create_authorizer(**self.request("CreateAuthorizer"))
        self.physical_resource_id = made["id"]
        self.attributes = {"AuthorizerId": made["id"]}

    def remove(self) -> None:
        self.client.delete_authorizer(restApiId=self.properties["RestApiId"], authorizerId=self.physical_resource_id)


RESOURCES: tuple[type[Resource], ...] = (RestApi, Method, Deployment, Stage, Authorizer)
