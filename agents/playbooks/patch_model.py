"""Patch the models that read a changed table, so that what they hand on stays as it was.

On a branch of its own, proven by building the affected part into the scratch schema, then merged.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from agents import signals
from agents.editing import Cast, Change, Rename, SourceTable, Unclear, edit_columns, set_identifier
from agents.playbook import Bench, BlastRadius, Case, Plan, Playbook, Probe, Unfit, Verification
from agents.signals import Evidence
from config.assets import Asset
from config.errors import PermanentError
from integrations.base import Node, Project, Repository
from memory.records import EffectClass, Payload


class PatchModelOptions(BaseModel):
    """Settings of patch-model.

    Attributes:
        repository: configured name of the repository the models are in; empty: the only one there is.
        dialect: of the models' SQL, as sqlglot calls it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str = ""
    dialect: str = "postgres"


@dataclass(frozen=True, slots=True)
class _Patch:
    """New texts by path in the repository, the models they are of, and the diff."""

    changes: Mapping[str, str]
    models: tuple[str, ...]
    diff: str


class PatchModel(Playbook):
    """Follow a rename or retype of a source in the models that read it."""

    name: ClassVar[str] = "patch-model"
    causes: ClassVar[tuple[str, ...]] = ("column_renamed", "table_renamed", "column_retyped", "columns_ambiguous")
    rank: ClassVar[int] = 20
    Options: ClassVar[type[BaseModel]] = PatchModelOptions

    # --- check -----------------------------------------------------------------------------------------------------

    async def check(self, case: Case, bench: Bench) -> Plan | Unfit:
        """Edit the texts at head in memory; whatever is not certain makes it unfit."""
        evidence = Evidence.of(case.diagnosis)
        orchestrator = signals.orchestrator_of(bench, evidence)
        if over := await signals.why_over(orchestrator, evidence):
            return Unfit(over)
        repository = signals.repository_of(bench, self.options.repository)
        if repository is None:
            return Unfit("no repository for the models is configured, or it is not said which")
        project = await orchestrator.project()
        head = await repository.head()
        try:
            patch = await self._patch(case, evidence, project, repository, head)
        except Unclear as reason:
            return Unfit(reason.message)
        select = signals.to_build(project, evidence, patch.models)
        if again := signals.keyless(project, set(select) - set(evidence.signal)):
            return Unfit(f"{', '.join(again[:5])} is incremental without a unique key and would be run twice")
        return await self._plan(case, bench, patch, head, select)

    async def _plan(self, case: Case, bench: Bench, patch: _Patch, head: str, select: Sequence[str]) -> Plan:
        evidence = Evidence.of(case.diagnosis)
        orchestrator = signals.orchestrator_of(bench, evidence)
        project = await orchestrator.project()
        short = hashlib.sha256(json.dumps([head, dict(patch.changes)], sort_keys=True).encode()).hexdigest()[:8]
        files = ", ".join(posixpath.basename(path) for path in sorted(patch.changes))
        summary = f"Patch {files} to follow {case.diagnosis.cause.replace('_', ' ')} of {case.diagnosis.subject}."
        touched = [str(Asset("dbt", evidence.pipeline, model)) for model in patch.models]
        return Plan(
            summary=summary,
            details={
                "base": head,
                "changes": dict(patch.changes),
                "branch": f"dataswarm/incident-{case.incident.id}-{short}",
                "message": f"{summary}\n\nIncident {case.incident.id}, remediation {case.remediation.id}.",
                "models": list(patch.models),
                "select": list(select),
                "known": list(await signals.known_bad(orchestrator, evidence)),
            },
            preview=patch.diff,
            blast=BlastRadius((*touched, *signals.relations(project, select))),
            undo_hint="Revert the merge commit on the production branch.",
        )

    async def _patch(
        self, case: Case, evidence: Evidence, project: Project, repository: Repository, head: str
    ) -> _Patch:
        cause = case.diagnosis.cause
        table = evidence.text("before") if cause == "table_renamed" else evidence.text("table")
        sources = signals.sources_of(project, table)
        if not sources:
            raise Unclear(f"{table} is not declared as a source")
        readers = signals.readers_of(project, sources)
        if cause == "table_renamed":
            texts = await self._redirected(evidence, sources, repository, head)
            models = [r.id for r in readers]
        else:
            changes = _changes(cause, evidence)
            _refuse_source_tests(project, evidence, sources, changes)
            texts, models = {}, []
            for reader in readers:
                path = reader.path
                before = await self._read(repository, path, head)
                after = _edited(before, reader, changes, table, sources, self.options.dialect)
                if after != before:
                    texts[path] = (before, after)
                    models.append(reader.id)
        if not texts:
            raise Unclear("no model names what has changed")
        diff = "".join(_diff(path, *pair) for path, pair in sorted(texts.items()))
        return _Patch({path: after for path, (_, after) in texts.items()}, tuple(models), diff)

    async def _redirected(
        self, evidence: Evidence, sources: Sequence[Node], repository: Repository, head: str
    ) -> dict[str, tuple[str, str]]:
        (schema, _, _), (new_schema, _, new) = (
            evidence.text("before").partition("."),
            evidence.text("after").partition("."),
        )
        if schema != new_schema:
            raise Unclear("the table has moved to another schema, which the source declares for all its tables")
        texts: dict[str, tuple[str, str]] = {}
        for source in sources:
            path = source.path
            before, text = texts.get(path) or (await self._read(repository, path, head),) * 2
            texts[path] = (before, set_identifier(text, SourceTable(*_declared(source)), new))
        return texts

    async def _read(self, repository: Repository, path: str, head: str) -> str:
        text = await repository.read(path, revision=head)
        if text is None:
            raise Unclear(f"{path} is not in the repository")
        return text

    # --- apply -----------------------------------------------------------------------------------------------------

    async def apply(self, case: Case, plan: Plan, bench: Bench) -> Payload:
        """Branch, prove in scratch, merge, build. Nothing is merged that was not proven."""
        evidence = Evidence.of(case.diagnosis)
        repository = self._repository(bench)
        base, tag = plan.details["base"], plan.details["base"][:8]
        target = Asset("git", repository.name)

        async def propose() -> Payload:
            commit = await repository.propose(
                plan.details["branch"], base, plan.details["changes"], plan.details["message"]
            )
            return {"commit": commit}

        proposed = await bench.effect(
            f"propose {tag}",
            target=target,
            intent={"branch": plan.details["branch"], "base": base, "files": sorted(plan.details["changes"])},
            inverse={},
            effect_class=EffectClass.IDEMPOTENT,
            do=propose,
        )
        commit = str(proposed["commit"])
        await self._prove(evidence, plan, bench, repository, commit)

        async def merge() -> Payload:
            return {"head": await repository.merge(commit, expected=base)}

        async def is_merged() -> Probe:
            return Probe.DONE if await repository.contains(commit) else Probe.NOT_DONE

        await bench.effect(
            f"merge {tag}",
            target=target,
            intent={"merge": commit, "expected": base},
            inverse={"revert": commit},
            effect_class=EffectClass.INVERTIBLE,
            do=merge,
            probe=is_merged,
        )
        head = await bench.step(f"head {tag}", repository.head, str)
        directory = await repository.checkout(head)
        built = await signals.build(bench, evidence, plan.details["select"], step=f"rebuild {tag}", directory=directory)
        return {
            "branch": plan.details["branch"],
            "commit": commit,
            "head": head,
            "url": repository.url_of(commit),
            "rebuild": built,
        }

    async def _prove(self, evidence: Evidence, plan: Plan, bench: Bench, repository: Repository, commit: str) -> None:
        directory = await repository.checkout(commit)
        tag = plan.details["base"][:8]
        built = await signals.build(
            bench, evidence, plan.details["select"], step=f"prove {tag}", directory=directory, scratch=True
        )
        proof = signals.measure(evidence, built, plan.details.get("known", ()))
        outcomes = built.get("outcomes") or {}
        unbuilt = [m for m in plan.details["models"] if outcomes.get(m) not in ("success", "warn")]
        if unbuilt or not proof.clean:
            reason = proof.reason or f"not built: {', '.join(unbuilt)}"
            raise PermanentError(
                f"the patch did not stand its proof in the scratch schema ({reason}); it was not merged"
            )

    def _repository(self, bench: Bench) -> Repository:
        repository = signals.repository_of(bench, self.options.repository)
        if repository is None:
            raise PermanentError("the repository of the models is no longer configured here")
        return repository

    # --- verify, undo ----------------------------------------------------------------------------------------------

    async def verify(self, case: Case, plan: Plan, applied: Payload, bench: Bench) -> Verification:
        """Every node of the signal ended well in production."""
        return signals.measure(Evidence.of(case.diagnosis), applied["rebuild"], plan.details.get("known", ()))

    async def undo(self, case: Case, plan: Plan, bench: Bench) -> None:
        """Revert what was merged by a new commit."""
        for effect in await bench.undoable(case):
            if commit := str(effect.inverse.get("revert", "")):
                await self._revert(case, plan, bench, commit)

    async def _revert(self, case: Case, plan: Plan, bench: Bench, commit: str) -> None:
        repository = self._repository(bench)

        async def revert() -> Payload:
            message = f"Take back: {plan.summary}\n\nIncident {case.incident.id}."
            return {"head": await repository.revert(commit, message)}

        await bench.effect(
            f"undo: revert {commit[:8]}",
            target=Asset("git", repository.name),
            intent={"revert": commit},
            inverse={},
            effect_class=EffectClass.IDEMPOTENT,
            do=revert,
        )


def _changes(cause: str, evidence: Evidence) -> dict[str, Change]:
    if cause == "column_renamed":
        return {evidence.text("before"): Rename(evidence.text("after"))}
    if cause == "column_retyped":
        if evidence.payload.get("castable") is not True:
            raise Unclear("not every value can be cast back")
        return {evidence.text("column"): Cast(evidence.text("before"))}
    mapping = evidence.payload.get("mapping")
    if not isinstance(mapping, Mapping) or not mapping:
        raise Unclear("it is not known which column became which")
    dropped, added = evidence.payload.get("dropped") or (), evidence.payload.get("added") or ()
    if not set(mapping) <= set(dropped) or not set(mapping.values()) <= set(added):
        raise Unclear("the mapping names columns that were not dropped or not added")
    if len(set(mapping.values())) != len(mapping):
        raise Unclear("the mapping gives two columns one name")
    return {str(old): Rename(str(new)) for old, new in mapping.items()}


def _refuse_source_tests(
    project: Project, evidence: Evidence, sources: Sequence[Node], changes: Mapping[str, Change]
) -> None:
    """A test declared on the source itself reads the old name; a patch of the models cannot make it clean."""
    ids = {s.id for s in sources}
    renamed = {name for name, change in changes.items() if isinstance(change, Rename)}
    for node_id in evidence.nodes:
        node = project.nodes.get(node_id)
        if node is not None and node.kind == "test" and ids & set(node.depends_on) and node.column in renamed:
            raise Unclear(f"the test {node.id} stands on the source itself")


def _edited(
    text: str, reader: Node, changes: Mapping[str, Change], table: str, sources: Sequence[Node], dialect: str
) -> str:
    words = "|".join(re.escape(name) for name in changes)
    if not re.search(rf"(?<!\w)(?:{words})(?!\w)|\*|star", text, re.IGNORECASE):
        return text
    if not reader.path.endswith(".sql"):
        raise Unclear(f"{reader.path} is not SQL")
    for source in sources:
        if source.id not in reader.depends_on:
            continue
        try:
            text = edit_columns(text, changes, table=table, source=_declared(source), dialect=dialect).text
        except Unclear as reason:
            raise Unclear(f"{reader.path}: {reason.message}") from reason
    return text


def _declared(source: Node) -> tuple[str, str]:
    """(source name, table name) of `source.<package>.<source>.<table>`."""
    _, _, called, table = source.id.split(".", 3)
    return called, table


def _diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
