"""The judge, in a process and role of its own: `python -m dataswarm.demo.grader --world DIR --json FILE`.

It reads what the saboteur wrote down, works out what the marts must be like, and compares every row. The exit status
is 0 if they are, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from psycopg import Connection

from config.errors import SwarmError
from dataswarm.demo import twin
from dataswarm.demo.comparison import LOAD_TIME_COLUMNS, MartComparison
from dataswarm.demo.faults.catalogue import CATALOGUE, Oracle
from dataswarm.demo.world import World


@dataclass(frozen=True, slots=True)
class Grade:
    """The judgement of the marts as they are.

    Attributes:
        fault: the last fault injected; empty if none was.
        oracle: how it was judged.
        is_held: whether every mart is as the oracle wants it.
        marts: mart by mart.
        listed_rows: keys of raw rows that cannot come back, by table.
        ignored_columns: load-time columns that were not compared.
    """

    fault: str
    oracle: str
    is_held: bool
    marts: tuple[MartComparison, ...]
    listed_rows: dict[str, list[str]]
    ignored_columns: tuple[str, ...] = LOAD_TIME_COLUMNS

    def to_json(self) -> str:
        """Indented JSON; each mart says whether it `is_equal`."""
        marts = [{**asdict(mart), "is_equal": mart.is_equal} for mart in self.marts]
        return json.dumps({**asdict(self), "marts": marts}, indent=2)


def grade(world: World, oracle: Oracle | None = None, *, is_own_process: bool = False) -> Grade:
    """Judge the marts of a world whose last cycle has been built.

    Args:
        world: a running world.
        oracle: judge by this one; the last fault's own if not given, `equal` where there was no fault.
        is_own_process: run dbt inside this process, whose environment and output nobody else needs.
    """
    with world.connect("grader") as connection:
        fault, subject, listed = _last_injection(connection)
    chosen: Oracle = oracle or (CATALOGUE[fault].oracle if fault else "equal")
    omit = listed if chosen == "equal_but_listed" else {}
    if chosen == "last_good":
        # The twin must have been built once for its lineage to be known.
        twin.work_out(world, world.last_day(), is_own_process=is_own_process)
    below = twin.marts_below(world, subject) if chosen == "last_good" else set()
    compared = twin.compare(world, omit=omit, at_last_good=below, is_own_process=is_own_process)
    return Grade(fault, chosen, all(mart.is_equal for mart in compared), compared, omit)


def _last_injection(connection: Connection[Any]) -> tuple[str, str, dict[str, list[str]]]:
    known = connection.execute("select to_regclass('sabotage.injections') is not null").fetchone()
    if known is None or not known[0]:
        return "", "", {}
    row = connection.execute("select id, fault, subject from sabotage.injections order by id desc limit 1").fetchone()
    if row is None:
        return "", "", {}
    listed: dict[str, list[str]] = {}
    for table, key in connection.execute(
        "select table_key, row_key from sabotage.listed_rows where injection = %s order by row_key", (row[0],)
    ):
        listed.setdefault(str(table), []).append(str(key))
    return str(row[1]), str(row[2]), listed


def main(arguments: list[str] | None = None) -> int:
    """Judge, print the JSON, and write it to a file if asked."""
    parser = argparse.ArgumentParser(prog="python -m dataswarm.demo.grader", description="The demo's judge.")
    parser.add_argument("--world", type=Path, required=True, help="directory of the demo world")
    parser.add_argument("--oracle", choices=get_args(Oracle), help="judge by this one instead of the fault's own")
    parser.add_argument("--json", type=Path, help="write the judgement to this file too")
    parser.add_argument("--work-out", type=int, nargs="+", metavar="DAY", help="only work out the twin for these days")
    chosen = parser.parse_args(arguments)
    try:
        world = World.open(chosen.world)
        if chosen.work_out is not None:
            for day in chosen.work_out:
                twin.work_out(world, day, is_own_process=True)
            return 0
        judged = grade(world, chosen.oracle, is_own_process=True)
    except SwarmError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(judged.to_json() + "\n")
    if chosen.json is not None:
        chosen.json.write_text(judged.to_json() + "\n")
    return 0 if judged.is_held else 1


if __name__ == "__main__":
    sys.exit(main())
