"""What a human is handed with an incident: hypotheses with their evidence, impact, what to run, what is open.

The runtime adds the timeline and what was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents.context import Context
from agents.diagnoses import are_rivals, nodes_of, root_of, run_of, texts, title_of
from agents.incident_response.draft import Draft
from config.assets import Asset
from memory.records import Decision, Incident, Payload

MOST_ASSETS: Final = 40
MOST_HYPOTHESES: Final = 5
_QUESTIONS: Final = {
    "column_dropped": "Does the producer bring the column back, or is it to go from the models too?",
    "table_dropped": "Does the producer bring the table back, or is it to go from the models too?",
    "columns_ambiguous": "Which of the new columns is which of the old ones?",
    "duplicate_rows": "May the surplus rows be moved aside, and who loads the batch?",
    "null_keys": "May the rows without a key be moved aside, and can the producer send them again?",
    "column_retyped": "Which values are right as they are, and what should become of the others?",
    "transient": "Is something outside unwell (locks, network, memory) that comes back?",
    "unknown": "What changed last in the models, the loader or the warehouse?",
}


async def packet(draft: Draft, incident: Incident | None, diagnosis: Decision, why: str) -> Payload:
    """Everything known, as JSON: structure and counts, no values from rows."""
    context = draft.context
    hypotheses = await _hypotheses(draft, diagnosis)
    plans = [] if incident is None else [r for r in await draft.remediations(incident) if r.plan.get("preview")]
    return {
        "why": why,
        "summary": title_of(diagnosis),
        "run": run_of(diagnosis),
        "failed": list(nodes_of(diagnosis)),
        "skipped": list(texts(diagnosis.payload.get("skipped"))),
        "hypotheses": hypotheses,
        "impact": await impact(context, diagnosis),
        "plans": [
            {"playbook": r.playbook, "summary": r.plan.get("summary", ""), "diff": r.plan["preview"]} for r in plans
        ],
        "commands": _commands(incident, diagnosis),
        "rollback": [f"dataswarm undo {r.id}" for r in plans if r.applied_at is not None]
        or ["Nothing was changed, so there is nothing to take back."],
        "questions": _questions(diagnosis, hypotheses),
    }


async def _hypotheses(draft: Draft, diagnosis: Decision) -> list[Payload]:
    """The diagnoses of this failure, likeliest first, each with what speaks for and against it."""
    about = [d for d in await draft.diagnoses() if d.id != diagnosis.id and run_of(d) == run_of(diagnosis)]
    mine = set(nodes_of(diagnosis))
    standing = [diagnosis, *(d for d in about if mine & set(nodes_of(d)))]
    ranked = sorted(standing, key=lambda d: (-d.confidence, d.id))[:MOST_HYPOTHESES]
    found: list[Payload] = [
        {
            "cause": d.cause,
            "subject": str(d.subject),
            "by": d.agent,
            "confidence": d.confidence,
            "for": d.rationale,
            "evidence": [str(e) for e in d.evidence[:20]],
            "against": [f"decision:{o.id} says {o.cause}" for o in standing if are_rivals(d, o)]
            + [str(a["reason"]) for a in d.alternatives if isinstance(a.get("reason"), str)],
            "decision": d.id,
        }
        for d in ranked
    ]
    found += [{**dict(a), "confidence": a.get("confidence", 0.0)} for a in diagnosis.alternatives[:MOST_HYPOTHESES]]
    return found


async def impact(context: Context, diagnosis: Decision) -> Payload:
    """What is made from the root: marts (only exposures above them), exposures, and who owns these and the root."""
    root = root_of(diagnosis)
    below = sorted(await context.downstream(root))
    exposures = [a for a in below if a.path.startswith("exposure.")]
    models = [a for a in below if a.path.startswith(("model.", "snapshot."))]
    marts = [a for a in models[:MOST_ASSETS] if not any(_is_model(d) for d in await context.downstream(a))]
    owners = {str(a): o for a in (root, *exposures[:MOST_ASSETS], *marts) if (o := await owner_of(context, a))}
    return {
        "assets": len(below),
        "marts": _listed(marts),
        "exposures": _listed(exposures),
        "relations": _listed([a for a in below if a.scheme == "warehouse" and not a.part]),
        "owners": owners,
    }


async def owner_of(context: Context, asset: Asset) -> str:
    """Who is held to own an asset; empty where nobody is."""
    fact = await context.fact(asset, "owner")
    return "" if fact is None or fact.retracted else str(fact.object)


def _is_model(asset: Asset) -> bool:
    return asset.path.startswith(("model.", "snapshot."))


def _listed(assets: Sequence[Asset]) -> list[str]:
    return [str(a) for a in assets[:MOST_ASSETS]]


def _commands(incident: Incident | None, diagnosis: Decision) -> list[str]:
    shown = f"dataswarm show {incident.id}" if incident is not None and incident.id > 0 else "dataswarm incidents"
    names = [parts[2] for node in nodes_of(diagnosis)[:10] if len(parts := node.split(".")) > 2]  # noqa: PLR2004
    return [shown, *([f"dbt build --select {' '.join(names)}"] if names else [])]


def _questions(diagnosis: Decision, hypotheses: Sequence[Payload]) -> list[str]:
    asked = [_QUESTIONS[diagnosis.cause]] if diagnosis.cause in _QUESTIONS else []
    if len({h["cause"] for h in hypotheses if "cause" in h}) > 1:
        asked.insert(0, "Which of the hypotheses holds?")
    return asked or ["What is to be done?"]
