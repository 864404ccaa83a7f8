"""dbt: what the team's runs left is read, the swarm's own builds are made beside them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from config.errors import PermanentError, SetupError, SwarmError, TransientError
from integrations.base import Finding, LineageEdge, Project, Run, Staleness
from integrations.lineage import Memo, ProjectLineage, manifest
from integrations.orchestrators.dbt import invocation, presence
from integrations.orchestrators.dbt.artefacts import to_edges, to_project, to_run, to_staleness
from integrations.orchestrators.dbt.options import DbtOptions
from integrations.orchestrators.dbt.selection import selectors
from integrations.orchestrators.dbt.target import (
    MANIFEST,
    RUN_RESULTS,
    SOURCES,
    Target,
    required,
    wrong_shape,
)

_SHAPE_ERRORS = (KeyError, TypeError, AttributeError, ValueError)
_POLL_SECONDS = 0.5
_KEPT_TARGETS = 20
_PARSED = "partial_parse.msgpack"
_VERSION_SECONDS = 60.0


class DbtOrchestrator:
    """A dbt project (dbt 1.8 to 1.11, manifest v12, run results v6).

    The team's artefacts are only ever read. The swarm's builds have target and log directories of their own under
    `work_dir`, one at a time on a machine, never while the team's run is in flight.
    """

    kind: ClassVar[str] = "dbt"
    Options: ClassVar[type[BaseModel]] = DbtOptions

    def __init__(self, name: str, options: DbtOptions) -> None:
        self.name = name
        self.options = options
        self._target = Target(name, options.artefacts(), options.target_headers)
        self._work = options.workplace(name)
        self._project: tuple[int, Project] | None = None
        self._memo = Memo()
        self._reading = asyncio.Lock()
        self._builds: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Make the swarm's own directory, for this user alone: dbt writes compiled SQL and messages there."""
        try:
            self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SetupError(
                f"dbt {self.name}: {self._work} cannot be made: {error.strerror}", hint="set work_dir of this source"
            ) from error

    async def close(self) -> None:
        """End the builds that run, their processes included."""
        builds = [b for b in self._builds if b is not asyncio.current_task()]
        for build in builds:
            build.cancel()
        await asyncio.gather(*builds, return_exceptions=True)

    # --- reading ---------------------------------------------------------------------------------------------------

    async def project(self) -> Project:
        """The project as last parsed by the team; see the protocol."""
        found = required(await self._target.read(MANIFEST), self.name, MANIFEST, "so the project is not known")
        if self._project is None or self._project[0] != id(found):
            try:
                parsed = await asyncio.to_thread(to_project, found, self.options.warehouse)
            except _SHAPE_ERRORS as error:
                raise wrong_shape(self.name, MANIFEST, error) from error
            self._project = (id(found), parsed)
        return self._project[1]

    async def last_run(self) -> Run | None:
        """The newest invocation of the team; None where there is no artefact."""
        results = await self._target.read(RUN_RESULTS)
        return None if results is None else self._run_of(results)

    async def staleness(self) -> Sequence[Staleness]:
        """What the team's last `dbt source freshness` measured."""
        results = await self._target.read(SOURCES)
        try:
            return () if results is None else to_staleness(results, self.name)
        except _SHAPE_ERRORS as error:
            raise wrong_shape(self.name, SOURCES, error) from error

    async def edges(self) -> Sequence[LineageEdge]:
        """Lineage between relations and nodes, tests and exposures included."""
        return to_edges(await self.project(), self.name)

    async def columns(
        self, tables: Mapping[str, Sequence[str]] | None = None, memo: Memo | None = None
    ) -> ProjectLineage:
        """Which columns are made from which, read from the compiled SQL; again only of what changed since.

        `tables`: columns of sources and seeds, by `schema.table`; `memo`: in place of this source's own. Raises
        SourceError where the manifest is broken, or is none.
        """
        found = required(await self._target.read(MANIFEST), self.name, MANIFEST, "so its lineage is not known")
        async with self._reading:  # a memo is not for several threads
            return await asyncio.to_thread(manifest, found, tables=tables, memo=memo or self._memo)

    async def is_running(self) -> bool:
        """Is the team's run in flight, by its marker or by the command that knows?"""
        marker, command = self.options.running_marker, self.options.running_command
        if marker is not None and await asyncio.to_thread(presence.marked, marker):
            return True
        return command is not None and await presence.answers(command, self.name)

    def _run_of(self, results: Mapping[str, Any]) -> Run:
        try:
            return to_run(results, self.name)
        except _SHAPE_ERRORS as error:
            raise wrong_shape(self.name, RUN_RESULTS, error) from error

    # --- examining -------------------------------------------------------------------------------------------------

    async def examine(self) -> Sequence[Finding]:
        """Artefacts there and readable? dbt there? Never raises for what it finds."""
        findings: list[Finding] = []
        try:
            project = await self.project()
            findings.append(Finding(True, f"project {project.name}: {len(project.nodes)} nodes"))
        except SwarmError as error:
            findings.append(Finding(False, error.message, error.hint))
        try:
            last = await self.last_run()
            what = f"last run {last.command} at {last.finished_at:%Y-%m-%d %H:%M} UTC" if last else "no run results"
            findings.append(Finding(last is not None, what, "" if last else "has the team's dbt run, and into target?"))
        except SwarmError as error:
            findings.append(Finding(False, error.message, error.hint))
        if self.options.project_dir is None:
            findings.append(Finding(True, "no project_dir: nothing can be built", "set it to allow remedies"))
            return findings
        try:
            findings.append(Finding(True, await self._version(self.options.project_dir)))
            await self.is_running()
        except SwarmError as error:
            findings.append(Finding(False, error.message, error.hint))
        if self.options.running_marker is None and self.options.running_command is None:
            hint = "set running_marker or running_command, or builds of the swarm may meet one of the team"
            findings.append(Finding(True, "it cannot be seen whether the team's run is in flight", hint))
        if self.options.scratch_target is None:
            findings.append(Finding(True, "no scratch_target: no fix can be tried out", "add one to the profile"))
        return findings

    async def _version(self, directory: Path) -> str:
        if not (directory / "dbt_project.yml").is_file():
            raise SetupError(f"dbt {self.name}: {directory} holds no dbt_project.yml", hint="check project_dir")
        env = invocation.environment(self.options.env)
        dbt = invocation.command_of(self.options.executable, env, self.name)
        command = await asyncio.to_thread(invocation.version_command, dbt)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_VERSION_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            raise TransientError(f"dbt {self.name}: `dbt --version` took over {_VERSION_SECONDS:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        found = re.search(rb"\d+\.\d+\S*", output)
        if process.returncode or found is None:
            raise SetupError(f"dbt {self.name}: {dbt[0]} does not say its version", hint="is it dbt?")
        return f"dbt {found[0].decode()} at {dbt[0]}"

    # --- building --------------------------------------------------------------------------------------------------

    async def build(
        self, select: Sequence[str], *, directory: Path | None = None, scratch: bool = False, label: str = ""
    ) -> Run:
        """Build with the user's own dbt; see the protocol. Tests on what is built run with it.

        Raises TransientError (warehouse down, team's run or another build in the way, time exceeded), SourceError
        (the project does not parse), SetupError (no dbt, no scratch target), PermanentError (nothing matched).
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._builds.add(task)
        try:
            return await self._build(select, directory, scratch=scratch, label=label)
        finally:
            self._builds.discard(task)

    async def _build(self, select: Sequence[str], directory: Path | None, *, scratch: bool, label: str) -> Run:
        checkout = directory or self.options.project_dir
        if checkout is None or not (checkout / "dbt_project.yml").is_file():
            raise SetupError(
                f"dbt {self.name}: {checkout or 'no project_dir'} holds no dbt_project.yml",
                hint="set project_dir of this source to the team's checkout",
            )
        if scratch and self.options.scratch_target is None:
            raise SetupError(
                f"dbt {self.name}: there is no scratch target to try things in",
                hint="add a target with a schema of its own to the profile and set scratch_target",
            )
        parsed = await self._target.read(MANIFEST)
        if scratch:
            required(parsed, self.name, MANIFEST, "so a scratch build cannot read the rest from production")
        await self.open()
        own = self._work / _slug(label, scratch=scratch)
        env = invocation.environment(self.options.env)
        command = [
            *invocation.command_of(self.options.executable, env, self.name),
            *self._arguments(selectors(select, parsed, is_complete=directory is None), checkout, own, scratch=scratch),
        ]

        async def prepare() -> None:
            await self._wait_for_team()
            is_new = not own.exists()
            await asyncio.to_thread(self._lay_out, own, checkout)
            if is_new:
                await asyncio.to_thread(self._hand_down, own, scratch=scratch)
            if scratch:
                state = await self._target.fetch(MANIFEST)
                await asyncio.to_thread((own / "state" / MANIFEST).write_bytes, state or b"")

        code, output = await invocation.run(
            command,
            source=self.name,
            directory=checkout,
            env=env,
            lock=self._work / "dbt.lock",
            wait_seconds=self.options.wait_seconds,
            timeout_seconds=self.options.build_timeout_seconds,
            grace_seconds=self.options.grace_seconds,
            prepare=prepare,
        )
        mine = Target(self.name, str(own / "target"))
        results = await mine.read(RUN_RESULTS)
        if results is None:
            # Should it be for what was handed down, the next attempt is free of it.
            (own / "target" / _PARSED).unlink(missing_ok=True)
            secrets = [v.get_secret_value() for v in self.options.env.values()]
            raise invocation.failure(code, output, self.name, secrets=secrets)
        run = self._run_of(results)
        if not run.results:
            raise PermanentError(
                f"dbt {self.name}: nothing matched {', '.join(select)}", hint="were they renamed or disabled?"
            )
        if scratch and parsed is not None:
            await self._check_apart(mine, parsed, run)
        return run

    def _arguments(self, select: Sequence[str], checkout: Path, own: Path, *, scratch: bool) -> list[str]:
        target = self.options.scratch_target if scratch else self.options.dbt_target
        profiles = self.options.profiles_dir or next(
            (d for d in (checkout, self.options.project_dir) if d and (d / "profiles.yml").is_file()), None
        )
        return [
            *("build", "--select", *select, "--indirect-selection", "eager"),
            *("--project-dir", str(checkout.resolve())),
            *(("--profiles-dir", str(profiles.resolve())) if profiles else ()),
            *(("--target", target) if target else ()),
            *(("--defer", "--favor-state", "--state", str((own / "state").resolve())) if scratch else ()),
            *("--target-path", str((own / "target").resolve()), "--log-path", str((own / "logs").resolve())),
            # Its log would hold sampled values in the clear; the run results say what is needed.
            *("--log-level-file", "none", "--no-use-colors", "--no-send-anonymous-usage-stats"),
        ]

    async def _wait_for_team(self) -> None:
        if not await self.is_running():
            return
        try:
            async with asyncio.timeout(self.options.wait_seconds):
                while True:
                    await asyncio.sleep(_POLL_SECONDS)
                    if not await self.is_running():
                        return
        except TimeoutError:
            raise TransientError(
                f"dbt {self.name}: the team's run has been in flight for over {self.options.wait_seconds:.0f} s",
                hint="if it is not, remove the running_marker",
            ) from None

    def _lay_out(self, own: Path, checkout: Path) -> None:
        """Under the lock: fresh directories, no result of an earlier build, packages where a checkout lacks them."""
        for part in ("target", "logs", "state"):
            (own / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        (own / "target" / RUN_RESULTS).unlink(missing_ok=True)
        os.utime(own)
        targets = sorted((d for d in self._work.iterdir() if d.is_dir()), key=lambda d: d.stat().st_mtime)
        for old in targets[:-_KEPT_TARGETS]:
            shutil.rmtree(old)
        team = self.options.project_dir
        if team is None or checkout.resolve() == team.resolve():
            return
        packages = team / "dbt_packages"
        if packages.is_dir() and not (checkout / "dbt_packages").exists():
            with tempfile.TemporaryDirectory(dir=own) as room:
                copied = shutil.copytree(packages, Path(room) / "dbt_packages", symlinks=True)
                shutil.move(copied, checkout / "dbt_packages")

    def _hand_down(self, own: Path, *, scratch: bool) -> None:
        """Begin a new directory with what dbt has parsed already: then it parses only what changed since.

        From the last build of the swarm of this kind, or else the team's; whether it fits, dbt sees for itself.
        """
        kind = _slug("", scratch=scratch)
        found = [*self._work.glob(f"{kind}/target/{_PARSED}"), *self._work.glob(f"{kind}-*/target/{_PARSED}")]
        found.sort(key=lambda file: file.stat().st_mtime, reverse=True)
        if not scratch and "://" not in self.options.artefacts():
            found.append(Path(self.options.artefacts()) / _PARSED)
        # It only saves time: where it cannot be had, or is half-written, dbt parses everything.
        with suppress(OSError):
            if found:
                shutil.copyfile(found[0], own / "target" / _PARSED)

    async def _check_apart(self, mine: Target, production: Mapping[str, Any], run: Run) -> None:
        """Refuse the result of a scratch build that wrote where production is: the profile is wrong."""
        built = required(await mine.read(MANIFEST), self.name, MANIFEST, "though dbt has just built")
        for result in run.results:
            here = (built["nodes"].get(result.node) or {}).get("relation_name")
            there = (production["nodes"].get(result.node) or {}).get("relation_name")
            if here is not None and here == there and not result.node.startswith("test."):
                raise PermanentError(
                    f"dbt {self.name}: the scratch target {self.options.scratch_target!r} writes to {here},"
                    " which is production's",
                    hint="give it another schema; a generate_schema_name macro must keep target.schema in the name",
                )


def _slug(label: str, *, scratch: bool) -> str:
    """A directory name of its own for each label, readable and safe."""
    kind = "scratch" if scratch else "build"
    if not label:
        return kind
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", label)[:40]
    return f"{kind}-{readable}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
