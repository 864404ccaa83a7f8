"""A changed file is noticed however it was changed, a wrong one is reported, an equal one is not. Real files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.settings import Settings, load
from config.watching import watch
from tests.pace import PATIENCE

NEVER = 600.0  # the slow look is out of the way: what is noticed was told


class Changes:
    """What a watch yields, one at a time, as the number of workers or `wrong`."""

    def __init__(self, found: AsyncIterator[Settings | ConfigError]) -> None:
        self._found = found

    async def next(self) -> int | str:
        """The next thing yielded."""
        async with asyncio.timeout(PATIENCE):
            found = await anext(self._found)
        return "wrong" if isinstance(found, ConfigError) else found.runtime.workers


class Loads:
    """Loads a file, and lets a test wait until it has been loaded again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.again = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> Settings:
        """Load; called in a thread."""
        self._loop.call_soon_threadsafe(self.again.set)
        return load(self.file, environ={})


def write(file: Path, workers: object) -> None:
    """Write into the file, as `cat >` does."""
    file.write_text(f"runtime: {{workers: {workers}}}\n")


def swap(file: Path, workers: object) -> None:
    """Replace the file by another one, as editors do."""
    fresh = file.with_name("fresh.tmp")
    write(fresh, workers)
    fresh.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two workers."""
    path = tmp_path / "dataswarm.yaml"
    write(path, 2)
    return path


async def armed(changes: Changes, file: Path) -> None:
    """Wait until the watch is known to be up: its first answer comes from inside."""
    swap(file, 3)
    assert await changes.next() == 3


async def test_writes_swaps_and_mistakes_are_noticed(file: Path) -> None:
    """Written in place, replaced, broken, mended, removed, restored: one answer each."""
    async with aclosing(watch(file, Loads(file), current=load(file, environ={}), look_seconds=NEVER)) as found:
        changes = Changes(found)
        await armed(changes, file)
        write(file, 4)
        assert await changes.next() == 4
        swap(file, 5)
        assert await changes.next() == 5
        swap(file, "many")
        assert await changes.next() == "wrong"
        swap(file, 5)
        assert await changes.next() == 5
        await asyncio.to_thread(file.unlink)
        assert await changes.next() == "wrong"
        write(file, 6)
        assert await changes.next() == 6


async def test_a_change_before_the_watch_is_up_is_not_lost(file: Path) -> None:
    """The caller loaded, then the file changed, then the watch began: the change is yielded at once."""
    before = load(file, environ={})
    write(file, 9)
    async with aclosing(watch(file, Loads(file), current=before, look_seconds=NEVER)) as found:
        assert await Changes(found).next() == 9


async def test_what_means_the_same_yields_nothing(file: Path) -> None:
    """Another comment, the same bytes again, the same mistake once more: the next answer is the next real change."""
    loads = Loads(file)
    async with aclosing(watch(file, loads, current=load(file, environ={}), look_seconds=NEVER)) as found:
        changes = Changes(found)
        await armed(changes, file)
        for text in ("runtime: {workers: 3}  # three\n", "runtime:\n  workers: 3\n"):
            following = asyncio.ensure_future(changes.next())
            loads.again.clear()
            await asyncio.to_thread(file.write_text, text)
            await asyncio.wait_for(loads.again.wait(), PATIENCE)
            assert not following.done()
            write(file, 7)
            assert await following == 7
            swap(file, 3)
            assert await changes.next() == 3


async def test_a_swapped_volume_is_noticed(tmp_path: Path) -> None:
    """Mounted configuration swaps a link to a directory; the file itself is a link through it."""
    for number in (2, 3, 4):
        (tmp_path / f"..{number}").mkdir()
        write(tmp_path / f"..{number}" / "dataswarm.yaml", number)
    (tmp_path / "..data").symlink_to("..2")
    file = tmp_path / "dataswarm.yaml"
    file.symlink_to("..data/dataswarm.yaml")

    def turn(number: int) -> None:
        (tmp_path / "..new").symlink_to(f"..{number}")
        os.replace(tmp_path / "..new", tmp_path / "..data")  # noqa: PTH105 - a link, not what it leads to

    async with aclosing(watch(file, Loads(file), current=load(file, environ={}), look_seconds=NEVER)) as found:
        changes = Changes(found)
        turn(3)
        assert await changes.next() == 3
        turn(4)
        assert await changes.next() == 4
        write(tmp_path / "..4" / "dataswarm.yaml", 5)
        assert await changes.next() == 5


async def test_the_slow_look_finds_what_nobody_told(tmp_path: Path) -> None:
    """A file in a directory that does not exist yet, and a secret file elsewhere, are found by looking."""
    file = tmp_path / "later" / "dataswarm.yaml"
    elsewhere = tmp_path / "elsewhere"
    async with aclosing(watch(file, Loads(file), current=Settings(), look_seconds=0.05)) as found:
        changes = Changes(found)
        assert await changes.next() == "wrong"
        file.parent.mkdir()
        write(file, 3)
        assert await changes.next() == 3
        elsewhere.write_text("one")
        file.write_text("runtime: {workers: 4}\nmodel: {api_key_file: ../elsewhere}\n")
        assert await changes.next() == 4
        elsewhere.write_text("two")
        assert await changes.next() == 4


async def test_a_file_being_written_is_not_taken_for_the_defaults(file: Path) -> None:
    """Emptied first and written then: no moment of defaults in between."""
    loads = Loads(file)
    async with aclosing(watch(file, loads, current=load(file, environ={}), look_seconds=NEVER)) as found:
        changes = Changes(found)
        await armed(changes, file)
        with file.open("w") as writing:
            writing.write("runtime: {workers: 8}\n")
        assert await changes.next() == 8


async def test_without_watches_it_still_looks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no more watches to give, changes are found all the same."""

    async def refused(*paths: object, **_options: object) -> AsyncIterator[set[object]]:
        if paths:
            raise OSError("no space left on device")
        yield set()

    monkeypatch.setattr("config.watching.awatch", refused)
    async with aclosing(watch(file, Loads(file), current=load(file, environ={}), look_seconds=0.05)) as found:
        following = asyncio.ensure_future(Changes(found).next())
        write(file, 3)
        assert await following == 3
