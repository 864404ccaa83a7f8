"""Which kinds of integrations there are: entry points of the group `dataswarm.integrations`, built-ins among them.

Every class is measured against the protocols when it is loaded. Why one was refused is raised when somebody configures
that kind.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

from pydantic import BaseModel, ValidationError

from config.entry_points import find, named_so, options_of
from config.errors import SetupError, UsageError
from integrations.base import Channel, Integration, LineageSource, Orchestrator, Repository, Structured, Warehouse

GROUP = "dataswarm.integrations"
PROTOCOLS: tuple[type[Any], ...] = (Warehouse, Structured, Orchestrator, Repository, Channel, LineageSource)

Problems = Sequence[tuple[tuple[str | int, ...], str]]


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry point that cannot be used: its name, where it comes from, and why."""

    kind: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Registry:
    """The kinds that can be configured, where each comes from, and those that were refused."""

    kinds: Mapping[str, type[Integration]]
    origins: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()

    def get(self, kind: str) -> type[Integration]:
        """The class of a kind; SetupError where it was refused, UsageError with the nearest name where unknown."""
        found = self.kinds.get(kind)
        if found is not None:
            return found
        for refusal in self.refused:
            if refusal.kind == kind:
                raise SetupError(
                    f"integration {kind!r} ({refusal.origin}) cannot be used: {refusal.reason}",
                    hint="update or remove the package it comes from",
                )
        near = difflib.get_close_matches(kind, self.kinds, n=1)
        raise UsageError(
            f"there is no integration of kind {kind!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(self.kinds))}",
        )

    def validator(self, kind: str) -> Callable[[Mapping[str, Any]], Problems]:
        """A function that says what is wrong with options of this kind, as (path, message); no values in it."""
        options = self.get(kind).Options

        def validate(given: Mapping[str, Any]) -> Problems:
            try:
                options.model_validate(dict(given))
            except ValidationError as error:
                return [_problem(e, options) for e in error.errors(include_url=False, include_input=False)]
            return []

        return validate

    def create(self, kind: str, name: str, options: Mapping[str, Any]) -> Integration:
        """An integration of that kind; UsageError naming every option that is wrong. Touches nothing outside."""
        made = self.get(kind)
        problems = self.validator(kind)(options)
        if problems:
            lines = "; ".join(f"{'.'.join(map(str, path)) or kind}: {message}" for path, message in problems)
            raise UsageError(f"source {name} ({kind}): {lines}")
        return made(name, made.Options.model_validate(dict(options)))


def discover(points: Iterable[EntryPoint] | None = None) -> Registry:
    """Load everything that is installed; `points` stands in for the entry points in tests."""
    found = find(GROUP, misfits, points)
    refused = tuple(Refused(kind, found.origin[kind], reason) for kind, reason in found.refused.items())
    return Registry(found.known, found.origin, refused)


def misfits(candidate: object, kind: str) -> list[str]:
    """Why a class is no integration, naming each missing or wrong member; empty where it fits."""
    if not inspect.isclass(candidate):
        return [f"{candidate!r} is no class"]
    reasons = [*named_so(candidate, kind, member="kind"), *options_of(candidate)]
    parameters = list(inspect.signature(candidate.__init__).parameters)[1:3]
    if parameters != ["name", "options"]:
        reasons.append("its `__init__` does not take (name, options)")
    reasons += _missing(candidate, Integration)
    meant = max(PROTOCOLS, key=lambda protocol: _likeness(candidate, protocol))
    if _likeness(candidate, meant) > (0, 0.0):
        return reasons + _missing(candidate, meant)
    wants = "; ".join(f"a {p.__name__} has {', '.join(_methods(p))}" for p in PROTOCOLS)
    return [*reasons, f"it follows no protocol: {wants}"]


def _likeness(candidate: type[Any], protocol: type[Any]) -> tuple[int, float]:
    """How much of a protocol a class has; what it has most of is what it wants to be, and is measured against."""
    wanted = _methods(protocol)
    has = sum(hasattr(candidate, name) for name in wanted)
    return has, has / len(wanted)


def _methods(protocol: type[Any]) -> dict[str, Callable[..., Any]]:
    """What a protocol itself asks for, beside what every integration has."""
    return {
        name: member
        for name, member in vars(protocol).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def _missing(candidate: type[Any], protocol: type[Any]) -> list[str]:
    reasons = []
    for name, wanted in _methods(protocol).items():
        found = inspect.getattr_static(candidate, name, None)
        label = f"{protocol.__name__}.{name}"
        if not inspect.isfunction(found):
            reasons.append(f"it lacks `{label}`")
        elif inspect.iscoroutinefunction(wanted) != inspect.iscoroutinefunction(found):
            reasons.append(f"`{label}` must {'' if inspect.iscoroutinefunction(wanted) else 'not '}be async")
        else:
            lacking = _unaccepted(wanted, found)
            reasons += [f"`{label}` does not take `{parameter}`" for parameter in lacking]
    return reasons


def _unaccepted(wanted: Callable[..., Any], found: Callable[..., Any]) -> list[str]:
    accepted = inspect.signature(found).parameters
    kinds = {p.kind for p in accepted.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds and inspect.Parameter.VAR_POSITIONAL in kinds:
        return []
    return [name for name in inspect.signature(wanted).parameters if name not in accepted]


def _problem(error: Mapping[str, Any], options: type[BaseModel]) -> tuple[tuple[str | int, ...], str]:
    path: tuple[str | int, ...] = tuple(error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "unknown option"
        near = difflib.get_close_matches(str(path[-1]), options.model_fields, n=1)
        if near and len(path) == 1:
            message += f" (did you mean {near[0]!r}?)"
    elif error["type"] == "missing":
        message = "is required"
    return path, message
