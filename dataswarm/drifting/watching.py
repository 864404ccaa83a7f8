"""How the agent that watches structure is tuned here: what it skips, and what owners say of their own assets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.structure.meaning import Effect, Override
from config.settings import Settings
from dataswarm.drifting.resolving import WATCHER
from dataswarm.members import installed


@dataclass(frozen=True, slots=True)
class Watching:
    """What holds for the agent holds for a comparison, so that both say the same of a change."""

    skip: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()


def watching(settings: Settings) -> Watching:
    """As configured; the agent's own defaults where nothing is."""
    mind = installed().agents.get(WATCHER)
    if mind is None:
        return Watching()
    tuned: Any = mind.Options.model_validate(dict(settings.agent(WATCHER).options))
    said = getattr(tuned, "overrides", None) or ()
    return Watching(tuple(getattr(tuned, "skip", ())), tuple(_override(one) for one in said))


def _override(said: Any) -> Override:
    if isinstance(said, Override):
        return said
    return Override(
        asset=said.asset,
        change=said.change,
        readers=Effect(said.readers) if said.readers else None,
        writers=Effect(said.writers) if said.writers else None,
        why=said.why,
    )
