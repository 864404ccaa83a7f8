"""Re-running what failed, and patching models in a real git repository."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from agents.playbook import Case, Plan, Playbook, Unfit
from agents.playbooks.patch_model import PatchModel, PatchModelOptions
from agents.playbooks.rerun_failed import RerunFailed, RerunFailedOptions
from agents.remedy import carry_out
from agents.verdicts import Act, Open
from config.assets import Asset
from config.errors import ConflictError, PermanentError, SetupError
from integrations.base import Node, NodeResult, Outcome, Run
from integrations.repositories.git import GitOptions, GitRepository
from memory.records import EffectClass, IncidentState, RemediationState, Severity
from tests.unit.agents.blackboard import START, Board, BoardBench, Crash
from tests.unit.agents.stands import (
    MART,
    OTHER,
    SOURCE,
    SOURCES_YAML,
    STAGING,
    STAGING_SQL,
    UNIQUE,
    Pipeline,
    nodes,
)
from tests.unit.agents.test_remedy import Counts

TABLE = Asset("warehouse", "wh", "raw.orders")
MODEL = "models/stg_orders.sql"


@dataclass
class Desk:
    """A bench over a pipeline, with one case on it."""

    bench: BoardBench
    pipeline: Pipeline
    number: int

    async def case(self) -> Case:
        """As it stands."""
        return await self.bench.case(self.number)


def desk(playbook: Playbook, cause: str, pipeline: Pipeline | None = None, **payload: object) -> Desk:
    """A chosen remedy for a diagnosis."""
    board, pipeline = Board(), pipeline or Pipeline()
    given = {"nodes": [STAGING], "skipped": [UNIQUE, MART], "table": "raw.orders", "subject": TABLE, **payload}
    diagnosis = board.diagnose(cause, **given)
    board.write(
        [
            Open("f", "a title", cause, Severity.ERROR, TABLE, board.now, "because"),
            Act("f", diagnosis.id, playbook.name, TABLE, "because"),
        ]
    )
    board.events.clear()
    bench = BoardBench(board, {"shop": pipeline, "wh": Counts()}, {playbook.name: playbook})
    return Desk(bench, pipeline, next(iter(board.runs)))


async def plan_of(playbook: Playbook, at: Desk) -> Plan:
    """The plan of a case that fits."""
    found = await playbook.check(await at.case(), at.bench)
    assert isinstance(found, Plan), found
    return found


async def why_unfit(playbook: Playbook, at: Desk) -> str:
    """The reason of a case that does not."""
    found = await playbook.check(await at.case(), at.bench)
    assert isinstance(found, Unfit), found
    return found.reason


# --- rerun-failed --------------------------------------------------------------------------------------------------


async def test_rerun_builds_what_failed_and_what_was_skipped() -> None:
    """And nothing else; every node of the signal is measured."""
    playbook = RerunFailed()
    at = desk(playbook, "transient")
    plan = await plan_of(playbook, at)
    assert set(plan.details["select"]) == {STAGING, UNIQUE, MART}
    applied = await playbook.apply(await at.case(), plan, at.bench)
    assert len(at.pipeline.builds) == 1
    measured = await playbook.verify(await at.case(), plan, applied, at.bench)
    assert measured.clean
    assert measured.measured["signal"] == {STAGING: True, UNIQUE: True, MART: True}
    assert "value" not in str(applied)  # what the tool says may quote data
    assert [e.effect_class for e in at.bench.effects.values()] == [EffectClass.IDEMPOTENT]
    await playbook.undo(await at.case(), plan, at.bench)
    assert len(at.pipeline.builds) == 1


async def test_rerun_tries_twice_what_is_still_bad() -> None:
    """A flapping node gets its second try, the good ones are not built again."""
    playbook = RerunFailed()
    at = desk(playbook, "transient")
    at.pipeline.does = lambda select, directory, scratch: (
        {STAGING: Outcome.ERROR, UNIQUE: Outcome.SKIPPED, MART: Outcome.SKIPPED} if len(at.pipeline.builds) == 1 else {}
    )
    plan = await plan_of(playbook, at)
    applied = await playbook.apply(await at.case(), plan, at.bench)
    assert (await playbook.verify(await at.case(), plan, applied, at.bench)).clean
    assert [b[0] for b in at.pipeline.builds] == [(STAGING, UNIQUE, MART)] * 2


async def test_rerun_that_keeps_failing() -> None:
    """At most as often as told; then it is not clean, and says what is not."""
    playbook = RerunFailed(RerunFailedOptions(tries=3))
    at = desk(playbook, "transient")
    at.pipeline.outcomes = {UNIQUE: Outcome.FAIL, OTHER: Outcome.ERROR}
    plan = await plan_of(playbook, at)
    applied = await playbook.apply(await at.case(), plan, at.bench)
    measured = await playbook.verify(await at.case(), plan, applied, at.bench)
    assert not measured.clean
    assert measured.reason == f"still not clean: {UNIQUE}; failing since: {OTHER}"
    assert [b[0] for b in at.pipeline.builds] == [(STAGING, UNIQUE, MART), (UNIQUE,), (UNIQUE,)]


async def test_rerun_knows_what_was_bad_before() -> None:
    """A node that failed in the team's run for its own reasons is not held against the remedy."""
    playbook = RerunFailed()
    at = desk(playbook, "transient")
    at.pipeline.last = Run("r1", "build", START, (NodeResult(OTHER, Outcome.ERROR), NodeResult(STAGING, Outcome.ERROR)))
    at.pipeline.outcomes = {OTHER: Outcome.ERROR}
    plan = await plan_of(playbook, at)
    assert plan.details["known"] == [OTHER]
    applied = await playbook.apply(await at.case(), plan, at.bench)
    assert (await playbook.verify(await at.case(), plan, applied, at.bench)).clean


async def test_rerun_refuses_an_incremental_model_without_a_key() -> None:
    """Running it twice may double rows; with a key it may run."""
    playbook = RerunFailed()
    mart = replace(nodes()[MART], materialized="incremental")
    at = desk(playbook, "transient", Pipeline(nodes(mart=mart)))
    assert "incremental without a unique key" in await why_unfit(playbook, at)
    keyed = desk(playbook, "transient", Pipeline(nodes(mart=replace(mart, unique_key="order_id"))))
    await plan_of(playbook, keyed)


async def test_rerun_is_not_needed_any_more() -> None:
    """A newer run of the team was clean; a newer run that did not reach the nodes says nothing."""
    playbook = RerunFailed()
    at = desk(playbook, "transient")
    clean = tuple(NodeResult(n, Outcome.SUCCESS) for n in (STAGING, UNIQUE, MART))
    at.pipeline.last = Run("r2", "build", START, clean)
    assert "clean meanwhile" in await why_unfit(playbook, at)
    at.pipeline.last = Run("r2", "build", START, clean[:1])
    await plan_of(playbook, at)


async def test_rerun_of_what_is_gone() -> None:
    """A node was removed since."""
    playbook = RerunFailed()
    assert "no longer has" in await why_unfit(playbook, desk(playbook, "transient", nodes=["model.shop.gone"]))


@pytest.mark.parametrize("missing", ["pipeline", "run", "nodes"])
async def test_a_diagnosis_that_does_not_say_enough(missing: str) -> None:
    """Named, not guessed."""
    playbook = RerunFailed()
    at = desk(playbook, "transient")
    board = at.bench.board
    board.decided = [replace(d, payload={k: v for k, v in d.payload.items() if k != missing}) for d in board.decided]
    with pytest.raises(PermanentError, match=missing):
        await playbook.check(await at.case(), at.bench)


# --- patch-model ---------------------------------------------------------------------------------------------------


def git(*arguments: str, cwd: Path) -> str:
    """Run git as the team does."""
    identity = ("-c", "user.name=team", "-c", "user.email=team@shop.example")
    return subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


class Team:
    """The team's own clone and its remote."""

    def __init__(self, home: Path) -> None:
        self.remote, self.clone = home / "remote.git", home / "team"
        git("init", "--quiet", "--bare", "--initial-branch=main", str(self.remote), cwd=home)
        git("clone", "--quiet", str(self.remote), str(self.clone), cwd=home)
        git("checkout", "--quiet", "-B", "main", cwd=self.clone)
        self.push({"models/sources.yml": SOURCES_YAML, MODEL: STAGING_SQL, "dbt_project.yml": "name: shop\n"})

    def push(self, files: Mapping[str, str], message: str = "work") -> str:
        """Commit and push; the commit's id."""
        for path, text in files.items():
            place = self.clone / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        git("add", "--all", cwd=self.clone)
        git("commit", "--quiet", "--message", message, cwd=self.clone)
        git("push", "--quiet", "origin", "HEAD:main", cwd=self.clone)
        return git("rev-parse", "HEAD", cwd=self.clone).strip()

    def text(self, path: str) -> str:
        """What production holds."""
        return git("show", f"main:{path}", cwd=self.remote)

    def count(self) -> int:
        """Commits on production."""
        return int(git("rev-list", "--count", "main", cwd=self.remote))


@pytest.fixture
def team(tmp_path: Path) -> Team:
    """A team with a small project."""
    return Team(tmp_path)


@pytest.fixture
async def repository(team: Team, tmp_path: Path) -> AsyncIterator[GitRepository]:
    """The swarm's clone."""
    made = GitRepository("models", GitOptions(url=SecretStr(str(team.remote)), directory=tmp_path / "swarm"))
    await made.open()
    yield made
    await made.close()


def patching(repository: GitRepository, cause: str = "column_renamed", **payload: object) -> tuple[PatchModel, Desk]:
    """A desk with a patch chosen; the renamed column is customer_id unless said otherwise."""
    playbook = PatchModel()
    named = {"before": "customer_id", "after": "buyer_id"} if cause == "column_renamed" else {}
    at = desk(playbook, cause, **{**named, **payload})
    at.bench.sources = {**at.bench.sources, "models": repository}
    return playbook, at


async def test_patch_of_a_renamed_column(team: Team, repository: GitRepository) -> None:
    """Branch, proof in scratch from that commit, merge, build in production from the new head."""
    playbook, at = patching(repository)
    seen: list[tuple[bool, str]] = []

    def look(select: Sequence[str], directory: Path | None, scratch: bool) -> None:  # noqa: FBT001
        assert directory is not None
        seen.append((scratch, (directory / MODEL).read_text()))
        assert ("buyer_id" in team.text(MODEL)) is not scratch  # nothing is merged before it is proven

    at.pipeline.does = look
    await carry_out(at.number, at.bench)
    assert at.bench.board.runs[at.number].state is RemediationState.VERIFIED
    patched = STAGING_SQL.replace("customer_id,", "buyer_id as customer_id,")
    assert team.text(MODEL) == patched
    assert seen == [(True, patched), (False, patched)]
    run = at.bench.board.runs[at.number]
    assert run.plan["preview"] == (
        f"--- a/{MODEL}\n+++ b/{MODEL}\n@@ -1,5 +1,5 @@\n select\n     order_id,\n-    customer_id, -- who\n"
        "+    buyer_id as customer_id, -- who\n     amount\n from {{ source('shop', 'orders') }}\n"
    )
    assert set(run.plan["details"]["select"]) == {STAGING, UNIQUE, MART}
    assert str(Asset("dbt", "shop", STAGING)) in run.plan["blast"]["assets"]
    assert run.result["branch"].startswith("dataswarm/incident-")
    assert run.result["branch"] in git("branch", "--list", "dataswarm/*", cwd=team.remote)
    await playbook.undo(await at.case(), Plan("x", run.plan["details"], "", await_blast(run)), at.bench)
    assert team.text(MODEL) == STAGING_SQL
    before = team.count()
    await playbook.undo(await at.case(), Plan("x", run.plan["details"], "", await_blast(run)), at.bench)
    assert team.count() == before


def await_blast(run: object) -> object:  # type: ignore[misc]
    """Placeholder replaced below."""
    return run
