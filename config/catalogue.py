"""What is installed: the names the configuration may use, and how each one's options are checked.

This room knows no agent, integration or playbook; the composition root fills the catalogue in and passes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from config.draft import Draft, KeyPath, dotted, nearest

Validator = Callable[[Mapping[str, Any]], Sequence[tuple[tuple[str | int, ...], str]]]
"""Options in, (path, message) of everything wrong with them out. Messages hold no values. A validator with an
attribute `names` (the options there are) gets misspelt options a suggestion."""

_PLAINER = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"^Value error, ", ""),
        (r"^Field required$", "is missing"),
        (r"^\w+ should have at least 1 (?:item|character).*$", "should not be empty"),
        (r"^(?:Input|Value|String|Tuple|List|Dictionary) should", "should"),
        (r"a valid (?:dictionary|mapping)(?: or (?:instance|object) of \w+)?", "a mapping of keys to values"),
        (r"a valid (?:tuple|list|set)", "a list"),
        (r"a valid string", "a text"),
        (r"a valid boolean, unable to interpret input|a valid boolean", "true or false"),
        (r"a valid integer, got a number with a fractional part", "a whole number"),
        (r"a valid (?:integer|number)(?:, unable to parse string as an? \w+)?", "a number"),
    )
)
_WORDS = {"agents": "agent", "playbooks": "playbook", "sources": "integration", "channels": "integration"}


@dataclass(frozen=True, slots=True)
class OptionsOf:
    """A validator made from a pydantic model of options."""

    model: type[BaseModel]

    @property
    def names(self) -> tuple[str, ...]:
        """The options there are, aliases included."""
        return tuple(dict.fromkeys(n for k, f in self.model.model_fields.items() for n in (k, f.alias) if n))

    def __call__(self, options: Mapping[str, Any]) -> Sequence[tuple[tuple[str | int, ...], str]]:
        """What is wrong with the options."""
        try:
            self.model.model_validate(dict(options))
        except ValidationError as error:
            return [
                (e["loc"], "unknown option" if e["type"] == "extra_forbidden" else plain(e["msg"]))
                for e in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        return []


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Known names, each with the validator of its options. Sources and channels are both integrations."""

    agents: Mapping[str, Validator] = field(default_factory=dict)
    integrations: Mapping[str, Validator] = field(default_factory=dict)
    playbooks: Mapping[str, Validator] = field(default_factory=dict)
    channels: Mapping[str, Validator] = field(default_factory=dict)  # empty: any integration may be a channel

    def of(self, section: str) -> Mapping[str, Validator]:
        """What a section (`agents`, `sources`, `playbooks`, `channels`) may name."""
        if section == "channels":
            return self.channels or self.integrations
        return {"agents": self.agents, "playbooks": self.playbooks, "sources": self.integrations}.get(section, {})

    def option_names(self, section: str, kind: str) -> Sequence[str]:
        """The options of one thing, as far as its validator tells them."""
        return tuple(getattr(self.of(section).get(kind), "names", ()))


def check(draft: Draft, catalogue: Catalogue, loose: Mapping[str, Iterable[str]]) -> None:
    """Report unknown agents, playbooks and kinds, and everything wrong with options.

    Args:
        draft: what to check; it gets the problems.
        catalogue: what is installed.
        loose: sections whose entries name a `kind` and take its options flat → the keys of the entry itself.
    """
    for section, word in _WORDS.items():
        entries = draft.data.get(section)
        for name, entry in (entries if isinstance(entries, dict) else {}).items():
            path: KeyPath = (section, name, "kind") if section in loose else (section, name)
            kind = entry.get("kind") if section in loose and isinstance(entry, dict) else name
            if not isinstance(kind, str):
                continue  # reported by the model
            validator = catalogue.of(section).get(kind)
            if validator is None:
                suggestion = nearest(kind, catalogue.of(section))
                draft.complain(draft.where(path), f"{dotted(path)}: no {word} is called {kind!r}", suggestion)
            elif isinstance(entry, dict) and isinstance(entry.get("options", {}), dict):
                known = (*catalogue.option_names(section, kind), *loose.get(section, ()))
                _check_options(draft, (section, name), validator, known, is_flat=section in loose)


def plain(message: str) -> str:
    """A pydantic message as a sentence of ours."""
    for pattern, ours in _PLAINER:
        message = pattern.sub(ours, message)
    return message


def _check_options(draft: Draft, path: KeyPath, validator: Validator, known: Sequence[str], *, is_flat: bool) -> None:
    options: Mapping[str, Any] = draft.at((*path, "options")) or {}
    try:
        found = validator(options)
    except Exception as error:  # noqa: BLE001 - somebody else's code may raise anything; the rest is still checked
        draft.complain(draft.where(path), f"{dotted(path)}: the options cannot be checked ({type(error).__name__})")
        return
    for inner, message in found:
        if draft.is_faulty((*path, "options", *inner)):
            continue
        where = draft.where((*path, "options", *inner))
        shown = dotted((*path, *(() if is_flat else ("options",)), *inner))
        is_unknown = len(inner) == 1 and inner[0] not in known and inner[0] in options
        suggestion = nearest(str(inner[0]), known) if is_unknown else ""
        draft.complain(where, f"{shown}: {plain(message)}", suggestion)
