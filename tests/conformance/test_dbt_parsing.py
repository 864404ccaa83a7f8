"""What dbt has parsed once it need not parse again, whichever of the swarm's directories it builds in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator

MODEL = "model.bakery.stg_sales"


def orchestrator(bakery: Any, project: Any, work: Path, **options: object) -> DbtOrchestrator:
    """An orchestrator of the team's project with a workplace of its own."""
    given = {"warehouse": "bakery", "project_dir": project.directory, "env": bakery.environment, "work_dir": work}
    return DbtOrchestrator("bakery", DbtOptions.model_validate(given | options))


def parsed(target: Path) -> dict[str, float]:
    """When each node of a build was parsed."""
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    return {name: node["created_at"] for name, node in manifest["nodes"].items()}


def target(work: Path, label: str) -> Path:
    """Where the build of a label left its artefacts."""
    [found] = (work / "bakery").glob(f"*-{label}-*/target")
    return found


async def test_a_new_directory_begins_with_what_was_parsed(bakery: Any, project: Any, tmp_path: Path) -> None:
    """The next task's build parses nothing again, and one from a checkout in which a model differs parses that."""
    work = tmp_path / "w"
    builder = orchestrator(bakery, project, work, dbt_target="production", scratch_target="scratch")
    for first, second, is_scratch in (("made", "remade", False), ("tried", "retried", True)):
        for label in (first, second):
            run = await builder.build([MODEL], scratch=is_scratch, label=label)
            assert {result.outcome.value for result in run.results} == {"success"}, label
        assert parsed(target(work, second)) == parsed(target(work, first))
    before = parsed(target(work, "made"))
    assert not set(before.items()) & set(parsed(target(work, "tried")).items())  # a target has a parse of its own
    checkout = tmp_path / "checkout"
    shutil.copytree(project.directory, checkout, ignore=shutil.ignore_patterns("target", "logs"))
    [model] = checkout.rglob("stg_sales.sql")
    model.write_text(model.read_text(encoding="utf-8") + "\n-- one line more\n", encoding="utf-8")
    await builder.build([MODEL], directory=checkout, label="patched")
    anew = {name for name, at in parsed(target(work, "patched")).items() if at != before[name]}
    assert MODEL in anew
    assert anew < set(before)


async def test_the_first_begins_with_what_the_team_parsed(bakery: Any, project: Any, tmp_path: Path) -> None:
    """With the team's own target and login nothing is parsed twice; where that file is broken, all is parsed anew."""
    kept = project.directory / "target" / "partial_parse.msgpack"
    before, whole = parsed(project.directory / "target"), kept.read_bytes()
    await orchestrator(bakery, project, tmp_path / "v").build([MODEL], label="first")
    assert parsed(target(tmp_path / "v", "first")) == before
    kept.write_bytes(whole[: len(whole) // 2])
    try:
        await orchestrator(bakery, project, tmp_path / "w").build([MODEL], label="first")
    finally:
        kept.write_bytes(whole)
    assert not set(before.items()) & set(parsed(target(tmp_path / "w", "first")).items())
