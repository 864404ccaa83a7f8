"""The end of a run: what was measured again, the marts against the golden twin, what was changed, how to undo it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from dataswarm.demo.story import Story

_COUNTS = ("rows", "expected", "missing", "unexpected")


def show(console: Console, story: Story) -> None:
    """Print the proof."""
    verdict = "[bold green]as it should[/bold green]" if story.is_right else "[bold red]NOT as it should[/bold red]"
    console.rule(f"DEMO · {story.fault.name} ended {verdict}: {story.ending}")
    if story.problem:
        console.print(f"[red]{escape(story.problem)}[/red]")
    _incident(console, story)
    if story.grade:
        _marts(console, story)
    _changes(console, story)
    _escalations(console, story)
    ratio = story.seen.ratio.get("ratio")
    if ratio is not None:
        console.print(f"\nauto-resolution ratio of this run: {ratio:.0%} (of {story.seen.ratio.get('final')})")


def _incident(console: Console, story: Story) -> None:
    incident = story.seen.incident
    if incident is not None:
        detect, resolve = story.seconds_to(incident.opened_at), story.seconds_to(incident.first_clean_at)
        console.print(f"incident #{incident.id}  {escape(incident.title)}", highlight=False)
        clean = "" if resolve is None else f", first clean measurement after {resolve:.1f} s"
        console.print(f"  detected {detect or 0:.1f} s after the fault{clean}", highlight=False)
    if story.cycles:
        last = story.cycles[-1]
        signal = "clean" if last.is_green else f"{len(last.failed)} failed, {len(last.skipped)} skipped"
        console.print(f"  the signal taken again: the team's last build (day {last.day}) is {signal}", highlight=False)


def _marts(console: Console, story: Story) -> None:
    table = Table(title=f"marts, row by row (judged by another process: {story.grade['oracle']})", title_justify="left")
    for name in ("mart", "against", *_COUNTS, ""):
        table.add_column(name, justify="right" if name in _COUNTS else "left")
    for mart in story.grade["marts"]:
        mark = "[green]equal[/green]" if mart["is_equal"] else "[red]differs[/red]"
        counts = (str(mart[k]) for k in ("rows", "expected_rows", "missing", "unexpected"))
        table.add_row(mart["mart"], mart["against"], *counts, mark)
    console.print(table)
    console.print(f"  not compared: {', '.join(story.grade['ignored_columns'])} (load times)", highlight=False)
    for where, keys in story.grade.get("listed_rows", {}).items():
        console.print(f"  {len(keys)} rows of {where} cannot come back and are listed", highlight=False)


def _changes(console: Console, story: Story) -> None:
    for remedy in story.seen.remediations:
        if remedy.applied_at is None:
            continue
        console.print(f"\nchanged by [bold]{remedy.playbook}[/bold] (remediation {remedy.id}): ", end="")
        console.print(escape(str(remedy.plan.get("summary", ""))), highlight=False)
        if preview := str(remedy.plan.get("preview", "")):
            console.print(Syntax(preview, "diff", background_color="default", word_wrap=True))
        by_hand = escape(str(remedy.plan.get("undo_hint", "")))
        console.print(f"undo: dataswarm undo {remedy.id}   {by_hand}", highlight=False)


def _escalations(console: Console, story: Story) -> None:
    for escalation in story.seen.escalations:
        console.print(f"\nhanded to a human: {escape(escalation.reason)}", highlight=False)
        for key in ("hypotheses", "impact", "questions", "commands"):
            if escalation.packet.get(key):
                console.print(f"  {key}: {escape(str(escalation.packet[key]))}", highlight=False)
