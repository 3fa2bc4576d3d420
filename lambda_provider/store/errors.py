"""What can be wrong with stored state. For whoever runs the provider; a caller of the API only learns that it is so."""

from __future__ import annotations

import logging

from lambda_provider.api import ServiceException

logger = logging.getLogger(__name__)


class StateError(Exception):
    """The state directory cannot be used; the message says why and what to do. Nothing in it was changed."""


class NotEmpty(StateError):
    """Something would be overwritten that nobody said may be."""


def refused(error: StateError) -> ServiceException:
    """The answer to a caller whose change could not be made durable, so that it was not made; the log says why."""
    logger.error("a change was refused: %s", error)
    return ServiceException("The change could not be stored.")
