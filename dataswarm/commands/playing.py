"""`demo`: a real pipeline is broken and repaired before your eyes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dataswarm.commands.shared import command
from dataswarm.rendering import Page

NEEDED = ("dbt-core", "dbt-postgres")
STANDARD_OUTPUT = Path("-")


def add(app: typer.Typer) -> None:
    """Hang `demo` into the program."""

    @command(
        app,
        "demo",
        "dataswarm demo",
        "dataswarm demo --list",
        "dataswarm demo --fault batch-loaded-twice --seed 3 --once --plain --json out.json",
        "dataswarm demo --fault column-renamed --way recreate --keep",
    )
    def demo(
        fault: Annotated[str, typer.Option(metavar="NAME", help="What is broken; --list shows the names.")] = "",
        way: Annotated[str, typer.Option(metavar="WAY", help="For schema faults: alter or recreate.")] = "",
        seed: Annotated[int, typer.Option(min=0, help="Varies table, column, names, size and moment.")] = 1,
        once: Annotated[bool, typer.Option("--once", help="End with the exit status of the run.")] = False,
        keep: Annotated[bool, typer.Option("--keep", help="Leave everything where it is, and say where.")] = False,
        plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live view.")] = False,
        json_file: Annotated[
            Path | None, typer.Option("--json", metavar="FILE", help="Write the outcome there; - with --list: here.")
        ] = None,
        list_all: Annotated[
            bool, typer.Option("--list", help="Show what can be broken, and how it should end.")
        ] = False,
    ) -> None:
        """Break a real pipeline and watch it being repaired. Needs no server and no configuration of yours."""
        from dataswarm.demo.faults.catalogue import CATALOGUE  # noqa: PLC0415 - see the package

        if list_all:
            _list(json_file)
            return
        if fault and fault not in CATALOGUE:
            raise _unknown(fault, list(CATALOGUE))
        _check_way(way, CATALOGUE[fault].ways if fault else None)
        _check_dbt()
        from rich.console import Console  # noqa: PLC0415 - see the package

        from dataswarm.demo.play import DEFAULT_FAULT, Options, main  # noqa: PLC0415

        options = Options(
            fault=fault or DEFAULT_FAULT, way=way, seed=seed, once=once, keep=keep, plain=plain, json=json_file
        )
        raise typer.Exit(main(options, Console()))


def _list(json_file: Path | None) -> None:
    from dataclasses import asdict  # noqa: PLC0415 - see the package

    from dataswarm.demo.faults.catalogue import CATALOGUE  # noqa: PLC0415

    known: list[dict[str, Any]] = [asdict(fault) for fault in CATALOGUE.values()]
    if json_file is not None:
        text = json.dumps({"source": "demo", "faults": known}, indent=2) + "\n"
        if json_file == STANDARD_OUTPUT:
            typer.echo(text, nl=False)
        else:
            json_file.write_text(text, encoding="utf-8")
        return
    endings = {"auto": "repaired", "escalate": "handed to a human", "none": "no incident"}
    rows = [(f["name"], endings[f["ending"]], " or ".join(f["ways"]), f["description"]) for f in known]
    Page().table(("fault", "ends", "ways", "what happens"), rows)


def _unknown(fault: str, known: list[str]) -> Exception:
    from config.draft import nearest  # noqa: PLC0415 - see the package
    from config.errors import UsageError  # noqa: PLC0415

    meant = nearest(fault, known)
    hint = f"did you mean {meant!r}?" if meant else "`dataswarm demo --list` shows them"
    return UsageError(f"no fault is called {fault!r}", hint=hint)


def _check_way(way: str, ways: tuple[str, ...] | None) -> None:
    from config.errors import UsageError  # noqa: PLC0415 - see the package

    if way and way not in ("alter", "recreate"):
        raise UsageError(f"not a way: {way[:40]!r}", hint="alter or recreate")
    if way and ways is not None and way not in ways:
        raise UsageError(f"this fault has no way {way!r}", hint=f"it has {' and '.join(ways) or 'none to choose'}")


def _check_dbt() -> None:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - see the package

    from config.errors import SetupError  # noqa: PLC0415

    for name in NEEDED:
        try:
            version(name)
        except PackageNotFoundError:
            raise SetupError(
                f"the demo needs dbt, and {name} is not installed here",
                hint="pip install 'dataswarm[demo]', or `make demo` in a checkout",
            ) from None
