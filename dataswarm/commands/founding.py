"""Commands for setting up: init, config, migrate."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, command, configured, group
from dataswarm.rendering import Page, answer, moment

if TYPE_CHECKING:
    from config.settings import Settings


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    configuration = group(app, "config", "The configuration: check it, show it, describe it.")
    _add_check(configuration)
    _add_show(configuration)
    _add_schema(configuration)
    _add_migrate(app)


def _add_check(configuration: typer.Typer) -> None:
    @command(configuration, "check", "dataswarm config check", "dataswarm config check --config prod.yaml --json")
    def check(as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Find everything wrong with it, with file and line; exit status 2 where something is."""
        from config import settings  # noqa: PLC0415 - see the package
        from config.errors import ConfigError  # noqa: PLC0415
        from dataswarm.app import load  # noqa: PLC0415
        from dataswarm.views import source_of  # noqa: PLC0415

        file = settings.find(config)
        try:
            loaded = load(config)
        except ConfigError as error:
            if not as_json:
                raise
            problems = [asdict(problem) for problem in error.problems]
            typer.echo(json.dumps({"ok": False, "file": str(file) if file else None, "problems": problems}, indent=2))
            raise typer.Exit(2) from None
        found = {
            "source": source_of(loaded),
            "ok": True,
            "file": str(file) if file else None,
            "fingerprint": loaded.fingerprint,
            "problems": [],
        }
        what = str(file) if file else "no file: the defaults"
        answer(found, as_json=as_json, show=lambda page: page.line(f"{what}: nothing to object ({loaded.fingerprint})"))


def _add_show(configuration: typer.Typer) -> None:
    @command(configuration, "show", "dataswarm config show", "dataswarm config show --json")
    def show(as_json: AsJson = False, config: ConfigFile = None) -> None:
        """What is in force, defaults included, secrets as asterisks; as YAML."""
        from config import settings  # noqa: PLC0415 - see the package
        from config.showing import shown  # noqa: PLC0415
        from dataswarm.app import load  # noqa: PLC0415
        from dataswarm.views import source_of  # noqa: PLC0415

        loaded = load(config)
        if as_json:
            data = {"source": source_of(loaded), "fingerprint": loaded.fingerprint, "configuration": shown(loaded)}
            typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        else:
            typer.echo(settings.dump(loaded), nl=False)


def _add_schema(configuration: typer.Typer) -> None:
    @command(configuration, "schema", "dataswarm config schema > dataswarm.schema.json")
    def schema(as_json: AsJson = True) -> None:
        """The JSON schema of the file, for editors; JSON in any case."""
        from config import settings  # noqa: PLC0415 - see the package

        del as_json  # there is no other form
        typer.echo(json.dumps(settings.schema(), indent=2, ensure_ascii=False))


def _add_migrate(app: typer.Typer) -> None:
    @command(app, "migrate", "dataswarm migrate --plan", "dataswarm migrate", "dataswarm migrate --set-password")
    def migrate(
        plan: Annotated[bool, typer.Option("--plan", help="Show what is applied and pending; change nothing.")] = False,
        set_password: Annotated[
            bool,
            typer.Option("--set-password", help="Also give the role dataswarm_worker the password database.url holds."),
        ] = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Bring the swarm's database up to this release, as its owner (database.migrate_url)."""
        settings = configured(config)
        found = asyncio.run(_migrate(settings, apply=not plan, set_password=set_password))
        answer(found, as_json=as_json, show=lambda page: _show_plan(page, found))


async def _migrate(settings: Settings, *, apply: bool, set_password: bool) -> dict[str, Any]:
    from dataswarm.app import addresses  # noqa: PLC0415 - see the package
    from dataswarm.views import source_of  # noqa: PLC0415
    from memory.server import migrate  # noqa: PLC0415

    where = await asyncio.to_thread(addresses, settings)
    done: list[str] = []
    if apply:
        password = _password(settings) if set_password else None
        done = await migrate.apply(where.owner, worker_password=password)
    planned = await migrate.plan(where.owner)
    return {
        "source": source_of(settings),
        "applied_now": done,
        "migrations": [
            {
                "name": str(step),
                "phase": step.phase,
                "summary": step.summary,
                "applied_at": step.applied_at.isoformat() if step.applied_at else None,
            }
            for step in planned
        ],
    }


def _password(settings: Settings) -> str:
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - see the package

    from config.errors import SetupError  # noqa: PLC0415

    url = settings.database.url
    parts = conninfo_to_dict(url.get_secret_value()) if url is not None else {}
    if parts.get("user") != "dataswarm_worker" or not parts.get("password"):
        raise SetupError(
            "database.url holds no password of the role dataswarm_worker",
            hint="write postgresql://dataswarm_worker:PASSWORD@host/database, and the owner into database.migrate_url",
        )
    return str(parts["password"])


def _show_plan(page: Page, found: dict[str, Any]) -> None:
    page.table(
        ("migration", "phase", "applied", "what"),
        [(m["name"], m["phase"], moment(m["applied_at"]), m["summary"]) for m in found["migrations"]],
    )
    pending = [m["name"] for m in found["migrations"] if m["applied_at"] is None]
    page.line()
    if found["applied_now"]:
        page.line(f"applied now: {', '.join(found['applied_now'])}")
    page.line(f"pending: {', '.join(pending)}; `dataswarm migrate` applies them" if pending else "nothing is pending")


def is_interactive() -> bool:
    """Is there somebody to ask?"""
    return sys.stdin.isatty() and sys.stdout.isatty()


def target(config: Path | None) -> Path:
    """Where `init` writes."""
    return config if config is not None else Path("dataswarm.yaml")
