"""From what is installed and what is configured to the agents, playbooks, sources and channels of this process."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel

import agents.registry
import integrations.registry
from agents.base import Agent
from agents.playbook import Playbook, Reasoner
from agents.reasoning import Spent, reasoner
from config.catalogue import OptionsOf
from config.errors import SwarmError
from config.settings import Catalogue, ChannelSettings, Settings, SourceSettings
from integrations.base import Channel, Integration

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Installed:
    """What is installed here: classes by name, and what was refused with the reason."""

    agents: Mapping[str, type[Agent]]
    playbooks: Mapping[str, type[Playbook]]
    integrations: Mapping[str, type[Any]]
    refused: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    def catalogue(self) -> Catalogue:
        """The names a configuration may use, with the checks of their options."""
        return Catalogue(
            agents={n: OptionsOf(c.Options) for n, c in self.agents.items()},
            playbooks={n: OptionsOf(c.Options) for n, c in self.playbooks.items()},
            integrations={n: OptionsOf(c.Options) for n, c in self.integrations.items()},
        )


def installed() -> Installed:
    """Ask the registries. Misfits are refused by name, the others go on."""
    minds, remedies, doors = agents.registry.agents(), agents.registry.playbooks(), integrations.registry.discover()
    return Installed(
        minds.known,
        remedies.known,
        doors.kinds,
        {
            **{f"agent {n}": why for n, why in minds.refused.items()},
            **{f"playbook {n}": why for n, why in remedies.refused.items()},
            **{f"integration {r.kind}": r.reason for r in doors.refused},
        },
        {
            **{f"agent {n}": o for n, o in minds.origin.items()},
            **{f"playbook {n}": o for n, o in remedies.origin.items()},
            **{f"integration {n}": o for n, o in doors.origins.items()},
        },
    )


@dataclass(slots=True)
class Members:
    """What a configuration enables, made from the installed classes."""

    agents: dict[str, Agent] = field(default_factory=dict)
    playbooks: dict[str, Playbook] = field(default_factory=dict)
    sources: dict[str, Integration] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    reasoner: Reasoner | None = None
    made_of: dict[str, Any] = field(default_factory=dict)


async def assemble(
    found: Installed,
    settings: Settings,
    before: Members,
    only: Sequence[str],
    spent: Callable[[Spent], None] | None = None,
) -> Members:
    """Make what is enabled and open its doors; what is unchanged stays the very same object, undisturbed.

    A door that does not open is said and kept: each look at it tries again. `spent` is told what the model cost.
    """
    made = Members()
    for name, mind in found.agents.items():
        tuned = settings.agent(name)
        if tuned.enabled and (not only or name in only):
            made.agents[name] = _kept(made, before, "agents", name, tuned, partial(_tuned, mind, tuned.options))
    for name, remedy in found.playbooks.items():
        ruled = settings.playbook(name)
        if ruled.enabled:
            made.playbooks[name] = _kept(made, before, "playbooks", name, ruled, partial(_tuned, remedy, ruled.options))
    for section in ("sources", "channels"):
        for name, spec in getattr(settings, section).items():
            if spec.enabled:
                make = partial(_door, found, settings, name, spec)
                getattr(made, section)[name] = _kept(made, before, section, name, spec, make)
    made.reasoner = (
        before.reasoner if before.made_of.get("model") == settings.model else reasoner(settings.model, spent=spent)
    )
    made.made_of["model"] = settings.model
    for door in (*made.sources.values(), *made.channels.values()):
        try:
            await door.open()
        except SwarmError as error:
            log.warning("source.not_open", source=door.name, problem=error.message, hint=error.hint)
    return made


async def part(members: Members, *, keep: Members) -> None:
    """Close the doors that are not kept."""
    staying = {id(d) for d in (*keep.sources.values(), *keep.channels.values())}
    for door in (*members.sources.values(), *members.channels.values()):
        if id(door) not in staying:
            await door.close()


def _kept(made: Members, before: Members, section: str, name: str, spec: BaseModel, make: Callable[[], Any]) -> Any:
    """The very same object as before where its settings are the same, else a new one."""
    key = f"{section}.{name}"
    made.made_of[key] = spec
    return getattr(before, section)[name] if before.made_of.get(key) == spec else make()


def _tuned(cls: type[Any], options: Mapping[str, Any]) -> Any:
    return cls(cls.Options.model_validate(dict(options)))


def _door(found: Installed, settings: Settings, name: str, spec: SourceSettings | ChannelSettings) -> Any:
    """An integration by its kind; what it keeps on disk goes below the swarm's directory unless configured."""
    cls = found.integrations[spec.kind]
    home = settings.database.directory.expanduser().resolve()
    given = dict(spec.options)
    for wanted, default in (("work_dir", home / "work" / name), ("directory", home / "clones" / name)):
        if wanted in cls.Options.model_fields and given.get(wanted) is None:
            given[wanted] = default
    if "sketch_key" in cls.Options.model_fields and not given.get("sketch_key"):
        given["sketch_key"] = _installation_key(home)
    return cls(name, cls.Options.model_validate(given))


def _installation_key(home: Path) -> str:
    """A random key of this installation: hashes of values mean nothing outside it."""
    file = home / "sketch.key"
    home.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        draft = file.with_suffix(f".{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32), encoding="ascii")
        with suppress(FileExistsError):
            file.hardlink_to(draft)  # the first process wins, all read the same
        draft.unlink()
    return file.read_text(encoding="ascii")
