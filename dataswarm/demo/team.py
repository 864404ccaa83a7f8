"""The team's own scheduler, a process apart from everything else: `python -m dataswarm.demo.team --world DIR`.

It keeps dbt imported between cycles, which saves seconds each time. With `--commands` it obeys lines on its standard
input (`cycle`: load and build; `build`: build only; a world's directory may follow) and answers each with one line of
JSON; it ends with its input, so it never outlives whoever started it. `Team` is that conversation seen from the other
side.
"""

from __future__ import annotations

import argparse
import itertools
import select
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from config.errors import SwarmError, TransientError
from dataswarm.demo.cycle import CycleReport, run_cycle
from dataswarm.demo.world import World

DEFAULT_PACE_SECONDS: Final = 20.0


class Team:
    """A team process that runs cycles when told; use it as a context manager.

    Args:
        world: a running world.
        every: seconds after which a cycle starts although none was asked for; never if not given.
    """

    def __init__(self, world: World, *, every: float | None = None) -> None:
        self._world = world
        command = [sys.executable, "-m", "dataswarm.demo.team", "--world", str(world.directory), "--commands"]
        if every is not None:
            command += ["--every", str(every)]
        world.target.mkdir(parents=True, exist_ok=True)
        self._asked = 0
        self._log = world.target / "team.log"
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1
            )

    @property
    def pid(self) -> int:
        """The process id of the team."""
        return self._process.pid

    def cycle(self) -> CycleReport:
        """Load the next day and build; returns when both are done."""
        self.ask("cycle")
        return self.answer()

    def build(self) -> CycleReport:
        """Build again without loading; returns when it is done."""
        self.ask("build")
        return self.answer()

    def move_to(self, world: World) -> None:
        """Work for another world from now on: many short-lived worlds need not each wait for dbt to start.

        Answers nobody waited for are taken in first, so that they are not mistaken for the new world's.
        """
        while self._asked:
            self.answer()
        self._world = world

    def ask(self, command: str) -> None:
        """Tell the team what to do (`cycle` or `build`) and return at once; `answer` waits for the outcome."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{command} {self._world.directory}\n")
            self._process.stdin.flush()
            self._asked += 1

    def answer(self) -> CycleReport:
        """Wait for the next finished cycle.

        Raises:
            TransientError: the team's process ended; the end of its log is in the message.
        """
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise TransientError(f"the demo's team process ended: {self._log.read_text()[-1500:]}")
        self._asked = max(0, self._asked - 1)
        return CycleReport.from_json(line)

    def stop(self) -> None:
        """End the team after the cycle it is in."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _commands(every: float | None) -> Iterator[str]:
    """Lines of the standard input; `cycle` whenever none came for `every` seconds."""
    # Unbuffered on purpose: a line waiting in a buffer would be invisible to select.
    commands = FileIO(sys.stdin.fileno(), closefd=False)
    while True:
        ready, _, _ = select.select([commands], [], [], every)
        if not ready:
            yield "cycle"
            continue
        line = commands.readline()
        if not line:
            return
        yield line.decode().strip()


def _paced(every: float) -> Iterator[str]:
    yield "cycle"
    yield from _commands(every)


def main(arguments: list[str] | None = None) -> int:
    """Run the team until its cycles are done, its input ends, or it is interrupted; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dataswarm.demo.team", description="The shop's scheduler.")
    parser.add_argument("--world", type=Path, required=True, help="directory of the demo world")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--cycles", type=int, default=1, help="how many cycles to run (default 1)")
    length.add_argument("--forever", action="store_true", help="run until interrupted")
    length.add_argument("--commands", action="store_true", help="obey lines on the standard input")
    parser.add_argument("--every", type=float, help="seconds between cycles")
    chosen = parser.parse_args(arguments)
    if chosen.commands:
        wanted = _commands(chosen.every)
    elif chosen.forever:
        wanted = _paced(chosen.every or DEFAULT_PACE_SECONDS)
    else:
        wanted = itertools.repeat("cycle", chosen.cycles)
    is_green = True
    try:
        for line in wanted:
            command, _, directory = line.partition(" ")
            report = run_cycle(World.open(Path(directory or chosen.world)), loads=command != "build")
            is_green = report.is_green
            sys.stdout.write(report.to_json() + "\n")
            sys.stdout.flush()
    except SwarmError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if is_green or chosen.commands else 1


if __name__ == "__main__":
    sys.exit(main())
