"""Policy: the most careful stage wins, rows only narrow, approval lifts `propose` and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.playbook import Gate
from agents.policy import STAGES, Request, Standing, decide
from config.assets import Asset
from config.settings import Settings
from memory.records import EffectClass

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
ORDERS = Asset("warehouse", "shop", "raw.orders")
CARE = [Gate.ACT, Gate.PROPOSE, Gate.OBSERVE, Gate.REFUSE]


def settings(**policy: Any) -> Settings:
    """Settings with this policy, acting by default."""
    return Settings.model_validate({"policy": {"autonomy": "act", **policy}})


def request(**changes: Any) -> Request:
    """A harmless request, changed."""
    return Request(**{"agent": "incident-response", "playbook": "patch-model", "subject": ORDERS, **changes})


def test_nothing_is_done_unless_somebody_said_so() -> None:
    """The defaults observe."""
    permit = decide(request(), Settings(), Standing(), NOON)
    assert (permit.gate, permit.stage) == (Gate.OBSERVE, "autonomy")


def test_everything_allowed_acts_and_every_stage_left_a_trace() -> None:
    """With act everywhere the gate is open, and the trail names each stage."""
    permit = decide(request(), settings(), Standing(), NOON)
    assert permit.gate is Gate.ACT
    assert len(permit.trail) == len(STAGES)


@pytest.mark.parametrize(
    ("changed", "standing", "policy", "gate", "stage"),
    [
        ({}, Standing(kill_switch="drill"), {}, Gate.REFUSE, "kill-switch"),
        ({}, Standing(readable=False), {}, Gate.REFUSE, "kill-switch"),
        ({}, Standing(caps=[("agent:incident-response", "propose")]), {}, Gate.PROPOSE, "caps"),
        ({}, Standing(caps=[("asset:warehouse://shop/*", "paused")]), {}, Gate.REFUSE, "caps"),
        ({}, Standing(caps=[("playbook:other", "paused")]), {}, Gate.ACT, "all"),
        ({"origin": "model"}, Standing(), {}, Gate.PROPOSE, "origin"),
        ({"moves_data": True}, Standing(), {}, Gate.PROPOSE, "data"),
        (
            {"moves_data": True},
            Standing(),
            {"assets": [{"pattern": "warehouse://shop/raw.*", "autonomy": "act"}]},
            Gate.ACT,
            "all",
        ),
        ({"effect_class": EffectClass.NOT_INVERTIBLE}, Standing(), {}, Gate.PROPOSE, "inverse"),
        ({}, Standing(), {"assets": [{"pattern": "*raw.orders", "tier": 0}]}, Gate.PROPOSE, "tier"),
        ({"share": 0.02}, Standing(), {}, Gate.PROPOSE, "blast"),
        ({}, Standing(remedies_last_hour=10), {}, Gate.REFUSE, "budget"),
        ({}, Standing(remedies_on_asset_last_hour=3), {}, Gate.REFUSE, "budget"),
        ({}, Standing(failed_on_incident=2), {}, Gate.REFUSE, "breaker"),
        ({}, Standing(silenced=True), {}, Gate.OBSERVE, "freeze"),
        ({}, Standing(), {"freeze": [{"start": "11:00", "end": "13:00"}]}, Gate.PROPOSE, "freeze"),
        (
            {},
            Standing(),
            {"assets": [{"pattern": "warehouse://shop/*", "autonomy": "propose"}]},
            Gate.PROPOSE,
            "autonomy",
        ),
    ],
)
def test_each_stage_holds_back(
    changed: dict[str, Any], standing: Standing, policy: dict[str, Any], gate: Gate, stage: str
) -> None:
    """Each stage alone decides what it is there for, and is named."""
    permit = decide(request(**changed), settings(**policy), standing, NOON)
    assert (permit.gate, permit.stage) == (gate, stage)


def test_a_rule_for_one_asset_opens_nothing_for_another() -> None:
    """Opting in for a raw table does not opt in for the marts a remedy builds as well."""
    opted_in = settings(autonomy="observe", assets=[{"pattern": "*/raw.*", "autonomy": "act"}])
    mart = Asset("warehouse", "shop", "marts.sales")
    assert decide(request(), opted_in, Standing(), NOON).gate is Gate.ACT
    assert decide(request(assets=(ORDERS, mart)), opted_in, Standing(), NOON).gate is Gate.OBSERVE


def test_approval_lifts_propose_and_nothing_else() -> None:
    """A human's yes opens `propose`; the kill switch, observe and the breaker stay."""
    approved = request(origin="model", approved_by="ana")
    assert decide(approved, settings(), Standing(), NOON).gate is Gate.ACT
    assert decide(approved, settings(), Standing(kill_switch="drill"), NOON).gate is Gate.REFUSE
    assert decide(approved, settings(), Standing(failed_on_incident=9), NOON).gate is Gate.REFUSE
    assert decide(approved, settings(autonomy="observe"), Standing(), NOON).gate is Gate.OBSERVE


@given(
    caps=st.lists(
        st.tuples(
            st.sampled_from(["all", "agent:incident-response", "playbook:patch-model", "asset:*"]),
            st.sampled_from(["act", "propose", "observe", "paused"]),
        )
    ),
    autonomy=st.sampled_from(["observe", "propose", "act"]),
)
def test_rows_only_narrow(caps: list[tuple[str, str]], autonomy: str) -> None:
    """No row of caps ever opens more than the file does."""
    free = decide(request(), settings(autonomy=autonomy), Standing(), NOON).gate
    capped = decide(request(), settings(autonomy=autonomy), Standing(caps=caps), NOON).gate
    assert CARE.index(capped) >= CARE.index(free)
