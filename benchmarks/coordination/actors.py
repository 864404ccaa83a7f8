"""A contender's process, asked one question at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Self

from benchmarks.coordination.contenders import ROOT, Contender

ANSWER_SECONDS = 600.0
LONGEST_ANSWER = 64 * 1024 * 1024


class AskedInVainError(Exception):
    """A contender failed, died or did not answer; its row goes on without it."""


class Actor:
    """One process of a contender, in its own environment, on one database. Use as `async with`."""

    def __init__(self, contender: Contender, url: str, cache: Path, log: Path) -> None:
        self.contender = contender
        self._url = url
        self._cache = cache
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.contender.command(self._cache),
                self._url,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=self.contender.environment(self._cache),
                limit=LONGEST_ANSWER,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._running()
        if process.returncode is None:
            assert process.stdin is not None  # noqa: S101 - it was asked for
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise AskedInVainError(f"{self.contender.name} was not started")
        return self._process

    def kill(self) -> None:
        """`kill -9`."""
        self._running().kill()

    async def ask(self, do: str, *, within: float = ANSWER_SECONDS, **more: Any) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            AskedInVainError: it failed, died, or did not answer in time; the message has its own words.
        """
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
            await process.stdin.drain()
            line = await asyncio.wait_for(process.stdout.readline(), within)
        except TimeoutError as error:
            raise AskedInVainError(f"{do}: no answer within {within:g} s") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise AskedInVainError(f"{do}: its process ended; {self._last_words()}") from error
        if not line:
            raise AskedInVainError(f"{do}: its process ended; {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise AskedInVainError(f"{do}: {answer['error'].partition(chr(10))[0][:200]}")
        return answer

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "it left no word")[:300]
