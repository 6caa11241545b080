"""Look-up of plug-ins by name: families, metrics and report sections.

A plug-in is a module inside a package (its path is its name) or a third party's entry point in the group
'whichlora.<kind>'. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from whichlora.errors import UnknownNameError

_PACKAGES = {
    "families": "whichlora.families",
    "metrics": "whichlora.metrics",
    "sections": "whichlora.report.sections",
}
_NOT_PLUGINS = {"base", "beside", "judge", "masked", "scoring", "stage", "trust"}


def names(kind: str) -> list[str]:
    """Names of all plug-ins of a kind, sorted; those in sub-packages as '<axis>/<name>'."""
    found = set(_module_names(kind))
    found.update(point.name for point in entry_points(group=f"whichlora.{kind}"))
    return sorted(found)


def load(kind: str, name: str) -> Any:
    """Import the plug-in and return its `PLUGIN` object.

    Raises:
        UnknownNameError: No plug-in of that kind bears the name; the message lists neighbours.
    """
    modules = _module_names(kind)
    if name in modules:
        return importlib.import_module(modules[name]).PLUGIN
    for point in entry_points(group=f"whichlora.{kind}"):
        if point.name == name:
            return point.load()
    raise UnknownNameError(kind.rstrip("s"), name, names(kind))


def _module_names(kind: str) -> dict[str, str]:
    """Plug-in name → module path, for modules that are not private and not the protocol itself."""
    package = importlib.import_module(_PACKAGES[kind])
    return _found(package.__name__, tuple(package.__path__))


@cache
def _found(package: str, path: tuple[str, ...]) -> dict[str, str]:
    return dict(_walk(package, list(path), ""))


def _walk(package: str, path: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    for info in pkgutil.iter_modules(path):
        if info.name.startswith("_") or info.name in _NOT_PLUGINS:
            continue
        full = f"{package}.{info.name}"
        if info.ispkg:
            child = importlib.import_module(full)
            yield from _walk(full, list(child.__path__), f"{prefix}{info.name}/")
        else:
            yield f"{prefix}{info.name}", full
