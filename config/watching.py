"""Noticing a changed configuration without a restart.

The *directory* is watched, not the file: editors and mounted volumes replace a file instead of writing into it, and
a watch on the file itself would go away with the old one. A slow look besides catches what the file system does not
tell (network mounts, a link further up, a secret file somewhere else).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path

from watchfiles import awatch

from config.errors import ConfigError
from config.settings import Settings

LOOK_SECONDS = 3.0
_EMPTY = (0,)


async def watch(
    path: Path,
    load: Callable[[], Settings],
    *,
    current: Settings | None = None,
    look_seconds: float = LOOK_SECONDS,
) -> AsyncGenerator[Settings | ConfigError, None]:
    """Yield the configuration each time it becomes another one; an unusable file yields its error.

    Args:
        path: the file; it need not exist yet.
        load: reads the configuration anew; called in a thread.
        current: what is in force; without it, what `load` says at the start.
        look_seconds: how often to look without having been told.

    The caller keeps what it had when an error comes. A change that leaves the settings equal yields nothing, an
    error that stays the same is yielded once, and going back to what was in force before an error is yielded.
    """
    known: Settings | tuple[object, ...] = current if current is not None else _mark(await _attempt(load))
    while True:
        names, folders = _names(path), _folders(path)
        async with aclosing(_signals(names, folders, look_seconds)) as signals:
            async for was_told in signals:
                before = await asyncio.to_thread(_state, path)
                found = await _attempt(load)
                # A file being written is empty for a moment, and would mean the defaults; the end of the writing
                # is told as well. One that is found empty by looking is meant to be.
                if before != await asyncio.to_thread(_state, path) or (was_told and before == _EMPTY):
                    continue
                if _mark(found) != known:
                    known = _mark(found)
                    yield found
                if _folders(path) != folders:
                    break  # the link leads elsewhere now: watch there


async def _signals(names: frozenset[str], folders: frozenset[Path], look_seconds: float) -> AsyncGenerator[bool, None]:
    """True for a change near the file, False when it is time to look; the first comes at once."""
    if not folders:
        yield False
        await asyncio.sleep(look_seconds)
        return
    looked = time.monotonic()
    told = awatch(
        *folders,
        watch_filter=None,
        recursive=False,
        debounce=400,
        rust_timeout=int(look_seconds * 1000),
        yield_on_timeout=True,
    )
    # The watch is up once its first step has run; only then is the first look of use, or a change in between is lost.
    following = asyncio.ensure_future(anext(told))
    try:
        await asyncio.sleep(0)
        yield False
        while True:
            changes = await following
            following = asyncio.ensure_future(anext(told))
            # `..data` is what mounted volumes swap
            concerns = any((name := Path(file).name) in names or name.startswith("..") for _, file in changes)
            # Changes to other files keep the time-out from coming, hence the last condition.
            if concerns or not changes or time.monotonic() - looked > look_seconds:
                looked = time.monotonic()
                yield concerns
    except OSError:  # no more watches to be had here, or the directory went: look instead, then try again
        await asyncio.sleep(look_seconds)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration, OSError):
            await following
        await told.aclose()


async def _attempt(load: Callable[[], Settings]) -> Settings | ConfigError:
    try:
        return await asyncio.to_thread(load)
    except ConfigError as error:
        return error


def _mark(found: Settings | ConfigError) -> Settings | tuple[object, ...]:
    return tuple(found.problems) if isinstance(found, ConfigError) else found


def _folders(path: Path) -> frozenset[Path]:
    """Where changes are to be expected: beside the file, and beside what it links to."""
    return frozenset(p for p in (path.absolute().parent, path.resolve().parent) if p.is_dir())


def _names(path: Path) -> frozenset[str]:
    """What the file is called, and what it links to."""
    return frozenset((path.name, path.resolve().name))


def _state(path: Path) -> tuple[int, ...]:
    """What changes whenever the file does."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found.st_size else _EMPTY
