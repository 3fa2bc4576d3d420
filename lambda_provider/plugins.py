"""Plugins of the control plane on entry points: found by name, loaded when chosen, and named in what goes wrong."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import Any

HOSTS = "lambda_provider.hosts"
LAYER_FETCHERS = "lambda_provider.layer_fetchers"
EVENT_SOURCES = "lambda_provider.event_sources"

logger = logging.getLogger(__name__)


class PluginError(LookupError):
    """A plugin that was asked for is not installed, or cannot be loaded; the message says which ones are there."""


_OURS = "lambda-provider"


def load_plugin(group: str, name: str) -> Any:
    """The object that the entry point `name` of `group` refers to. Raises `PluginError`."""
    installed = {point.name: point for point in entry_points(group=group)}
    if name not in installed:
        known = ", ".join(sorted(installed)) or "none; is the package installed? (script/bootstrap)"
        raise PluginError(f"no plugin {name!r} in the entry-point group {group}; installed: {known}")
    try:
        return installed[name].load()
    except Exception as error:
        raise PluginError(f"plugin {name!r} ({installed[name].value}) cannot be loaded: {error!r}") from error


def load_plugins(group: str) -> dict[str, Any]:
    """What all entry points of `group` refer to, by name. One that cannot be loaded is logged, and left out.

    Of two with one name that of another package is taken, so that what we bring can be replaced.
    """
    loaded: dict[str, Any] = {}
    for point in sorted(entry_points(group=group), key=_is_of_others):
        try:
            loaded[point.name] = point.load()
        except Exception:
            logger.exception("plugin %r (%s) of %s cannot be loaded", point.name, point.value, group)
    return loaded


def _is_of_others(point: EntryPoint) -> bool:
    return point.dist is None or point.dist.name != _OURS
