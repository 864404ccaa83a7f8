"""The end of a run: what was measured again, the marts against the golden twin, what was changed, how to undo it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from config.assets import Asset
from config.errors import UsageError
from dataswarm.demo.story import Story
from memory.records import Remediation

_COUNTS: Final = ("rows", "expected", "missing", "unexpected")
_MEASURES: Final = {
    "equal": "every row as in the golden twin",
    "equal_but_listed": "as in the golden twin, but for the rows that cannot come back",
    "last_good": "below the broken table as before the fault, elsewhere as in the golden twin",
}
_AGAINST: Final = {"twin": "golden twin", "last_good": "before the fault"}
_MOST_NAMES: Final = 8


def show(console: Console, story: Story) -> None:
    """Print the proof."""
    verdict = "[bold green]as it should[/bold green]" if story.is_right else "[bold red]NOT as it should[/bold red]"
    console.rule(f"DEMO · {story.fault.name} ended {verdict}: {story.ending}")
    if story.problem:
        console.print(f"[red]{escape(story.problem)}[/red]")
    _incident(console, story)
    if story.grade:
        _marts(console, story)
    for remedy in story.seen.remediations:
        if remedy.applied_at is not None:
            _change(console, story, remedy)
    for escalation in story.seen.escalations:
        _handed_over(console, escalation.reason, escalation.packet)
    if (ratio := story.seen.ratio.get("ratio")) is not None:
        of = counted(int(story.seen.ratio.get("final") or 0), "incident")
        console.print(f"\nauto-resolution ratio of this run: {ratio:.0%} of {of}", highlight=False)


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(reference: object) -> str:
    """An asset as a reader calls it: `raw.orders.channel`, `dim_customers`; anything else as it is."""
    try:
        asset = Asset.parse(str(reference))
    except UsageError:
        return str(reference)
    if asset.scheme == "warehouse":
        return f"{asset.path}.{asset.part}" if asset.part else asset.path
    return asset.path.rsplit(".", 1)[-1] or asset.source


def _incident(console: Console, story: Story) -> None:
    incident = story.seen.incident
    if incident is not None:
        detect, resolve = story.seconds_to(incident.opened_at), story.seconds_to(incident.first_clean_at)
        console.print(f"incident #{incident.id}  {escape(incident.title)}", highlight=False)
        clean = "" if resolve is None else f", first clean measurement after {resolve:.1f} s"
        console.print(f"  detected {detect or 0:.1f} s after the fault{clean}", highlight=False)
    else:
        console.print("no incident was opened", highlight=False)
        for noted in story.seen.noted:
            console.print(
                f"  on record: {noted.kind.split('.', 1)[-1].replace('_', ' ')}: {escape(short(noted.subject))}",
                highlight=False,
            )
    if story.cycles:
        last = story.cycles[-1]
        signal = "clean" if last.is_green else f"{len(last.failed)} failed, {len(last.skipped)} skipped"
        console.print(f"  the signal taken again: the team's last build (day {last.day}): {signal}", highlight=False)


def _marts(console: Console, story: Story) -> None:
    oracle = str(story.grade["oracle"])
    title = f"marts, row by row, judged by another process: {_MEASURES.get(oracle, oracle)}"
    table = Table(title_justify="left")
    for name in ("mart", "against", *_COUNTS, ""):
        table.add_column(name, justify="right" if name in _COUNTS else "left")
    for mart in story.grade["marts"]:
        mark = "[green]equal[/green]" if mart["is_equal"] else "[red]differs[/red]"
        counts = (f"{mart[k]:,}" for k in ("rows", "expected_rows", "missing", "unexpected"))
        table.add_row(mart["mart"], _AGAINST.get(mart["against"], mart["against"]), *counts, mark)
    console.print(f"\n{title}", highlight=False)
    console.print(table)
    console.print(f"  not compared: {', '.join(story.grade['ignored_columns'])} (load times)", highlight=False)
    for where, keys in story.grade.get("listed_rows", {}).items():
        listed = counted(len(keys), "row")
        console.print(f"  {listed} of {where} cannot come back, listed: {_listed(keys)}", highlight=False)


def _change(console: Console, story: Story, remedy: Remediation) -> None:
    console.print(f"\nchanged by [bold]{remedy.playbook}[/bold] (remediation {remedy.id}): ", end="", highlight=False)
    console.print(escape(str(remedy.plan.get("summary", ""))), highlight=False)
    preview = str(remedy.plan.get("preview", ""))
    if preview.startswith("---"):
        console.print(Syntax(preview, "diff", background_color="default", word_wrap=True))
    elif preview:
        _indented(console, preview, 2)
    by_hand = str(remedy.plan.get("undo_hint", ""))
    is_there = story.config is not None and (story.is_kept or story.is_live)
    said = f"dataswarm undo {remedy.id}" + (f" --config {story.config}" if is_there else "")
    note = "" if is_there else "    (not any more: this world ends with the demo; --keep keeps it)"
    console.print(f"to take it back: {escape(said + note)}", highlight=False, soft_wrap=True)
    if by_hand:
        console.print(f"  by hand: {escape(by_hand)}", highlight=False)


def _handed_over(console: Console, reason: str, packet: Mapping[str, Any]) -> None:
    """What a human is handed, in a human's words; all of it stands in `dataswarm show`."""
    why, colon, more = reason.partition(": ")
    said = escape(f"{why.replace('_', ' ')}{colon}{more}")
    console.print(f"\n[bold]handed to a human[/bold]: {said}", highlight=False)
    hypotheses = packet.get("hypotheses") or ()
    if hypotheses:
        console.print("  what may have happened", highlight=False)
        for hypothesis in hypotheses:
            _hypothesis(console, hypothesis)
    if impact := packet.get("impact"):
        console.print("  what hangs on it", highlight=False)
        _indented(console, _impact(impact), 4)
    for key, heading in (("questions", "what is asked"), ("commands", "where to look")):
        if packet.get(key):
            console.print(f"  {heading}", highlight=False)
            _indented(console, "\n".join(map(str, packet[key])), 4)


def _hypothesis(console: Console, found: Mapping[str, Any]) -> None:
    cause = str(found.get("cause", "something else")).replace("_", " ")
    where = f" at {short(found['subject'])}" if found.get("subject") else ""
    by = f", says {found['by']}" if found.get("by") else ""
    sure = float(found.get("confidence") or 0)
    _indented(console, f"{cause}{where}{by}" + (f" ({sure:.0%} sure)" if sure else ""), 4)
    speaks_for, against = found.get("for") or found.get("reason"), found.get("against") or ()
    if speaks_for:
        _indented(console, f"for it: {speaks_for}", 6)
    for doubt in against:
        _indented(console, f"against it: {doubt}", 6)
    if evidence := found.get("evidence"):
        kinds = Counter(str(one).partition(":")[0] for one in evidence)
        _indented(console, f"on record: {', '.join(counted(n, kind) for kind, n in kinds.items())}", 6)


def _impact(impact: Mapping[str, Any]) -> str:
    parts = [counted(int(impact.get("assets") or 0), "asset") + " below it"]
    parts += [f"{key}: {_listed([short(a) for a in impact[key]])}" for key in ("marts", "exposures") if impact.get(key)]
    owners = sorted(set(map(str, (impact.get("owners") or {}).values())))
    return "\n".join([*parts, *([f"owners: {_listed(owners)}"] if owners else [])])


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _indented(console: Console, text: str, by: int) -> None:
    console.print(Padding(Text(text), (0, 0, 0, by), expand=False))
