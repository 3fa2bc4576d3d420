"""In moto's process: whose account a request is for, and functions' execution roles as moto has to know them."""

from __future__ import annotations

import hashlib
import threading

from lambda_provider.context import DEFAULT_ACCOUNT_ID
from lambda_provider.hosts.credentials import RoleSession, access_key_of, account_of, secret_of, session_of

_registering = threading.Lock()


def account_for(authorization: str, query: str, session_token: str, named: str | None) -> str:
    """The account of a request: that of its access key, the one the client named in moto's own header, or the default.

    Keys that moto issued (IAM users, assumed roles) are looked up in moto. Credentials that a function got are made known to
    moto when they are first seen, so that moto answers `sts:GetCallerIdentity`, and checks policies if it is told to, as if
    its own STS had issued them.
    """
    key = access_key_of(authorization, query)
    if key and (account := account_of(key)):
        if session_token and (session := session_of(key, session_token)):
            _make_known(account, key, session_token, session)
        return account
    if named:
        return named
    if not key:
        return DEFAULT_ACCOUNT_ID
    from moto.iam import models

    # Moto answers its own default account for keys that it does not know.
    vars(models)["DEFAULT_ACCOUNT_ID"] = DEFAULT_ACCOUNT_ID
    return str(models.get_account_id_from(key))


def _make_known(account: str, access_key_id: str, session_token: str, session: RoleSession) -> None:
    from moto.iam.exceptions import NotFoundException
    from moto.iam.models import iam_backends
    from moto.sts.models import AssumedRole, sts_backends
    from moto.utilities.utils import get_partition

    class FunctionRole(AssumedRole):
        """Moto makes up a new id for a role that does not exist each time it is asked."""

        @property
        def user_id(self) -> str:
            try:
                role_id = iam.get_role_by_arn(self.role_arn).id
            except NotFoundException:
                role_id = "AROA" + hashlib.sha256(self.role_arn.encode()).hexdigest()[:17].upper()
            return f"{role_id}:{self.session_name}"

    partition = get_partition(session.region)
    iam = iam_backends[account][partition]
    with _registering:
        # Asked of moto each time: its state can be reset.
        if access_key_id in iam.access_keys:
            return
        key = iam.create_temp_access_key()
        del iam.access_keys[key.access_key_id]
        key.access_key_id, key.secret_access_key = access_key_id, secret_of(access_key_id, session_token)
        key.role_arn = session.role_arn
        role = FunctionRole(account, session.region, key, session.session_name, session.role_arn, "", 43_200, "")
        role.session_token = session_token
        sts_backends[account][partition].assumed_roles.append(role)
        iam.access_keys[access_key_id] = key
