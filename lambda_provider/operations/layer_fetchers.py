"""Layer fetchers: plugins that get layer versions which are not here, such as those that AWS publishes.

A fetcher is a callable on an entry point of the group `lambda_provider.layer_fetchers`. docs/plugins.md shows one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lambda_provider.model.configuration import Code
from lambda_provider.model.layers import LayerVersion
from lambda_provider.model.policy import Policy, allow
from lambda_provider.operations.policies import new_revision
from lambda_provider.plugins import LAYER_FETCHERS, load_plugins
from lambda_provider.store import zipcheck
from lambda_provider.store.editor import now
from lambda_provider.validation.layer_names import LayerVersionId

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedLayerVersion:
    """What a fetcher brings: the zip file, and what GetLayerVersion says about the version.

    `created` is ISO 8601 as the API has it (`2018-11-27T15:10:45.123+0000`); None is now. Runtimes and architectures that are
    None are not said.
    """

    content: bytes
    description: str = ""
    created: str | None = None
    runtimes: Sequence[str] | None = None
    architectures: Sequence[str] | None = None
    license_info: str | None = None


class LayerFetcher(Protocol):
    """Gets layer versions from elsewhere."""

    def __call__(self, arn: str) -> FetchedLayerVersion | None:
        """The layer version of that ARN, or None if it is not for this fetcher to know.

        May block; called from any thread, also for one ARN by two at once. Whatever it raises is logged with its name, and
        the layer version then does not exist as far as this fetcher is concerned.
        """
        ...


class LayerFetchers:
    """The fetchers that are there, by name. They are asked in the order of their names until one knows."""

    def __init__(self, fetchers: Mapping[str, LayerFetcher], *, unzipped_limit: int) -> None:
        self._fetchers = dict(sorted(fetchers.items()))
        self._unzipped_limit = unzipped_limit

    @classmethod
    def installed(cls, *, unzipped_limit: int) -> LayerFetchers:
        """Those on the entry points of the installed packages."""
        return cls(load_plugins(LAYER_FETCHERS), unzipped_limit=unzipped_limit)

    def fetch(self, wanted: LayerVersionId) -> tuple[LayerVersion, bytes] | None:
        """A layer version with its archive, checked like one that is published; None if no fetcher brings one.

        It is for every account: who may have it was decided where it came from.
        """
        for name, fetcher in self._fetchers.items():
            try:
                fetched = fetcher(wanted.arn)
                if fetched is not None:
                    return self._accepted(wanted, fetched), fetched.content
            except Exception:
                logger.warning("layer fetcher %r failed for %s", name, wanted.arn, exc_info=True)
        return None

    def _accepted(self, wanted: LayerVersionId, fetched: FetchedLayerVersion) -> LayerVersion:
        unzipped_size = zipcheck.check(fetched.content, unzipped_limit=self._unzipped_limit)
        for_all = allow(statement_id="fetched", principal="*", action="lambda:GetLayerVersion", resource=wanted.arn)
        return LayerVersion(
            number=wanted.number,
            code=Code(
                sha256=hashlib.sha256(fetched.content).hexdigest(),
                size=len(fetched.content),
                unzipped_size=unzipped_size,
            ),
            created=fetched.created or now(),
            description=fetched.description,
            runtimes=_tuple(fetched.runtimes),
            architectures=_tuple(fetched.architectures),
            license_info=fetched.license_info,
            policy=Policy(revision_id=new_revision(), statements=(for_all,)),
        )


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
