"""The live view of a run: agents, the incident as it grows, tasks, ratio; or plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dataswarm.demo.story import Story
from memory.records import DecisionKind

SHOWN_LINES = 14
_STATES = {"resolved": "green", "escalated": "yellow", "verifying": "cyan", "mitigating": "magenta", "open": "red"}


class Screen:
    """Shows a story while it goes on. As a context manager it owns the terminal.

    Args:
        story: what is shown.
        console: where.
        plain: lines only, no live drawing.
    """

    def __init__(self, story: Story, console: Console, *, plain: bool, clock: Callable[[], float] = monotonic) -> None:
        self._story = story
        self._console = console
        self._clock = clock
        self._start = clock()
        self._live = None if plain else Live(console=console, refresh_per_second=8, get_renderable=self._draw)
        self._known: set[str] = set()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Give the terminal back; once is enough."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def console(self) -> Console:
        """Where it is shown."""
        return self._console

    def tell(self, sentence: str) -> None:
        """A line of the story, with the seconds since its start."""
        at = self._clock() - self._start
        self._story.told.append((at, sentence))
        if self._live is None:
            self._console.print(f"[dim]{at:6.1f} s[/dim]  {escape(sentence)}", highlight=False)

    def follow(self) -> None:
        """Tell what is new on the blackboard since the last look, each thing once."""
        seen = self._story.seen
        for decision in sorted(seen.decisions, key=lambda d: d.id):
            if decision.kind is DecisionKind.DIAGNOSIS:
                cause = f"{decision.cause} ({decision.confidence:.0%})"
                self._once(f"decision {decision.id}", f"diagnosis by {decision.agent}: {cause}, {decision.rationale}")
            elif decision.kind is DecisionKind.POLICY:
                self._once(f"decision {decision.id}", f"policy for {decision.agent}: {decision.rationale}")
        for change in seen.timeline:
            self._once(
                f"state {change.at.isoformat()} {change.after}", f"incident {change.after.value}: {change.reason}"
            )
        for remedy in seen.remediations:
            self._once(f"remedy {remedy.id} {remedy.state}", f"playbook {remedy.playbook}: {remedy.state.value}")

    def _once(self, key: str, sentence: str) -> None:
        if key not in self._known:
            self._known.add(key)
            self.tell(sentence)

    def _draw(self) -> RenderableType:
        story = self._story
        head = Text.assemble(
            ("DEMO ", "bold black on yellow"),
            f" {story.fault.name} · seed {story.seed}" + (f" · {story.way}" if story.way else ""),
            f" · {self._clock() - self._start:.0f} s",
            (f" · {story.address}" if story.address else "", "blue"),
        )
        now = Text.assemble(("▸ ", "bold cyan"), story.phase)
        return Group(head, now, self._agents(), self._incident(), self._lines())

    def _agents(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
        for name in ("agent", "heartbeat", "behind by", "tasks"):
            table.add_column(name)
        for agent in self._story.seen.agents:
            alive = "[green]●[/green]" if agent.holder is not None else "[red]○[/red]"
            # The server's clock wrote the beat, so the server's clock tells its age.
            at, beat = self._story.seen.at, agent.beat_at
            age = "" if at is None or beat is None else f"{(at - beat).total_seconds():.0f} s ago"
            at_work = sum(
                int(row["count"])
                for row in self._story.seen.depth
                if row["agent"] == agent.agent and row["state"] in ("ready", "leased")
            )
            table.add_row(f"{alive} {agent.agent}", age, f"{agent.lag} events", str(at_work))
        return Panel(table, title="agents", title_align="left", border_style="dim")

    def _incident(self) -> RenderableType:
        seen = self._story.seen
        incident = seen.incident
        ratio = seen.ratio.get("ratio")
        said = "no final outcome yet" if ratio is None else f"{ratio:.0%} of {seen.ratio.get('final')}"
        if incident is None:
            return Panel(Text("no incident"), title=f"incident · auto-resolved: {said}", title_align="left")
        colour = _STATES.get(incident.state.value, "white")
        lines = [Text.assemble((incident.state.value.upper(), f"bold {colour}"), f"  #{incident.id}  {incident.title}")]
        lines += [
            Text(f"  {t.at:%H:%M:%S}  {t.after.value:<18} {t.reason}", overflow="ellipsis", no_wrap=True)
            for t in seen.timeline
        ]
        return Panel(Group(*lines), title=f"incident · auto-resolved: {said}", title_align="left", border_style=colour)

    def _lines(self) -> RenderableType:
        shown = self._story.told[-SHOWN_LINES:]
        return Group(*(Text(f"{at:6.1f} s  {sentence}", overflow="ellipsis", no_wrap=True) for at, sentence in shown))
