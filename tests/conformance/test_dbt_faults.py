"""dbt as it comes in life: not installed, not parsing, no warehouse, killed, cancelled, in each other's way."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.errors import PermanentError, SetupError, SourceError, SwarmError, TransientError
from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator
from tests.pace import until

MODEL = "model.bakery.stg_sales"
# In dbt's place: writes its own id, then lasts until it is interrupted.
SLEEPER = """#!{python}
import os, pathlib, signal, sys, time
pathlib.Path({mark!r}).write_text(str(os.getpid()))
print("\\n10:00:00  Running with dbt=1.11\\n", flush=True)
time.sleep(float(os.environ.get("SLEEPER_SECONDS", "600")))
"""


def orchestrator(bakery: Any, project: Any, work: Path, **options: object) -> DbtOrchestrator:
    """An orchestrator of the team's project with a workplace of its own."""
    given = {
        "warehouse": "bakery",
        "project_dir": project.directory,
        "dbt_target": "production",
        "scratch_target": "scratch",
        "env": bakery.environment,
        "work_dir": work,
        "wait_seconds": 5,
        "grace_seconds": 0.5,
    }
    return DbtOrchestrator("bakery", DbtOptions.model_validate(given | options))


@pytest.fixture
def sleeper(tmp_path: Path) -> tuple[str, Path]:
    """An executable that only lasts, and the file it writes its id to."""
    mark, script = tmp_path / "pid", tmp_path / "dbt"
    script.write_text(SLEEPER.format(python=sys.executable, mark=str(mark)))
    script.chmod(0o755)
    return str(script), mark


def is_alive(process: int) -> bool:
    """Is it there, and not merely unburied?"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_dbt_is_not_installed(bakery: Any, project: Any, tmp_path: Path) -> None:
    """The executable that is missing is named, with how to get one; examining finds the same."""
    missing = orchestrator(bakery, project, tmp_path, executable="dbt-that-is-not-there")
    with pytest.raises(SetupError, match="dbt-that-is-not-there") as caught:
        await missing.build([MODEL])
    assert "pip install dbt-core" in caught.value.hint
    assert [f.what for f in await missing.examine() if not f.ok] == [caught.value.message]


async def test_a_project_that_does_not_parse(bakery: Any, project: Any, tmp_path: Path) -> None:
    """A checkout that dbt cannot parse is a SourceError with dbt's own words, trimmed; the team's is untouched."""
    checkout = tmp_path / "checkout"
    shutil.copytree(project.directory, checkout, ignore=shutil.ignore_patterns("target", "logs"))
    (checkout / "models" / "stg_sales.sql").write_text("select * from {{ ref('nobody_knows_this') }}")
    broken = orchestrator(bakery, project, tmp_path / "work")
    with pytest.raises(SourceError, match="nobody_knows_this") as caught:
        await broken.build([MODEL], directory=checkout, scratch=True, label="a fix")
    assert "dbt parse" in caught.value.hint
    assert len(caught.value.message) < 2000
    assert not (checkout / "target").exists()
    assert not (checkout / "logs").exists()


async def test_the_warehouse_is_down(bakery: Any, project: Any, tmp_path: Path) -> None:
    """A warehouse that cannot be reached leaves no artefact and is tried again; an old result is not taken for new."""
    env = bakery.environment | {"BAKERY_HOST": str(tmp_path)}
    down = orchestrator(bakery, project, tmp_path, env=env)
    stale = tmp_path / "bakery" / "build" / "target"
    stale.mkdir(parents=True)
    shutil.copy(project.directory / "target" / "run_results.json", stale)
    with pytest.raises(TransientError, match="cannot be reached"):
        await down.build([MODEL])


async def test_a_scratch_target_that_is_production(bakery: Any, project: Any, tmp_path: Path) -> None:
    """A scratch target that writes where production is gets found out and refused."""
    careless = orchestrator(bakery, project, tmp_path, scratch_target="careless")
    with pytest.raises(PermanentError, match="which is production's") as caught:
        await careless.build([MODEL], scratch=True)
    assert "schema" in caught.value.hint
    with pytest.raises(SetupError, match="scratch target"):
        await orchestrator(bakery, project, tmp_path, scratch_target=None).build([MODEL], scratch=True)


@pytest.mark.chaos
async def test_no_dbt_outlives_its_caller(bakery: Any, project: Any, tmp_path: Path) -> None:
    """`kill -9` of the process that called build(), in mid-build: no dbt is left alive, and the next build may run."""
    checkout = tmp_path / "checkout"
    shutil.copytree(project.directory, checkout, ignore=shutil.ignore_patterns("target", "logs"))
    (checkout / "models" / "stg_sales.sql").write_text(
        "select id, baker_id, amount, sold_at, pg_sleep(600)::text as nap from {{ source('till', 'sales') }} limit 1"
    )
    (checkout / "dbt_project.yml").write_text(
        (checkout / "dbt_project.yml").read_text() + "    stg_sales: { +materialized: table }\n"
    )
    caller = (
        "import asyncio, sys; from pathlib import Path; "
        "from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator; "
        "options = DbtOptions.model_validate_json(sys.argv[1]); "
        f"asyncio.run(DbtOrchestrator('bakery', options).build([{MODEL!r}], directory=Path({str(checkout)!r}),"
        " scratch=True))"
    )
    options = orchestrator(bakery, project, tmp_path / "work", grace_seconds=10).options.model_dump(mode="json")
    options["env"] = bakery.environment
    process = subprocess.Popen([sys.executable, "-c", caller, json.dumps(options)])  # noqa: ASYNC220
    # Really in the middle: the server is running the model's own statement, sent by dbt. (A look at
    # pg_stat_activity holds the same words, so it must not count itself or the look before it.)
    naps = (
        "from pg_stat_activity where query like '%pg_sleep(600)%' and query not like '%pg_stat_activity%'"
        " and state = 'active'"
    )
    try:
        await until(lambda: bool(bakery.run(f"select pid {naps}")))
        dbts = dbt_processes(tmp_path / "work")
        assert len(dbts) >= 2  # the leash and dbt itself
    finally:
        process.kill()
        process.wait()
    await until(lambda: not any(map(is_alive, dbts)) and not dbt_processes(tmp_path / "work"))
    # dbt was interrupted before it was killed, so it has cancelled what the server was doing for it.
    await until(lambda: not bakery.run(f"select pid {naps}"))


def dbt_processes(work: Path) -> list[int]:
    """Everything alive whose command line names the workplace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and is_alive(int(entry.name)):
            try:
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(work).encode() in command and b"-c" not in command.split(b"\0")[:3]:
                found.append(int(entry.name))
    return found


@pytest.mark.chaos
@pytest.mark.parametrize("way", ["cancel", "close", "timeout"])
async def test_a_build_can_be_ended(
    bakery: Any, project: Any, tmp_path: Path, sleeper: tuple[str, Path], way: str
) -> None:
    """Cancelled, closed, or over its time: the executable is gone before the caller goes on."""
    executable, mark = sleeper
    building = orchestrator(
        bakery, project, tmp_path, executable=executable, build_timeout_seconds=1 if way == "timeout" else 60
    )
    build = asyncio.create_task(building.build([MODEL]))
    await until(lambda: mark.exists() and mark.read_text() != "")
    if way == "cancel":
        build.cancel()
    elif way == "close":
        await building.close()
    with pytest.raises(TransientError if way == "timeout" else asyncio.CancelledError):
        await build
    assert not is_alive(int(mark.read_text()))


@pytest.mark.chaos
async def test_one_build_at_a_time(bakery: Any, project: Any, tmp_path: Path, sleeper: tuple[str, Path]) -> None:
    """A second build of the same source, also from another object, waits, and gives up with a TransientError."""
    executable, mark = sleeper
    first = orchestrator(bakery, project, tmp_path, executable=executable)
    second = orchestrator(bakery, project, tmp_path, executable=executable, wait_seconds=0.3)
    build = asyncio.create_task(first.build([MODEL]))
    await until(mark.exists)
    with pytest.raises(TransientError, match="another build"):
        await second.build([MODEL], label="other")
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build


async def test_never_while_the_team_builds(
    bakery: Any, project: Any, tmp_path: Path, sleeper: tuple[str, Path]
) -> None:
    """While the marker's process lives nothing is started; when it is gone the build goes on."""
    executable, mark = sleeper
    marker = tmp_path / "running.pid"
    marker.write_text(str(os.getpid()))
    env = bakery.environment | {"SLEEPER_SECONDS": "0"}
    options: dict[str, Any] = {"executable": executable, "running_marker": marker, "env": env}
    waiting = orchestrator(bakery, project, tmp_path, **options, wait_seconds=0.3)
    assert await waiting.is_running()
    with pytest.raises(TransientError, match="the team's run"):
        await waiting.build([MODEL])
    assert not mark.exists()
    patient = orchestrator(bakery, project, tmp_path, **options)
    build = asyncio.create_task(patient.build([MODEL]))
    asyncio.get_running_loop().call_later(0.2, marker.unlink)
    with pytest.raises(PermanentError, match="left no run results"):
        await build
    assert mark.exists()


async def test_artefacts_from_the_web(project: Any, loopback: Any) -> None:
    """A URL serves as target; absent, forbidden and broken servers are told apart, and no token is shown."""
    options = {"warehouse": "w", "target": f"{loopback.url}/t?sig=hunter2", "target_headers": {"X-Key": "hunter2"}}
    reading = DbtOrchestrator("shop", DbtOptions.model_validate(options))
    assert await reading.last_run() is None
    for name in ("manifest.json", "run_results.json"):
        loopback.files[f"/t/{name}?sig=hunter2"] = (project.directory / "target" / name).read_bytes()
    assert (await reading.project()).name == "bakery"
    assert await reading.last_run() is not None
    assert loopback.headers[-1]["X-Key"] == "hunter2"
    errors: list[tuple[int, type[SwarmError]]] = [(403, SetupError), (500, TransientError)]
    for status, error in errors:
        loopback.status = status
        loopback.files.clear()
        with pytest.raises(error) as caught:
            await reading.last_run()
        assert "hunter2" not in str(caught.value) + repr(reading.options.target_headers)
