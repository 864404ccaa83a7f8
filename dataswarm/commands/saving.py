"""Commands for what must not be lost: `dataswarm memory backup|restore|verify|rotate`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, command, configured, tell
from dataswarm.rendering import Page, answer

if TYPE_CHECKING:
    from memory.server.backup import Manifest

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def add_to(memory: typer.Typer) -> None:
    """Hang the commands into `memory`."""
    _add_backup(memory)
    _add_restore(memory)
    _add_verify(memory)
    _add_rotate(memory)


def _owner(config: Path | None) -> str:
    from dataswarm.app import addresses  # noqa: PLC0415 - see the package

    return addresses(configured(config)).owner


def _told(page: Page, manifest: Manifest) -> None:
    rows = sum(manifest.rows.values())
    page.line(f"{rows} rows as of {manifest.at}, dataswarm {manifest.release}, PostgreSQL {manifest.server}")
    if manifest.keys:
        page.line(f"what is confidential in it opens with {', '.join(manifest.keys)} alone: keep these keys elsewhere")


def _add_backup(memory: typer.Typer) -> None:
    @command(memory, "backup", "dataswarm memory backup memory-2026-11-20.backup")
    def backup(file: File, as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Write the whole memory into one file, as of one moment, while work goes on. Keys are not in it."""
        from dataswarm import __version__  # noqa: PLC0415 - see the package
        from dataswarm.views import plain  # noqa: PLC0415
        from memory.server import backup as saving  # noqa: PLC0415

        made = asyncio.run(saving.backup(_owner(config), file, release=__version__))
        answer(plain(made), as_json=as_json, show=lambda page: _told(page, made))


def _add_restore(memory: typer.Typer) -> None:
    @command(memory, "restore", "dataswarm memory restore memory-2026-11-20.backup")
    def restore(file: File, as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Restore a backup into a database that holds no memory yet. Agents read on where they were."""
        from dataswarm.views import plain  # noqa: PLC0415 - see the package
        from memory.server import backup as saving  # noqa: PLC0415

        done = asyncio.run(saving.restore(_owner(config), file))

        def show(page: Page) -> None:
            _told(page, done.manifest)
            if done.migrated:
                page.line(f"migrated to this release: {', '.join(done.migrated)}")
            page.line(f"agents have {done.waiting} events still to read")

        answer(plain(done), as_json=as_json, show=show)


def _add_verify(memory: typer.Typer) -> None:
    @command(memory, "verify", "dataswarm memory verify memory-2026-11-20.backup")
    def verify(file: File, as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Read a backup through: is it whole, may this release restore it, and are its keys configured?"""
        from dataswarm.sealing import vault_for  # noqa: PLC0415 - see the package
        from dataswarm.views import plain  # noqa: PLC0415
        from memory.server import backup as saving  # noqa: PLC0415

        manifest = asyncio.run(saving.verify(file))
        vault = vault_for(configured(config))
        held = set(vault.ring.keys) if manifest.keys and vault.is_open else set()
        missing = sorted(set(manifest.keys) - held)

        def show(page: Page) -> None:
            page.line("the backup is whole, and this release can restore it")
            _told(page, manifest)
            if missing:
                page.line(f"not configured here: {', '.join(missing)}")

        answer({**plain(manifest), "missing_keys": missing}, as_json=as_json, show=show)


def _add_rotate(memory: typer.Typer) -> None:
    @command(memory, "rotate", "dataswarm memory rotate", "dataswarm memory rotate --new-key")
    def rotate(
        new_key: Annotated[
            bool, typer.Option("--new-key", help="Only print a fresh key, to be put into memory.keys.")
        ] = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Wrap all data keys by memory.sealing_key. Nothing else is rewritten; it may be interrupted and run again."""
        if new_key:
            from memory.vault.keyring import new_key as fresh  # noqa: PLC0415 - see the package

            typer.echo(fresh())
            return

        async def work(desk: Desk) -> dict[str, Any]:
            from dataswarm import beliefs  # noqa: PLC0415 - see the package
            from dataswarm.views import plain  # noqa: PLC0415
            from memory.vault import envelopes  # noqa: PLC0415

            done = moved = await beliefs.rewrapped(desk)
            while moved:
                moved = await beliefs.rewrapped(desk)
                done += moved
            async with beliefs.reading(desk, confidential=True) as tx:
                wrapped = await envelopes.wrappings(tx)
            return {"rewrapped": done, "keys": [plain(one) for one in wrapped]}

        def show(page: Page, found: dict[str, Any]) -> None:
            page.line(f"{found['rewrapped']} data keys are wrapped anew")
            page.table(("key", "wraps"), [(one["key_id"], one["number"]) for one in found["keys"]])
            page.line(
                "replicas that still seal with another key leave work for another run; then a key that wraps 0 can go"
            )

        tell(config, work, as_json=as_json, show=show)
