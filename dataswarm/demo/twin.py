"""The golden twin: the same shop without the fault.

A database beside the warehouse, copied before any fault, that only the grader may enter. When asked it is brought to
the day the warehouse is at and the models of the base commit are run in it; what its marts then hold is kept, so
that a world made for many tests can have the days to come worked out once (`work_out`) and copied with it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from psycopg import Connection, sql

from config.errors import UsageError
from dataswarm.demo import builds, loader, roles
from dataswarm.demo.comparison import Contents, ExpectedMarts, MartComparison
from dataswarm.demo.raw_tables import LOAD_COLUMNS, TABLES
from dataswarm.demo.world import World

LAST_GOOD: Final = "last_good"

Omitted = dict[str, list[str]]
"""Keys of raw rows, by the table's first name, that cannot come back and are not expected in any mart."""


def work_out(
    world: World, day: int, omit: Omitted | None = None, *, is_own_process: bool = False
) -> dict[str, Contents]:
    """What every mart should hold once the batches up to a day are built, by mart; remembered once known.

    Args:
        world: a running world.
        day: the last day loaded, counted from the first.
        omit: rows that cannot come back.
        is_own_process: run dbt inside this process, whose environment and output nobody else needs.
    """
    left_out = omit or {}
    state = f"{day} without {sorted((table, sorted(keys)) for table, keys in left_out.items())}"
    with world.connect("grader", roles.TWIN) as twin:
        if known := ExpectedMarts(twin).of(state):
            return known
        _move_to(twin, world, day, left_out)
    golden = world.directory / "golden"
    environment = builds.dbt_environment(world, "grader", database=roles.TWIN, owner="grader")
    # Built whole: an incremental model would remember rows of another day or rows left out since.
    arguments = builds.dbt_arguments(["run", "--full-refresh"], project=golden, target=golden / "target")
    if is_own_process:
        builds.run_here(arguments, environment)
    else:
        builds.run_apart(arguments, environment, golden)
    with world.connect("grader", roles.TWIN) as twin:
        expected = ExpectedMarts(twin)
        for mart in marts(world):
            expected.keep(state, mart, Contents.read(twin, mart))
        return expected.of(state)


def marts(world: World) -> list[str]:
    """The names of the marts, from the twin's manifest.

    Raises:
        UsageError: the twin was never built.
    """
    nodes = _manifest(world)["nodes"].values()
    return sorted(node["name"] for node in nodes if node["resource_type"] == "model" and "marts" in node["fqn"])


def marts_below(world: World, table: str) -> set[str]:
    """The marts that are built, over whatever steps, from a raw table (its first name)."""
    children: dict[str, list[str]] = _manifest(world)["child_map"]
    reached: set[str] = set()
    waiting = [f"source.shop.shop.{table}"]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting.extend(children.get(node, []))
    return {name for name in marts(world) if f"model.shop.{name}" in reached}


def remember_last_good(world: World) -> None:
    """Keep what the warehouse's marts hold now, under the grader's role, as the state before a fault."""
    with world.connect("grader") as warehouse, world.connect("grader", roles.TWIN) as twin:
        found = warehouse.execute(
            "select relname from pg_class where relnamespace = 'analytics'::regnamespace and relkind = 'r'"
        ).fetchall()
        expected = ExpectedMarts(twin)
        for (mart,) in found:
            expected.keep(LAST_GOOD, str(mart), Contents.read(warehouse, str(mart)))


def compare(
    world: World,
    *,
    omit: Omitted | None = None,
    at_last_good: frozenset[str] | set[str] = frozenset(),
    is_own_process: bool = False,
) -> tuple[MartComparison, ...]:
    """Compare every mart with what it should hold on the day the warehouse has been loaded for.

    Args:
        world: a running world whose last cycle has been built.
        omit: raw rows that cannot come back.
        at_last_good: marts that should hold what they held before the fault.
        is_own_process: run dbt inside this process.
    """
    expected = work_out(world, world.last_day(), omit, is_own_process=is_own_process)
    with world.connect("grader") as warehouse, world.connect("grader", roles.TWIN) as twin:
        before = ExpectedMarts(twin).of(LAST_GOOD) if at_last_good else {}
        found: list[MartComparison] = []
        for mart, golden in expected.items():
            against, wanted = (LAST_GOOD, before[mart]) if mart in at_last_good else ("twin", golden)
            found.append(Contents.read(warehouse, mart).compare(wanted, mart, against))
        return tuple(found)


def _manifest(world: World) -> dict[str, Any]:
    try:
        return builds.read_artefact(world.directory / "golden" / "target", "manifest")
    except FileNotFoundError:
        raise UsageError("the twin was never built", hint="twin.work_out(world, day) builds it") from None


def _move_to(twin: Connection[Any], world: World, day: int, omit: Omitted) -> None:
    """Bring the twin's raw tables to a day, forwards or back, without the rows left out."""
    loader.load(twin, world.shop, day, datetime.now(UTC))
    for table, raw in TABLES.items():
        name = sql.Identifier("raw", table)
        later = range(day + 1, loader.names_of(twin, table).loaded_through + 1)
        twin.execute(
            sql.SQL("delete from {} where {} = any(%s)").format(name, sql.Identifier(LOAD_COLUMNS[0])),
            ([loader.batch_id(world.shop, table, index) for index in later],),
        )
        twin.execute(
            sql.SQL("delete from {} where {}::text = any(%s)").format(name, sql.Identifier(raw.key)),
            (omit.get(table, []),),
        )
    twin.execute("update producer.tables set loaded_through = %s", (day,))
