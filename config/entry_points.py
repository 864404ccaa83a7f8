"""What is installed, by entry-point group: built-ins by the same door as third parties.

Every class is measured when it is loaded. One that does not fit, or whose module breaks, is refused with the reason;
the others go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel

OWN: Final = "dataswarm"

Misfits = Callable[[object, str], Sequence[str]]
"""Why what was loaded under a name is none of the kind, naming each missing or wrong member; empty where it fits."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a group gave, all by the entry points' names.

    Attributes:
        known: the classes that fit.
        refused: why the others cannot be used. A name that two claim is known and refused.
        origin: distribution, version and object, of the known and of the refused.
    """

    known: Mapping[str, type[Any]]
    refused: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)


def find(group: str, misfits: Misfits, points: Iterable[EntryPoint] | None = None) -> Found:
    """Load everything of a group that is installed; `points` stands in for the entry points in tests."""
    known: dict[str, type[Any]] = {}
    refused: dict[str, list[str]] = {}
    origins: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for point in sorted(entry_points(group=group) if points is None else points, key=_order):
        name, origin = point.name, _origin(point)
        if (name, origin) in seen and point.dist is not None:
            continue  # the same distribution seen twice (an editable install on the path)
        seen.add((name, origin))
        loaded, reasons = _load(point, misfits)
        if name in known:
            refused.setdefault(name, []).append(f"{name!r} is {origins[name]} already; {origin} must take another name")
        elif reasons:
            refused.setdefault(name, []).extend(reasons)
            origins[name] = origin
        else:
            known[name] = loaded
            origins[name] = origin
    told = {name: "; ".join(reasons) for name, reasons in refused.items()}
    return Found(MappingProxyType(known), MappingProxyType(told), MappingProxyType(origins))


def _load(point: EntryPoint, misfits: Misfits) -> tuple[Any, Sequence[str]]:
    try:
        loaded = point.load()
        return loaded, misfits(loaded, point.name)
    except Exception as error:  # noqa: BLE001 - somebody else's module may raise anything; the others go on
        return None, [f"it cannot be loaded: {type(error).__name__}: {error}"]


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}, {point.value}" if point.dist else point.value


def _order(point: EntryPoint) -> tuple[str, bool, str]:
    """By name; where two claim one, our own comes first and keeps it."""
    return point.name, point.dist is None or point.dist.name != OWN, point.value


def named_so(candidate: type[Any], name: str, *, member: str = "name") -> list[str]:
    """Does a class call itself as its entry point does?"""
    said = getattr(candidate, member, None)
    return [] if said == name else [f"its `{member}` is {said!r}, the entry point is {name!r}"]


def written_out(candidate: type[Any]) -> list[str]:
    """Has a class a body for all that its bases leave open? Without it, it could not even be made."""
    return [f"it lacks `{member}`" for member in sorted(getattr(candidate, "__abstractmethods__", ()))]


def options_of(candidate: type[Any]) -> list[str]:
    """Are a class's options a model that refuses what it does not know? Others would swallow typing errors."""
    options = getattr(candidate, "Options", None)
    if not (inspect.isclass(options) and issubclass(options, BaseModel)):
        return ["it has no `Options`, a pydantic model"]
    if options.model_config.get("extra") != "forbid":
        return ['its `Options` take any key; set model_config = ConfigDict(extra="forbid")']
    return []
