"""Renews the leases of running tasks from a thread and a connection of its own.

A blocked event loop does not lose leases at once, nor keep them for ever: after `loop_grace_seconds` without a tick
the renewal stops, so a hung process gives up its work, and a service has itself ended, to be started anew by whoever
watches over it. A task past its deadline is not renewed either. Whose lease is lost, or can no longer be known to be
held, is reported into the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from memory.connection import statements
from memory.records import Task

_log = logging.getLogger(__name__)
BEATS_A_LEASE = 3
EXIT_HUNG = 70  # EX_SOFTWARE of sysexits.h: a bug hung the process; systemd and compose start it again


def end_process() -> None:
    """End a process whose event loop hangs, at once: nothing in it can be trusted to clean up.

    For `on_hung` of a service that is started anew by systemd, compose or Kubernetes. Exit status 70.
    """
    _log.critical("the event loop hangs; the process ends, to be started anew", extra={"exit": EXIT_HUNG})
    logging.shutdown()
    os._exit(EXIT_HUNG)


@dataclass(slots=True)
class _Watched:
    token: UUID | None
    deadline: float
    held_until: float
    allowed: float


class Heartbeat:
    """One statement per beat renews everything this process runs.

    Args:
        url: an address of the database; a transaction pooler will do.
        worker: who we are; for the log.
        lease_seconds: how long a lease lasts; a third of it between beats.
        loop_grace_seconds: how long the loop may be silent before leases are given up; None: two leases.
        on_lost: called in the loop with the id of a task that is no longer ours: cancel its handler.
        on_hung: called once, in the heartbeat's thread, when leases were given up because the loop does not tick, and
            it still does not a beat later (`end_process`, say).

    Attributes:
        beats, lost: how many, for metrics.
    """

    def __init__(
        self,
        url: str,
        worker: UUID,
        *,
        lease_seconds: float,
        loop_grace_seconds: float | None = None,
        on_lost: Callable[[int], None],
        on_hung: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._worker = worker
        self._lease = lease_seconds
        self._grace = loop_grace_seconds if loop_grace_seconds is not None else 2 * lease_seconds
        self._on_lost = on_lost
        self._on_hung = on_hung
        self._clock = clock
        self._watched: dict[int, _Watched] = {}
        self._fresh: dict[int, Task] = {}  # held since the last beat
        self._fresh_since = 0.0  # when the first of them was
        self._begun: dict[int, float] = {}  # of these, when they were begun
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticked = clock()
        self._was_silent = False
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self.beats = 0
        self.lost = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin beating for the tasks handled on this loop."""
        self._loop = loop
        self._ticked = self._clock()
        self._thread = threading.Thread(target=self._run, name="dataswarm-heartbeat", daemon=True)
        self._thread.start()

    def watch(self, task: Task) -> None:
        """Renew this task from now on, until it is forgotten, lost, or past its deadline."""
        self.hold([task])
        self.begin(task.id)

    def hold(self, tasks: Iterable[Task]) -> None:
        """Renew these, claimed and not begun: their deadlines do not run yet."""
        with self._guard:
            if not self._fresh:
                self._fresh_since = self._clock()
            self._fresh.update({task.id: task for task in tasks})

    def begin(self, task_id: int) -> None:
        """A task that is held is being worked on from now on: its deadline runs."""
        with self._guard:
            if task_id in self._fresh:
                self._begun[task_id] = self._clock()
            elif (watched := self._watched.get(task_id)) is not None:
                watched.deadline = self._clock() + watched.allowed

    def forget(self, *task_ids: int) -> None:
        """These are finished; renew them no more."""
        with self._guard:
            for task_id in task_ids:
                if self._fresh.pop(task_id, None) is None:
                    self._watched.pop(task_id, None)
                else:
                    self._begun.pop(task_id, None)

    def stop(self) -> None:
        """Stop beating and close the connection; leases run out by themselves."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._lease / BEATS_A_LEASE):
            self._ask_loop()
            self.beat()

    def _ask_loop(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: no tick, and the leases run out
                self._loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        self._ticked = self._clock()

    def beat(self) -> None:
        """Renew once, and report what is lost."""
        now = self._clock()
        with self._guard:
            self._watch_fresh()
            watched = dict(self._watched)
        overdue = {id_ for id_, task in watched.items() if now >= task.deadline}
        if now - self._ticked > self._grace:
            _log.error("the event loop does not tick; leases are given up", extra={"worker": str(self._worker)})
            renewable: dict[int, _Watched] = {}
            # A process that was stopped and goes on finds its loop as silent as a hung one: it gets a beat to answer.
            if self._was_silent and self._on_hung is not None:
                hung, self._on_hung = self._on_hung, None
                hung()
            self._was_silent = True
        else:
            self._was_silent = False
            renewable = {id_: task for id_, task in watched.items() if id_ not in overdue}
        held = self._renew(renewable) if renewable else {}
        gone = set(overdue)
        for id_, task in watched.items():
            if held is not None and id_ in renewable and id_ not in held:
                gone.add(id_)
            elif held is not None and held.get(id_):
                task.held_until = now + self._lease
            elif now >= task.held_until:
                gone.add(id_)  # not renewed for a whole lease: somebody else may have it by now
        self._report(gone)
        self.beats += 1

    def _watch_fresh(self) -> None:
        """What was held since the last beat and is not finished yet: most tasks never come so far."""
        for id_, task in self._fresh.items():
            begun = self._begun.get(id_, math.inf)
            until = self._fresh_since + self._lease
            self._watched[id_] = _Watched(task.token, begun + task.deadline_seconds, until, task.deadline_seconds)
        self._fresh.clear()
        self._begun.clear()

    def _renew(self, tasks: dict[int, _Watched]) -> dict[int, bool] | None:
        """The ids still ours, and whether each was renewed; None when the database could not be asked."""
        session = statements.load("session")
        ordered = sorted(tasks)
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=max(2, int(self._lease / BEATS_A_LEASE)),
                    application_name="dataswarm/heartbeat",
                    prepare_threshold=None,
                    tcp_user_timeout=int(self._lease * 1000),
                )
            limit = f"{int(self._lease * 1000)}ms"
            role = {"role": "dataswarm_internal", "statement": limit, "idle": limit}
            with self._connection.pipeline():
                self._connection.execute(session["begin"])
                self._connection.execute(session["enter_relaxed"], role)
                cursor = self._connection.execute(
                    statements.load("tasks")["renew_tasks"],
                    {
                        "ids": ordered,
                        "tokens": [tasks[id_].token for id_ in ordered],
                        "lease_seconds": self._lease,
                        "now": None,
                    },
                )
                self._connection.execute(session["commit"])
            held: dict[int, bool] = dict(cursor.fetchall())
        except (psycopg.Error, OSError) as error:
            _log.warning("a heartbeat failed and is tried again", extra={"error": type(error).__name__})
            if self._connection is not None:
                self._connection.close()
            return None
        return held

    def _report(self, gone: set[int]) -> None:
        for id_ in sorted(gone):
            with self._guard:
                if self._watched.pop(id_, None) is None:
                    continue  # finished meanwhile
            self.lost += 1
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._on_lost, id_)
