"""Work beside the event loop, and what becomes of it when something goes wrong."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from integrations.warehouses.postgres.beside import Beside, in_a_thread, uncollected
from tests.pace import PATIENCE


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector on before, and on again afterwards whatever a test does."""
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


async def test_pieces_follow_each_other() -> None:
    """Each piece begins when the one before is done, and the context is left when all are."""
    done: list[str] = []
    gate = asyncio.Event()

    async def first() -> None:
        await gate.wait()
        done.append("first")

    async def next_one(name: str) -> None:
        done.append(name)

    async with Beside() as beside:
        beside.put(first)
        beside.put(next_one, "second")
        gate.set()
        await beside.done()
        assert done == ["first", "second"]
        beside.put(next_one, name="third")
    assert done == ["first", "second", "third"]


async def test_what_goes_wrong_in_a_piece_comes_out() -> None:
    """The error of a piece is raised where it is waited for; what was put after it never begins."""
    begun: list[int] = []

    async def fail() -> None:
        raise LookupError("of a piece")

    async def begin() -> None:
        begun.append(1)

    async def work() -> None:
        async with Beside() as beside:
            beside.put(fail)
            beside.put(begin)

    with pytest.raises(LookupError, match="of a piece"):
        await work()
    assert not begun


async def test_nothing_runs_on_after_a_failure() -> None:
    """Where the body fails, its error comes out, and a piece that waits for ever is ended."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait_for_ever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail() -> None:
        async with Beside() as beside:
            beside.put(wait_for_ever)
            await begun.wait()
            raise LookupError("of the body")

    with pytest.raises(LookupError, match="of the body"):
        await asyncio.wait_for(fail(), PATIENCE)
    assert ended.is_set()


@pytest.mark.usefixtures("collecting")
async def test_the_collector_is_as_it_was_afterwards() -> None:
    """Off while something is made, nested or failing, and then as it was found."""

    def look() -> bool:
        return gc.isenabled()

    with uncollected():
        assert not await in_a_thread(look)
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(LookupError), uncollected():
        raise LookupError
    assert gc.isenabled()
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


@pytest.mark.usefixtures("collecting")
def test_what_somebody_froze_stays_frozen() -> None:
    """Things frozen by the application are left so; else what was made counts as old, and can still be collected."""
    with uncollected():
        made: list[list[int]] = [[] for _ in range(1000)]
    assert gc.get_freeze_count() == 0
    assert any(one is made for one in gc.get_objects(generation=2))
    gc.freeze()
    with uncollected():
        pass
    assert gc.get_freeze_count() > 0
