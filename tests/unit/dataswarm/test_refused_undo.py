"""An undo that failed for good is seen by whoever asked for it, whatever became of the incident meanwhile."""

from __future__ import annotations

from uuid import uuid4

from dataswarm import operations, views
from memory.board import incidents
from memory.connection.database import Database
from memory.queue import tasks
from memory.records import IncidentState, RemediationState, Resolution, Task
from tests.unit.dataswarm.program import Program, Told, advance, program, remedied

__all__ = ["program"]

WHY = "permanent: analytics.stg_orders would go with the view raw.orders; nothing was dropped"


async def claimed(db: Database) -> Task:
    """The one task that is ready for the responder."""
    [task] = await tasks.claim(db, ["incident-response"], limit=1, worker=uuid4(), lease_seconds=60)
    return task


async def refused(db: Database) -> Told:
    """Resolved by hand, then taken back in vain."""
    told = await remedied(db)
    async with db.transaction() as tx:
        found = await incidents.get(tx, told.incident)
        assert found is not None
        await incidents.move(
            tx,
            found.id,
            before=found.state,
            after=IncidentState.RESOLVED,
            by="ann",
            reason="so",
            resolution=Resolution.HUMAN,
        )
    await operations.undo(db, told.remediation, by="ann")
    task = await claimed(db)
    async with db.transaction() as tx:
        await tasks.fail(tx, task, WHY, retry_in=None)
    return told


async def test_it_stands_with_the_remedy_and_with_the_incident(db: Database) -> None:
    """The last try, its error, and how to try again; of no other incident."""
    told = await refused(db)
    shown = await views.incident(db, told.incident)
    assert shown is not None
    [task] = shown["failed_tasks"]
    assert (task["kind"], task["agent"], task["attempt"], task["error"]) == ("undo", "incident-response", 1, WHY)
    assert task["hint"] == f"dataswarm tasks retry {task['id']}"
    [remedy] = shown["remediations"]
    assert remedy["not_taken_back"] == {"task_id": task["id"], "at": task["at"], "error": WHY}
    async with db.transaction() as tx:
        assert await incidents.failed_tasks(tx, told.incident + 1) == []


async def test_a_later_undo_that_works_takes_its_place(db: Database) -> None:
    """Asked for again and done: the remedy says no more that it was not. The dead letter stays on record."""
    told = await refused(db)
    again = await operations.undo(db, told.remediation, by="ann")
    shown = await views.incident(db, told.incident)
    assert shown is not None
    assert shown["remediations"][0]["not_taken_back"]["task_id"] != again["task_id"], "it is not refused yet"
    task = await claimed(db)
    async with db.transaction() as tx:
        await tasks.succeed(tx, task)
    await advance(db, told.remediation, (RemediationState.UNDONE,))
    shown = await views.incident(db, told.incident)
    assert shown is not None
    assert shown["remediations"][0]["not_taken_back"] is None
    assert len(shown["failed_tasks"]) == 1


async def test_the_last_of_several_counts(db: Database) -> None:
    """Refused twice, for two reasons: the newer one stands with the remedy, both with the incident."""
    told = await refused(db)
    await operations.undo(db, told.remediation, by="ann")
    task = await claimed(db)
    async with db.transaction() as tx:
        await tasks.fail(tx, task, "setup: the view playbook is not enabled here", retry_in=None)
    shown = await views.incident(db, told.incident)
    assert shown is not None
    assert [t["error"] for t in shown["failed_tasks"]] == [WHY, "setup: the view playbook is not enabled here"]
    assert shown["remediations"][0]["not_taken_back"]["error"].startswith("setup: ")


def test_the_page_says_so(program: Program) -> None:
    """`show` has it in plain words."""
    told = program.seed(refused)
    said = program("show", str(told.incident)).output
    for part in ("not taken back (", WHY, "Failed for good", "after 1 try", "dataswarm tasks retry "):
        assert part in said
    assert program.json("show", str(told.incident))["remediations"][0]["not_taken_back"]["error"] == WHY
