"""Every kind of event that is watched is published by someone, and the other way round."""

from __future__ import annotations

import fnmatch

from agents.base import Agent
from agents.registry import agents
from agents.runtime.sensing import RECOVERED, UNREACHABLE
from memory.records import ApprovalState, EscalationState, IncidentState, RemediationState

RUNTIME = (UNREACHABLE, RECOVERED, "agent.stumbled")
# For humans and metrics alone: recorded, shown, and no agent's business yet.
UNWATCHED = {"schema.*", "pipeline.no_artefact", "pipeline.known_failing", "pipeline.stale", *RUNTIME}


def topics() -> set[str]:
    """All topics somebody publishes."""
    kinds = {kind for agent in installed() for kind in agent.publishes} | set(RUNTIME)
    return (
        {f"observation.{kind}" for kind in kinds}
        | {f"decision.{kind}" for kind in ("diagnosis", "remedy", "ask", "escalation", "ignore", "policy")}
        | {f"incident.{state.value}" for state in IncidentState}
        | {f"remediation.{state.value}" for state in RemediationState}
        | {f"approval.{state.value}" for state in ApprovalState}
        | {f"escalation.{state.value}" for state in EscalationState}
        | {"task.succeeded", "task.failed", "task.cancelled", "timer.due"}
    )


def installed() -> list[type[Agent]]:
    """The agents that come with the project."""
    return list(agents().known.values())


def test_what_is_watched_is_published() -> None:
    """No agent waits for a topic that nobody ever publishes."""
    watched = {(agent.name, topic) for agent in installed() for watch in agent.watches for topic in watch.topics}
    assert [w for w in sorted(watched) if not fnmatch.filter(topics(), w[1])] == []


def test_what_agents_publish_is_watched_or_known_to_be_for_humans() -> None:
    """No agent records a kind that nobody considers, unless it is listed here."""
    watched = {topic for agent in installed() for watch in agent.watches for topic in watch.topics}
    published = {kind for agent in installed() for kind in agent.publishes}
    lonely = {
        kind
        for kind in published
        if not any(fnmatch.fnmatchcase(f"observation.{kind}", topic) for topic in watched)
        and not any(fnmatch.fnmatchcase(kind, pattern) for pattern in UNWATCHED)
    }
    assert lonely == set()
