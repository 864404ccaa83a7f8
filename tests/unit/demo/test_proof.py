"""What a run prints at its end, for a reader who has never seen the swarm."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from config.assets import Asset
from dataswarm.demo import proof
from dataswarm.demo.faults.catalogue import CATALOGUE
from dataswarm.demo.story import Seen, Story
from memory.records import Escalation, EscalationState, Remediation, RemediationState

NOW = datetime(2026, 11, 2, tzinfo=UTC)
PACKET: dict[str, Any] = {
    "hypotheses": [
        {
            "cause": "column_dropped",
            "subject": "warehouse://shop/raw.orders#channel",
            "by": "pipeline-health",
            "confidence": 0.97,
            "for": "raw.orders.channel is gone",
            "against": ["decision:4 says table_dropped"],
            "evidence": ["observation:1", "observation:2", "decision:3"],
        },
        {"reason": "no rule fits", "confidence": 0.0},
    ],
    "impact": {
        "assets": 1,
        "marts": [f"dbt://shop_dbt/model.shop.mart_{n}" for n in range(10)],
        "exposures": ["dbt://shop_dbt/exposure.shop.board"],
        "owners": {"dbt://shop_dbt/model.shop.mart_1": "ana@shop.example"},
    },
    "questions": ["Does it come back?"],
    "commands": ["dataswarm show 1"],
}


def printed(story: Story) -> str:
    """The proof as plain text."""
    console = Console(file=io.StringIO(), width=120)
    proof.show(console, story)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def a_remedy(plan: dict[str, Any]) -> Remediation:
    """An applied remedy."""
    return Remediation(
        id=1,
        incident_id=1,
        decision_id=1,
        playbook="patch-model",
        state=RemediationState.VERIFIED,
        subject=Asset("warehouse", "shop", "raw.orders"),
        plan=plan,
        inverse={},
        result={},
        at=NOW,
        applied_at=NOW,
        ended_at=NOW,
    )


def test_what_a_human_is_handed_reads_like_sentences() -> None:
    """Hypotheses, impact, questions and commands, without a brace of Python's in them."""
    story = Story(CATALOGUE["column-dropped"], 1, "alter")
    handed = Escalation(1, 1, EscalationState.PENDING, "no_playbook: nothing treats it", PACKET, NOW, "")
    story.seen = Seen(escalations=[handed])
    said = printed(story)
    for line in (
        "handed to a human: no playbook: nothing treats it",
        "    column dropped at raw.orders.channel, says pipeline-health (97% sure)",
        "      for it: raw.orders.channel is gone",
        "      against it: decision:4 says table_dropped",
        "      on record: 2 observations, 1 decision",
        "    something else",
        "    1 asset below it",
        "    exposures: board",
        "    owners: ana@shop.example",
        "    Does it come back?",
        "    dataswarm show 1",
    ):
        assert line in [shown.rstrip() for shown in said.splitlines()], said
    assert "mart_7 and 2 more" in said
    assert not set("{}[]") & set(said)


@pytest.mark.parametrize(
    ("is_kept", "is_live", "told"),
    [
        (False, False, "dataswarm undo 1    (not any more: this world ends with the demo; --keep keeps it)"),
        (True, False, "dataswarm undo 1 --config /somewhere/dataswarm.yaml"),
        (False, True, "dataswarm undo 1 --config /somewhere/dataswarm.yaml"),
    ],
)
def test_undo_is_offered_where_it_can_be_done(is_kept: bool, is_live: bool, told: str) -> None:
    """The command works as printed, or the page says that it no longer does."""
    story = Story(CATALOGUE["column-renamed"], 1, "alter", is_kept=is_kept, config=Path("/somewhere/dataswarm.yaml"))
    story.is_live = is_live
    plan = {"summary": "Patch it.", "preview": "--- a/x\n+++ b/x\n", "undo_hint": "Revert it."}
    story.seen = Seen(remediations=[a_remedy(plan)], ratio={"ratio": 1.0, "final": 1})
    said = printed(story)
    assert f"to take it back: {told}\n" in said
    assert "by hand: Revert it." in said
    assert "100% of 1 incident\n" in said
