"""What holds the swarm back: a row of small stages, each a pure function, the most careful answer wins.

Authority lives in the configuration and in policy rows, never in text from data or from a model. Rows (kill switch,
caps) only narrow what the file allows. A human's approval lifts `propose` to `act` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.playbook import Gate, Permit
from config.assets import Asset
from config.settings import AssetRule, Autonomy, Settings
from memory.records import EffectClass

_CARE = {Gate.ACT: 0, Gate.PROPOSE: 1, Gate.OBSERVE: 2, Gate.REFUSE: 3}
_GATES = {Autonomy.ACT: Gate.ACT, Autonomy.PROPOSE: Gate.PROPOSE, Autonomy.OBSERVE: Gate.OBSERVE}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of policy: who would do what, to which assets, on whose word.

    `share` is the largest share of a table whose rows are moved (0 to 1); `origin` is `rules` or `model`.
    """

    agent: str
    playbook: str
    subject: Asset
    assets: tuple[Asset, ...] = ()
    moves_data: bool = False
    effect_class: EffectClass = EffectClass.INVERTIBLE
    environment: str = ""
    origin: str = "rules"
    share: float = 0.0
    approved_by: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rows say right now. `kill_switch` is the reason it is on; `readable` is False where memory failed."""

    kill_switch: str | None = None
    caps: Sequence[tuple[str, str]] = ()
    silenced: bool = False
    remedies_last_hour: int = 0
    remedies_on_asset_last_hour: int = 0
    failed_on_incident: int = 0
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """All a stage goes by: what is asked, what the file says, what the rows say, and when."""

    request: Request
    settings: Settings
    standing: Standing
    now: datetime


Answer = tuple[Gate, str]
Stage = Callable[[Asked], Answer | None]


def decide(request: Request, settings: Settings, standing: Standing, now: datetime) -> Permit:
    """Ask every stage; the most careful one decides (the first of equals)."""
    trail: list[str] = []
    gate, stage, reason = Gate.ACT, "all", "every stage allows it"
    for name, ask in STAGES.items():
        answer = ask(Asked(request, settings, standing, now))
        if answer is None:
            trail.append(f"{name}: no objection")
            continue
        said, why = answer
        if said is Gate.PROPOSE and request.approved_by:
            trail.append(f"{name}: {why}; approved by {request.approved_by}")
            continue
        trail.append(f"{name}: {said.value}, {why}")
        if _CARE[said] > _CARE[gate]:
            gate, stage, reason = said, name, why
    return Permit(gate, stage, reason, tuple(trail))


def rules_for(settings: Settings, asset: Asset) -> list[AssetRule]:
    """The owner's rules that cover an asset."""
    return [rule for rule in settings.policy.assets if asset.matches(rule.pattern)]


def _kill_switch(q: Asked) -> Answer | None:
    if not q.standing.readable:
        return Gate.REFUSE, "the kill switch could not be read"
    return (
        (Gate.REFUSE, f"the kill switch is on: {q.standing.kill_switch}")
        if q.standing.kill_switch is not None
        else None
    )


def _autonomy(q: Asked) -> Answer | None:
    """The most careful of what is said about the agent, the playbook and each asset touched.

    An asset nobody has a rule for goes by agent and playbook, and where those say nothing, by `policy.autonomy`: a rule
    for one asset opens nothing for another.
    """
    agent, playbook = q.settings.agent(q.request.agent).autonomy, q.settings.playbook(q.request.playbook).autonomy
    said = [
        (level, what)
        for level, what in ((agent, f"agent {q.request.agent}"), (playbook, f"playbook {q.request.playbook}"))
        if level is not None
    ]
    otherwise = said or [(q.settings.policy.autonomy, "policy.autonomy")]
    for asset in (q.request.subject, *q.request.assets):
        ruled = [
            (rule.autonomy, f"assets {rule.pattern}")
            for rule in rules_for(q.settings, asset)
            if rule.autonomy is not None and rule.environment in (None, q.request.environment)
        ]
        said.extend(ruled or otherwise)
    level, where = min(said, key=lambda s: s[0].rank)
    return None if level is Autonomy.ACT else (_GATES[level], f"{where} says {level.value}")


def _caps(q: Asked) -> Answer | None:
    """Rows set by humans while running: they only narrow."""
    worst: Answer | None = None
    for scope, level in q.standing.caps:
        kind, _, name = scope.partition(":")
        covers = (
            kind == "all"
            or (kind == "agent" and name == q.request.agent)
            or (kind == "playbook" and name == q.request.playbook)
            or (kind == "asset" and any(a.matches(name) for a in (q.request.subject, *q.request.assets)))
        )
        if not covers or level == Autonomy.ACT.value:
            continue
        gate = Gate.REFUSE if level == "paused" else _GATES[Autonomy(level)]
        if worst is None or _CARE[gate] > _CARE[worst[0]]:
            worst = (gate, f"{scope} is capped at {level}")
    return worst


def _origin(q: Asked) -> Answer | None:
    return (Gate.PROPOSE, "a model proposed it; a human decides") if q.request.origin == "model" else None


def _data(q: Asked) -> Answer | None:
    if not q.request.moves_data:
        return None
    if any(rule.autonomy is Autonomy.ACT for rule in rules_for(q.settings, q.request.subject)):
        return None
    return Gate.PROPOSE, "it moves rows, and the owner has not opted in for this asset"


def _inverse(q: Asked) -> Answer | None:
    return (Gate.PROPOSE, "it cannot be undone") if q.request.effect_class is EffectClass.NOT_INVERTIBLE else None


def _tier(q: Asked) -> Answer | None:
    for asset in (q.request.subject, *q.request.assets):
        if any(rule.tier == 0 for rule in rules_for(q.settings, asset)):
            return Gate.PROPOSE, f"it touches {asset}, a tier-0 asset"
    return None


def _blast(q: Asked) -> Answer | None:
    most = q.settings.policy.budgets.rows_share
    if q.request.share > most:
        return Gate.PROPOSE, f"it moves {q.request.share:.2%} of a table's rows; the limit is {most:.2%}"
    return None


def _budget(q: Asked) -> Answer | None:
    budgets = q.settings.policy.budgets
    if q.standing.remedies_last_hour >= budgets.remedies_per_hour:
        return Gate.REFUSE, f"{q.standing.remedies_last_hour} remedies in the last hour exhaust the budget"
    if q.standing.remedies_on_asset_last_hour >= budgets.remedies_per_asset_per_hour:
        return Gate.REFUSE, f"{q.standing.remedies_on_asset_last_hour} remedies on this asset in the last hour"
    return None


def _breaker(q: Asked) -> Answer | None:
    if q.standing.failed_on_incident >= q.settings.policy.budgets.breaker_after:
        return Gate.REFUSE, f"{q.standing.failed_on_incident} remedies have failed on this incident"
    return None


def _freeze(q: Asked) -> Answer | None:
    if q.standing.silenced:
        return Gate.OBSERVE, "the asset is silenced"
    frozen = [w for w in q.settings.policy.freeze if w.covers(q.now)]
    return (Gate.PROPOSE, f"a freeze window is on: {frozen[0].reason}") if frozen else None


STAGES: Mapping[str, Stage] = {
    "kill-switch": _kill_switch,
    "autonomy": _autonomy,
    "caps": _caps,
    "origin": _origin,
    "data": _data,
    "inverse": _inverse,
    "tier": _tier,
    "blast": _blast,
    "budget": _budget,
    "breaker": _breaker,
    "freeze": _freeze,
}
