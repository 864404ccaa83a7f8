"""Re-running what failed, and patching models in a real git repository."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agents.playbook import BlastRadius, Case, Plan, Playbook, Unfit
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


def desk(playbook: Playbook, cause: str, pipeline: Pipeline | None = None, **payload: Any) -> Desk:
    """A chosen remedy for a diagnosis."""
    board, pipeline = Board(), pipeline or Pipeline()
    given: dict[str, Any] = {
        "nodes": [STAGING],
        "skipped": [UNIQUE, MART],
        "table": "raw.orders",
        "subject": TABLE,
        **payload,
    }
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


async def test_an_exposure_is_no_part_of_the_signal() -> None:
    """The tool reports it as skipped, and nothing ever builds it."""
    playbook = RerunFailed()
    at = desk(playbook, "transient", skipped=[UNIQUE, MART, "exposure.shop.board"])
    plan = await plan_of(playbook, at)
    applied = await playbook.apply(await at.case(), plan, at.bench)
    assert (await playbook.verify(await at.case(), plan, applied, at.bench)).clean


async def test_rerun_tries_twice_what_is_still_bad() -> None:
    """A flapping node gets its second try, the good ones are not built again."""
    playbook = RerunFailed()
    at = desk(playbook, "transient")
    at.pipeline.first = [{STAGING: Outcome.ERROR, UNIQUE: Outcome.SKIPPED, MART: Outcome.SKIPPED}]
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
    """The team's own clone and its remote, below `home`."""

    def __init__(self, home: Path) -> None:
        self.remote, self.clone = home / "remote.git", home / "team"

    @classmethod
    def found(cls, home: Path) -> Team:
        """A new team with a small project."""
        team = cls(home)
        git("init", "--quiet", "--bare", "--initial-branch=main", str(team.remote), cwd=home)
        git("clone", "--quiet", str(team.remote), str(team.clone), cwd=home)
        git("checkout", "--quiet", "-B", "main", cwd=team.clone)
        team.push({"models/sources.yml": SOURCES_YAML, MODEL: STAGING_SQL, "dbt_project.yml": "name: shop\n"})
        return team

    def push(self, files: Mapping[str, str], message: str = "work") -> None:
        """Commit and push."""
        for path, text in files.items():
            place = self.clone / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        git("add", "--all", cwd=self.clone)
        git("commit", "--quiet", "--message", message, cwd=self.clone)
        git("push", "--quiet", str(self.remote), "HEAD:main", cwd=self.clone)

    def text(self, path: str) -> str:
        """What production holds."""
        return git("show", f"main:{path}", cwd=self.remote)

    def count(self) -> int:
        """Commits on production."""
        return int(git("rev-list", "--count", "main", cwd=self.remote))


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team to copy."""
    home = tmp_path_factory.mktemp("team")
    Team.found(home)
    return home


@pytest.fixture
def team(founded: Path, tmp_path: Path) -> Team:
    """A team with a small project, of this test's own."""
    shutil.copytree(founded, tmp_path, dirs_exist_ok=True)
    return Team(tmp_path)


@pytest.fixture
async def repository(team: Team, tmp_path: Path) -> AsyncIterator[GitRepository]:
    """The swarm's clone."""
    made = GitRepository("models", GitOptions(url=SecretStr(str(team.remote)), directory=tmp_path / "swarm"))
    await made.open()
    yield made
    await made.close()


def patching(repository: GitRepository, cause: str = "column_renamed", **payload: Any) -> tuple[PatchModel, Desk]:
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

    def look(directory: Path | None, scratch: bool) -> None:
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
    plan = Plan("x", run.plan["details"], "", BlastRadius(()))
    await playbook.undo(await at.case(), plan, at.bench)
    assert team.text(MODEL) == STAGING_SQL
    commits = team.count()
    await playbook.undo(await at.case(), plan, at.bench)
    assert team.count() == commits


async def test_patch_that_does_not_stand_its_proof(team: Team, repository: GitRepository) -> None:
    """Nothing is merged, nothing is built in production; the branch stays for a human to read."""
    _, at = patching(repository)
    at.pipeline.in_scratch = {UNIQUE: Outcome.FAIL}
    commits = team.count()
    await carry_out(at.number, at.bench)
    run = at.bench.board.runs[at.number]
    assert run.state is RemediationState.FAILED
    assert "did not stand its proof" in run.result["reason"]
    assert team.count() == commits
    assert [b[2] for b in at.pipeline.builds] == [True]
    assert at.bench.board.incidents[run.incident_id].state is IncidentState.INVESTIGATING


async def test_patch_whose_model_was_not_built_in_the_proof(team: Team, repository: GitRepository) -> None:
    """A proof that skipped the patched model proves nothing."""
    _, at = patching(repository, nodes=[UNIQUE], skipped=[])
    at.pipeline.in_scratch = {STAGING: Outcome.SKIPPED}
    await carry_out(at.number, at.bench)
    assert f"not built: {STAGING}" in at.bench.board.runs[at.number].result["reason"]


async def test_patch_that_does_not_help_is_reverted(team: Team, repository: GitRepository) -> None:
    """Proven, merged, and yet not clean in production."""
    _, at = patching(repository)
    at.pipeline.outcomes = {UNIQUE: Outcome.FAIL}
    await carry_out(at.number, at.bench)
    assert at.bench.board.runs[at.number].state is RemediationState.UNDONE
    assert team.text(MODEL) == STAGING_SQL
    assert "Take back: Patch stg_orders.sql" in git("log", "-1", "--format=%s", "main", cwd=team.remote)


async def test_patch_when_the_team_pushes_meanwhile(team: Team, repository: GitRepository) -> None:
    """Head moved between check and merge: checked again on the new head, where the diff is the same."""
    _, at = patching(repository)

    def push_once(directory: Path | None, scratch: bool) -> None:
        if len(at.pipeline.builds) == 1:
            team.push({"README.md": "hello"}, "unrelated")

    at.pipeline.does = push_once
    await carry_out(at.number, at.bench)
    assert at.bench.board.runs[at.number].state is RemediationState.VERIFIED
    assert "buyer_id as customer_id" in team.text(MODEL)
    assert team.text("README.md") == "hello"
    assert [b[2] for b in at.pipeline.builds] == [True, True, False]


async def test_patch_when_the_team_patches_it_itself(team: Team, repository: GitRepository) -> None:
    """Head moved and there is nothing left to patch: given up, nothing of ours is merged."""
    _, at = patching(repository)
    own = STAGING_SQL.replace("customer_id,", "buyer_id as customer_id, -- by the team,")

    def push_once(directory: Path | None, scratch: bool) -> None:
        team.push({MODEL: own}, "follow the rename")

    at.pipeline.does = push_once
    await carry_out(at.number, at.bench)
    run = at.bench.board.runs[at.number]
    assert (run.state, run.result["outcome"]) == (RemediationState.FAILED, "conflict")
    assert team.text(MODEL) == own


MARKS = [
    *("do propose", "settle propose", "do prove", "settle prove", "do merge", "settle merge"),
    *("step head", "do rebuild", "settle rebuild", "step apply", "advance applied"),
]


@pytest.mark.parametrize("mark", MARKS)
async def test_patch_cut_and_resumed(team: Team, repository: GitRepository, mark: str) -> None:
    """Killed at any mark and taken up again: one commit on production, one branch, verified."""
    _, at = patching(repository)
    tag = "" if mark in ("step apply", "advance applied") else f" {await repository.head()}"[:9]
    at.bench.crash_before = mark + tag
    commits = team.count()
    with pytest.raises(Crash):
        await carry_out(at.number, at.bench)
    at.bench.crash_before = ""
    await carry_out(at.number, at.bench)
    assert at.bench.board.runs[at.number].state is RemediationState.VERIFIED
    assert team.count() == commits + 1
    assert len(git("branch", "--list", "dataswarm/*", cwd=team.remote).split()) == 1


async def test_patch_of_a_renamed_table(team: Team, repository: GitRepository) -> None:
    """The source's YAML points at the new name; the models stay."""
    _, at = patching(repository, "table_renamed", before="raw.orders", after="raw.sales_orders")
    await carry_out(at.number, at.bench)
    assert at.bench.board.runs[at.number].state is RemediationState.VERIFIED
    line = "      - name: orders  # daily\n"
    assert team.text("models/sources.yml") == SOURCES_YAML.replace(line, line + "        identifier: sales_orders\n")
    assert team.text(MODEL) == STAGING_SQL


async def test_patch_of_a_retyped_column(team: Team, repository: GitRepository) -> None:
    """Read as it was before."""
    _, at = patching(repository, "column_retyped", column="amount", before="integer", after="text", castable=True)
    await carry_out(at.number, at.bench)
    assert "    cast(amount as integer) as amount\n" in team.text(MODEL)


async def test_patch_by_an_approved_mapping(team: Team, repository: GitRepository) -> None:
    """Two same-typed columns at once, told apart by somebody else."""
    given = {"dropped": ["customer_id", "amount"], "added": ["a", "b"]}
    _, at = patching(repository, "columns_ambiguous", **given, mapping={"customer_id": "b", "amount": "a"})
    await carry_out(at.number, at.bench)
    assert "b as customer_id, -- who\n    a as amount" in team.text(MODEL)


@pytest.mark.parametrize(
    ("cause", "payload", "reason"),
    [
        ("column_renamed", {"table": "raw.nowhere"}, "not declared as a source"),
        ("column_renamed", {"before": "note"}, "no model names what has changed"),
        ("column_renamed", {"after": "order_id"}, "already names"),
        ("column_retyped", {"column": "amount", "before": "integer", "after": "text", "castable": False}, "cast back"),
        ("column_retyped", {"column": "amount", "before": "integer", "after": "text", "castable": None}, "cast back"),
        ("table_renamed", {"before": "raw.orders", "after": "landing.orders"}, "another schema"),
        ("columns_ambiguous", {"dropped": ["amount"], "added": ["a"]}, "which column became which"),
        (
            "columns_ambiguous",
            {"dropped": ["amount"], "added": ["a"], "mapping": {"amount": "b"}},
            "not dropped or not added",
        ),
        (
            "columns_ambiguous",
            {"dropped": ["amount", "x"], "added": ["a"], "mapping": {"amount": "a", "x": "a"}},
            "two columns one name",
        ),
    ],
)
async def test_patch_is_not_guessed(
    repository: GitRepository, cause: str, payload: dict[str, object], reason: str
) -> None:
    """Whatever is not certain is refused with its reason."""
    playbook, at = patching(repository, cause, **payload)
    assert reason in await why_unfit(playbook, at)


async def test_patch_of_text_that_is_not_certain(team: Team, repository: GitRepository) -> None:
    """The editor's doubts name the file."""
    team.push({MODEL: "select * from {{ source('shop', 'orders') }}"})
    playbook, at = patching(repository)
    assert await why_unfit(playbook, at) == f"{MODEL}: the model hands all columns on by `select *`"


async def test_patch_of_a_model_that_is_elsewhere(team: Team, repository: GitRepository) -> None:
    """A reader that is not in the repository (a package's, say) cannot be patched."""
    reader = Node("model.pkg.m", "model", "m", "analytics.m", "models/m.sql", (SOURCE,))
    playbook, at = patching(repository)
    at.pipeline.project_nodes = nodes(m=reader)
    assert await why_unfit(playbook, at) == "models/m.sql is not in the repository"


async def test_patch_leaves_readers_of_other_columns_alone(team: Team, repository: GitRepository) -> None:
    """A model nobody could parse is no obstacle where it names nothing of it; one in Python that does is."""
    odd = Node("model.shop.odd", "model", "odd", "analytics.odd", "models/odd.py", (SOURCE,))
    team.push({"models/odd.py": "def model(dbt, session):\n    return dbt.source('shop', 'orders')\n"})
    playbook, at = patching(repository)
    at.pipeline.project_nodes = nodes(odd=odd)
    assert (await plan_of(playbook, at)).details["models"] == [STAGING]
    team.push({"models/odd.py": "customer_id\n"})
    assert await why_unfit(playbook, at) == "models/odd.py is not SQL"


async def test_patch_cannot_help_a_test_on_the_source(repository: GitRepository) -> None:
    """Declared on the source's column itself, it would fail for ever."""
    test = Node("test.shop.t", "test", "t", depends_on=(SOURCE,), test="not_null", column="customer_id")
    playbook, at = patching(repository, nodes=["test.shop.t"])
    at.pipeline.project_nodes = nodes(t=test)
    assert "stands on the source itself" in await why_unfit(playbook, at)


async def test_patch_does_not_run_an_incremental_model_twice(repository: GitRepository) -> None:
    """A mart that succeeded would be built once more above the patched model."""
    playbook, at = patching(repository, nodes=[STAGING], skipped=[])
    at.pipeline.project_nodes = nodes(mart=replace(nodes()[MART], materialized="incremental"))
    assert "would be run twice" in await why_unfit(playbook, at)


async def test_patch_needs_to_know_the_repository(repository: GitRepository) -> None:
    """None, or two without a name; with its name, two are fine."""
    playbook, at = patching(repository)
    both = {**at.bench.sources, "other": repository}
    at.bench.sources = {k: v for k, v in at.bench.sources.items() if k != "models"}
    assert "no repository" in await why_unfit(playbook, at)
    at.bench.sources = both
    assert "not said which" in await why_unfit(playbook, at)
    assert isinstance(await PatchModel(PatchModelOptions(repository="models")).check(await at.case(), at.bench), Plan)


async def test_patch_whose_repository_refuses(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The push is not allowed: said, nothing done."""
    _, at = patching(repository)

    async def refuse(*_: object, **__: object) -> str:
        raise SetupError("git models: no right to push")

    monkeypatch.setattr(repository, "propose", refuse)
    await carry_out(at.number, at.bench)
    assert at.bench.board.runs[at.number].result["reason"] == "git models: no right to push"


async def test_patch_when_head_never_stands_still(
    team: Team, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tries, then it is left to the next run."""
    _, at = patching(repository)

    async def race(*_: object, **__: object) -> str:
        team.push({"README.md": f"push {team.count()}"}, "unrelated")
        raise ConflictError("head moved")

    monkeypatch.setattr(repository, "merge", race)
    await carry_out(at.number, at.bench)
    assert at.bench.board.runs[at.number].result["outcome"] == "conflict"
    assert team.text(MODEL) == STAGING_SQL
