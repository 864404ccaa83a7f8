"""Commands that say how it stands with the installation and why the swarm does what it does: doctor, explain."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, at_desk, command
from dataswarm.rendering import Page, answer

MARKS = {True: ("ok   ", "green"), False: ("WRONG", "bold red"), None: ("-    ", "")}


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    _add_doctor(app)
    _add_explain(app)


def _add_doctor(app: typer.Typer) -> None:
    @command(app, "doctor", "dataswarm doctor", "dataswarm doctor --config prod.yaml --timeout 5 --json")
    def examine(
        timeout: Annotated[
            float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="How long one source may take.")
        ] = 20.0,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What loaded, from where, what is off and why; exit status 1 when something is wrong."""
        from config import logging  # noqa: PLC0415 - see the package
        from config.sections import LoggingSettings  # noqa: PLC0415
        from dataswarm import doctor  # noqa: PLC0415

        logging.setup(LoggingSettings(level="error"))  # what a door logs on its way, the report says better
        report = asyncio.run(doctor.examine(config, source_seconds=timeout))
        found = report.as_json()
        answer(found, as_json=as_json, show=lambda page: show_report(page, found))
        if not report.is_well:
            raise typer.Exit(1)


def show_report(page: Page, found: dict[str, Any]) -> None:
    """The findings, grouped by part."""
    part = ""
    for line in found["lines"]:
        if line["part"] != part:
            part = line["part"]
            page.title(part)
        mark, style = MARKS[line["ok"]]
        page.line(f"{mark} {line['what']}", style=style if line["ok"] is False else "")
        if line["hint"]:
            page.line(f"      → {line['hint']}")
    wrong = sum(line["ok"] is False for line in found["lines"])
    page.line()
    page.line("all is well" if not wrong else f"{wrong} thing(s) wrong", style="green" if not wrong else "bold red")


def _add_explain(app: typer.Typer) -> None:
    @command(app, "explain", "dataswarm explain 17", "dataswarm explain 17 --json")
    def explain(
        observation: Annotated[int, typer.Argument(metavar="OBSERVATION", min=1, help="As `show ID` names it.")],
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Who would react to an observation, what policy would say, what would be done. Nothing is done."""
        from config.errors import UsageError  # noqa: PLC0415 - see the package
        from dataswarm import explaining, listings  # noqa: PLC0415
        from dataswarm.app import load  # noqa: PLC0415
        from dataswarm.members import installed  # noqa: PLC0415

        settings, members = load(config), installed()

        async def work(desk: Desk) -> dict[str, Any]:
            found = await explaining.explain(desk.database, settings, members, observation)
            if found is None:
                known = ", ".join(str(i) for i in await listings.latest_observations(desk.database, 5))
                raise UsageError(
                    f"there is no observation {observation} that may be shown",
                    hint=f"the latest are {known}" if known else "none has been recorded yet",
                )
            return found

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=lambda page: show_explanation(page, found))


def show_explanation(page: Page, found: dict[str, Any]) -> None:
    """The observation, who reacts, and what policy makes of each remedy."""
    seen = found["observation"]
    page.line(f"Observation {seen['id']}: {seen['kind']} on {seen['subject']} (by {seen['agent']})", style="bold")
    for restraint in found["restraints"]:
        page.line(f"  {restraint}")
    page.title("Who would react")
    page.table(("agent", "reacts", "why"), [(r["agent"], r["reacts"], r["why"]) for r in found["reactions"]])
    for reaction in found["reactions"]:
        for said in reaction["says"]:
            page.line(f"  {reaction['agent']} would say: {said}")
    if not found["diagnoses"]:
        page.line()
        page.line("No diagnosis rests on it yet, so nothing would be done.")
    for diagnosis in found["diagnoses"]:
        _show_diagnosis(page, diagnosis)


def _show_diagnosis(page: Page, diagnosis: dict[str, Any]) -> None:
    number = f"Diagnosis {diagnosis['diagnosis_id']}" if diagnosis["diagnosis_id"] else "Would be diagnosed"
    page.title(f"{number}: {diagnosis['title']} ({diagnosis['cause']}, confidence {diagnosis['confidence']:.2f})")
    if not diagnosis["remedies"]:
        page.line("no enabled playbook treats it: it would be handed to a human")
    for remedy in diagnosis["remedies"]:
        page.line(f"{remedy['name']} {remedy['would']} ({remedy['stage']}: {remedy['reason']});"
                  f" it helped in {remedy['successes']} of {remedy['tries']} cases")  # fmt: skip
        for said in remedy["trail"]:
            page.line(f"  {said}")
