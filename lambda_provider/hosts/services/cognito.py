"""Triggers of Cognito user pools that decide about sign-up, sign-in and tokens.

https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-working-with-lambda-triggers.html. Triggers for
custom challenges, messages and the migration of users are not run: moto has nothing that would ask them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from lambda_provider.hosts.services.link import Origin, link
from lambda_provider.hosts.services.patches import replace

PRINCIPAL = "cognito-idp.amazonaws.com"
_WITH_PASSWORD = ("USER_PASSWORD_AUTH", "USER_SRP_AUTH", "ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH")


class _Signing(threading.local):
    """For what tokens are made in this thread."""

    source = "TokenGeneration_Authentication"


_signing = _Signing()


def install() -> None:
    """Have moto's Cognito ask our functions."""
    from moto.cognitoidp import models

    def signing_up(sign_up: Any) -> Any:
        def sign(self: Any, client_id: str, username: str, password: str, attributes: Any) -> Any:
            pool = _pool_of(self, client_id)
            given = _attributes(attributes)
            request = {"userAttributes": given, "validationData": None}
            answer = _pre_sign_up(pool, "PreSignUp_SignUp", username, client_id, request) if pool is not None else {}
            user, details = sign_up(self, client_id, username, password, attributes)
            _verify(user, answer)
            if answer.get("autoConfirmUser"):
                user.status = models.UserStatus.CONFIRMED
                _confirmed(pool, user, client_id)
            return user, details

        return sign

    def creating(create: Any) -> Any:
        def admin_create_user(
            self: Any, user_pool_id: str, username: str, message_action: str, temporary_password: str, attributes: Any
        ) -> Any:
            pool = self.describe_user_pool(user_pool_id)
            answer: Mapping[str, Any] = {}
            if message_action != "RESEND":
                request = {"userAttributes": _attributes(attributes), "validationData": None}
                answer = _pre_sign_up(pool, "PreSignUp_AdminCreateUser", username, "CLIENT_ID_NOT_APPLICABLE", request)
            user = create(self, user_pool_id, username, message_action, temporary_password, attributes)
            _verify(user, answer)
            return user

        return admin_create_user

    def confirming(confirm: Any) -> Any:
        def confirm_sign_up(self: Any, client_id: str, username: str) -> Any:
            result = confirm(self, client_id, username)
            pool = _pool_of(self, client_id)
            _confirmed(pool, self.admin_get_user(pool.id, username), client_id)
            return result

        return confirm_sign_up

    def confirming_as_admin(confirm: Any) -> Any:
        def admin_confirm_sign_up(self: Any, user_pool_id: str, username: str) -> Any:
            result = confirm(self, user_pool_id, username)
            pool = self.describe_user_pool(user_pool_id)
            _confirmed(pool, self.admin_get_user(user_pool_id, username), "CLIENT_ID_NOT_APPLICABLE")
            return result

        return admin_confirm_sign_up

    def initiating(initiate: Any) -> Any:
        def initiate_auth(self: Any, client_id: str, auth_flow: str, auth_parameters: Mapping[str, str]) -> Any:
            _before_sign_in(_pool_of(self, client_id), client_id, auth_flow, auth_parameters)
            return initiate(self, client_id, auth_flow, auth_parameters)

        return initiate_auth

    def initiating_as_admin(initiate: Any) -> Any:
        def admin_initiate_auth(
            self: Any, user_pool_id: str, client_id: str, auth_flow: str, auth_parameters: Mapping[str, str]
        ) -> Any:
            _before_sign_in(self.describe_user_pool(user_pool_id), client_id, auth_flow, auth_parameters)
            return initiate(self, user_pool_id, client_id, auth_flow, auth_parameters)

        return admin_initiate_auth

    def signing_in(create: Any) -> Any:
        # The first token of a sign-in, and of nothing else.
        def create_refresh_token(self: Any, client_id: str, username: str) -> Any:
            user = self._get_user(username)
            request = {"userAttributes": _of_user(user), "newDeviceUsed": False}
            _ask(self, "PostAuthentication", "PostAuthentication_Authentication", user.username, client_id, request)
            return create(self, client_id, username)

        return create_refresh_token

    def refreshing(refresh: Any) -> Any:
        def create_tokens_from_refresh_token(self: Any, refresh_token: str) -> Any:
            _signing.source = "TokenGeneration_RefreshTokens"
            try:
                return refresh(self, refresh_token)
            finally:
                _signing.source = "TokenGeneration_Authentication"

        return create_tokens_from_refresh_token

    def making_tokens(create: Any) -> Any:
        def create_jwt(
            self: Any, client_id: str, username: str, token_use: str, expires_in: int = 3600, extra_data: Any = None
        ) -> Any:
            changed = claims_for(self, client_id, username, token_use, dict(extra_data or {}))
            return create(self, client_id, username, token_use, expires_in=expires_in, extra_data=changed)

        return create_jwt

    backend, pool = models.CognitoIdpBackend, models.CognitoIdpUserPool
    replace(backend, "sign_up", "self client_id username password attributes", signing_up)
    replace(
        backend,
        "admin_create_user",
        "self user_pool_id username message_action temporary_password attributes",
        creating,
    )
    replace(backend, "confirm_sign_up", "self client_id username", confirming)
    replace(backend, "admin_confirm_sign_up", "self user_pool_id username", confirming_as_admin)
    replace(backend, "initiate_auth", "self client_id auth_flow auth_parameters", initiating)
    replace(
        backend, "admin_initiate_auth", "self user_pool_id client_id auth_flow auth_parameters", initiating_as_admin
    )
    replace(pool, "create_refresh_token", "self client_id username", signing_in)
    replace(pool, "create_tokens_from_refresh_token", "self refresh_token", refreshing)
    replace(pool, "create_jwt", "self client_id username token_use expires_in extra_data", making_tokens)


def claims_for(pool: Any, client_id: str, username: str, token_use: str, claims: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token, once the trigger of the pool has changed them. The first version of it changes ID tokens alone."""
    arn, version = _token_trigger(pool)
    if arn is None or (version == "V1_0" and token_use != "id"):
        return claims
    user = pool._get_user(username)
    groups = {
        "groupsToOverride": [group.group_name for group in user.groups],
        "iamRolesToOverride": [group.role_arn for group in user.groups if group.role_arn],
        "preferredRole": None,
    }
    request: dict[str, Any] = {"userAttributes": _of_user(user), "groupConfiguration": groups}
    if version != "V1_0":
        request["scopes"] = str(claims.get("scope", "")).split()
    answer = _run(pool, arn, _signing.source, user.username, client_id, request, version[1:2])
    if version == "V1_0":
        details = answer.get("claimsOverrideDetails") or {}
        changes = details
    else:
        details = answer.get("claimsAndScopeOverrideDetails") or {}
        changes = details.get("idTokenGeneration" if token_use == "id" else "accessTokenGeneration") or {}
    claims.update(changes.get("claimsToAddOrOverride") or {})
    for name in changes.get("claimsToSuppress") or ():
        claims.pop(name, None)
    if (override := (details.get("groupOverrideDetails") or {}).get("groupsToOverride")) is not None:
        claims["cognito:groups"] = override
    if token_use == "access" and "scope" in claims:
        removed = set(changes.get("scopesToSuppress") or ())
        scopes = [each for each in claims["scope"].split() if each not in removed]
        claims["scope"] = " ".join([*scopes, *(changes.get("scopesToAdd") or ())])
    return claims


def _token_trigger(pool: Any) -> tuple[str | None, str]:
    config = pool.extended_config.get("LambdaConfig") or {}
    new = config.get("PreTokenGenerationConfig")
    if new:
        return new["LambdaArn"], new.get("LambdaVersion", "V1_0")
    return config.get("PreTokenGeneration"), "V1_0"


def _pool_of(backend: Any, client_id: str) -> Any:
    return next((pool for pool in backend.user_pools.values() if client_id in pool.clients), None)


def _pre_sign_up(
    pool: Any, source: str, username: str, client_id: str, request: Mapping[str, Any]
) -> Mapping[str, Any]:
    expected = {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False}
    return _ask(pool, "PreSignUp", source, username, client_id, request, expected)


def _verify(user: Any, answer: Mapping[str, Any]) -> None:
    verified = {"autoVerifyEmail": "email_verified", "autoVerifyPhone": "phone_number_verified"}
    if told := [{"Name": name, "Value": "true"} for key, name in verified.items() if answer.get(key)]:
        user.update_attributes(told)


def _confirmed(pool: Any, user: Any, client_id: str) -> None:
    request = {"userAttributes": _of_user(user)}
    _ask(pool, "PostConfirmation", "PostConfirmation_ConfirmSignUp", user.username, client_id, request)


def _before_sign_in(pool: Any, client_id: str, flow: str, parameters: Mapping[str, str]) -> None:
    if pool is None or str(getattr(flow, "value", flow)) not in _WITH_PASSWORD:
        return
    user = pool._get_user(parameters.get("USERNAME"))
    if user is not None:
        request = {"userAttributes": _of_user(user), "validationData": None}
        _ask(pool, "PreAuthentication", "PreAuthentication_Authentication", user.username, client_id, request)


def _ask(
    pool: Any,
    trigger: str,
    source: str,
    username: str,
    client_id: str,
    request: Mapping[str, Any],
    response: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """What the function of a trigger responds; nothing if the pool has none. Raises AWS's error when it refuses."""
    arn = (pool.extended_config.get("LambdaConfig") or {}).get(trigger)
    if not arn:
        return {}
    return _run(pool, arn, source, username, client_id, request, "1", response or {})


def _run(
    pool: Any,
    arn: str,
    source: str,
    username: str,
    client_id: str,
    request: Mapping[str, Any],
    version: str,
    response: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    from moto.core.exceptions import JsonRESTError

    event = {
        "version": version,
        "triggerSource": source,
        "region": pool.region,
        "userPoolId": pool.id,
        "userName": username,
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": client_id},
        "request": request,
        "response": response or {},
    }
    trigger = source.partition("_")[0]
    answer = link().invoke(arn, event, Origin(account_id=pool.account_id, service=PRINCIPAL, arn=pool.arn))
    if answer.error is not None:
        raise JsonRESTError("UnexpectedLambdaException", f"{trigger} failed with error {answer.message}.")
    result = json.loads(answer.payload or b"null")
    if answer.function_error is not None:
        told = result.get("errorMessage", "") if isinstance(result, dict) else ""
        raise JsonRESTError("UserLambdaValidationException", f"{trigger} failed with error {told}.")
    if not isinstance(result, dict) or not isinstance(result.get("response", {}), dict):
        raise JsonRESTError("InvalidLambdaResponseException", "Unrecognizable lambda output")
    return dict(result.get("response") or {})


def _attributes(attributes: Any) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in attributes or ()}


def _of_user(user: Any) -> dict[str, str]:
    return {"sub": user.id, "cognito:user_status": user.status.value, **_attributes(user.attributes)}
