"""Whoever pins old rows is named, tables that swell are seen, and what a process counts survives its row."""

from __future__ import annotations

import psycopg
import pytest

from config.assets import Asset
from memory import bus
from memory.connection.database import Database
from memory.measuring.figures import BOUNDS, Figures, Spread, of
from memory.records import Reference
from memory.server import partitions
from memory.server.health import HOT, KINDS, OLD_TRANSACTIONS, Health, Pin, Table, health
from tests.memory.conftest import Clock

ORDERS = Asset("warehouse", "shop", "raw.orders")


async def _health(db: Database) -> Health:
    async with db.transaction() as tx:
        return await health(tx)


async def test_a_long_transaction_is_named(db: Database, owner_url: str, clock: Clock) -> None:
    """Its pid and name; since when at least, by the first event published after its snapshot, for it is another's."""
    with psycopg.connect(owner_url, application_name="forgotten") as forgotten:
        forgotten.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        forgotten.execute("SELECT 1")
        seen = next(pin for pin in (await _health(db)).pins if pin.name == "forgotten")
        assert (seen.kind, seen.pid, seen.seconds) == ("transaction", forgotten.info.backend_pid, None)
        async with db.transaction() as tx:
            await bus.publish(tx, "observation.x", ORDERS, Reference("observation", 1))
        clock.forward(900)
        found = await _health(db)
        pin = found.oldest("transaction")
        assert pin is not None
        assert pin.name == "forgotten"
        assert pin.seconds == pytest.approx(900, abs=1)
        assert pin.transactions >= 1
        [trouble] = [t for t in found.troubles if t.kind == "pinned"]
        assert "'forgotten'" in trouble.what
        assert f"pg_terminate_backend({pin.pid})" in trouble.hint
    assert not any(pin.name == "forgotten" for pin in (await _health(db)).pins)


async def test_an_owner_sees_since_when(db: Database, owner_url: str) -> None:
    """Asked by who may see other sessions, the time is the transaction's own."""
    from memory.connection import statements  # noqa: PLC0415 - for this test alone

    with (
        psycopg.connect(owner_url, application_name="forgotten") as forgotten,
        psycopg.connect(owner_url, autocommit=True) as owner,
    ):
        forgotten.execute("SELECT pg_current_xact_id()")
        rows = owner.execute(statements.all()["pins"], {"now": None}).fetchall()
        [row] = [row for row in rows if row[2] == "forgotten"]
        assert row[4] is not None
        assert row[4] < 60


async def test_a_well_database_has_no_troubles(db: Database, clock: Clock) -> None:
    """Nothing to say of a new one; a neglected one lacks partitions."""
    found = await _health(db)
    assert found.troubles == []
    assert {table.name for table in found.tables} == set(HOT)
    await partitions.maintain(db)
    clock.forward(7 * 86400)
    troubles = (await _health(db)).troubles
    assert {trouble.kind for trouble in troubles} == {"partitions"}
    assert any("no partition for today" in trouble.what for trouble in troubles)


def test_hot_tables_are_vacuumed_by_their_own_settings(owner_url: str) -> None:
    """A share of a large table is too late; each hot table has a threshold in rows."""
    with psycopg.connect(owner_url) as owner:
        rows = owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'dataswarm'::regnamespace AND relname = ANY (%s)"
            " AND NOT 'autovacuum_vacuum_scale_factor=0' = ANY (coalesce(reloptions, '{}'))",
            (list(HOT),),
        ).fetchall()
    assert rows == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_pin_has_a_cure(kind: str) -> None:
    """By transactions alone too, where since when is not known."""
    found = Health((Pin(kind, 7, "x", OLD_TRANSACTIONS + 1, None), Pin(kind, 8, "young", 5, 1.0)), (), {})
    [trouble] = found.troubles
    assert "'x'" in trouble.what
    assert trouble.hint


def test_a_swollen_table_is_told() -> None:
    """More dead rows than living ones, and many."""
    found = Health((), (Table("tasks", 10, 200_000, 1, None), Table("keys", 10, 20, 1, 3.0)), {"events": 7})
    assert [(t.kind, "tasks" in t.what) for t in found.troubles] == [("bloat", True)]


class _Ear:
    connected, gaps, catch_ups, received = True, 2, 1, 9


class _Pulse:
    beats, lost = 5, 3


class _Worker:
    lost, started, finished, retried = 1, 8, 7, 2
    running: tuple[int, ...] = (1,)

    def __init__(self) -> None:
        self.claim_seconds = Spread()
        self.claim_seconds.observe(0.002, 3)
        self.pickup_seconds = [0] * len(BOUNDS) + [4]


def test_figures_come_from_parts_and_survive_their_row() -> None:
    """Read by attribute; a part that counts less leaves nothing; stored and read again they are the same."""
    figures = of(_Ear(), _Pulse(), _Worker(), agent_leases_lost=6)
    assert (figures.gaps, figures.leases_lost, figures.retried, figures.running) == (2, 1, 2, 1)
    assert (figures.claim.number, figures.claim.quantile(0.5)) == (3, 0.0025)
    assert (figures.pickup.number, figures.pickup.quantile(0.5)) == (4, None)
    assert Figures.from_json(figures.to_json()) == figures
    assert Figures.from_json({"gaps": 1, "of a newer release": 2}).gaps == 1
    bare = of(_Ear(), None, None)
    assert (bare.started, bare.claim.number, bare.claim.quantile(0.99)) == (0, 0, None)


def test_spreads_add_up() -> None:
    """Those of several processes make one; other bounds cannot be added."""
    one, other = Spread(), Spread()
    one.observe(0.1)
    other.observe(100.0)
    both = one.plus(other)
    assert (both.number, both.seconds) == (2, 100.1)
    assert one.plus(Spread((1.0,), [0, 1], 2.0)) == one
