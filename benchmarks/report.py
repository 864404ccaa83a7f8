"""What a benchmark found: rows with samples by contender, judged against targets; as JSON and as a table.

The JSON has one shape for every benchmark; `benchmarks/README.md` describes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Better, Spread, advantage, shown, spread

PRODUCT = "dataswarm"


@dataclass(frozen=True, slots=True)
class Target:
    """What the product must reach.

    Attributes:
        factor: against peers: so many times the peer's figure (at least where higher is better, at most where lower
            is); without peers: the bound itself.
        peers: those it is measured against, each of them; empty: the bound is absolute.
    """

    factor: float
    peers: tuple[str, ...] = ()

    def words(self, better: Better) -> str:
        """`≥ 2x graphile-worker`; several peers: `the best peer`."""
        sign = "≥" if better == "higher" else "≤"
        if not self.peers:
            return f"{sign} {self.factor:g}"
        return f"{sign} {self.factor:g}x {self.peers[0] if len(self.peers) == 1 else 'the best peer'}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a target is met. `reached` is product over what is needed, turned so that 1 or more means met."""

    met: bool
    words: str
    reached: float | None = None


@dataclass(slots=True)
class Row:
    """One metric.

    Attributes:
        samples: the rounds' figures by contender; `dataswarm` is the product.
        skipped: contender → why there is no figure.
        limit: what is physically possible here, measured in the same run; None where nobody measured it.
        note: one sentence a reader needs to read the row rightly.
    """

    metric: str
    title: str
    unit: str
    better: Better
    targets: tuple[Target, ...] = ()
    samples: dict[str, list[float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    limit: float | None = None
    note: str = ""

    def add(self, contender: str, value: float) -> None:
        """One round's figure."""
        self.samples.setdefault(contender, []).append(value)

    def spreads(self) -> dict[str, Spread]:
        """By contender, those that have figures."""
        return {name: spread(values) for name, values in self.samples.items() if values}

    def ratios(self) -> dict[str, float]:
        """How many times better the product is, by peer."""
        found = self.spreads()
        product = found.pop(PRODUCT, None)
        if product is None:
            return {}
        return {name: advantage(product.median, peer.median, self.better) for name, peer in found.items()}

    def verdict(self) -> Verdict | None:
        """All targets together; None where the row has none."""
        judged = [self._judge(target) for target in self.targets]
        if not judged:
            return None
        return min(judged, key=lambda verdict: (verdict.met, verdict.reached if verdict.reached is not None else -1.0))

    def _judge(self, target: Target) -> Verdict:
        found = self.spreads()
        product = found.get(PRODUCT)
        if product is None:
            return Verdict(met=False, words=f"not measured: {self.skipped.get(PRODUCT, 'left out')}")
        missing = [name for name in target.peers if name not in found]
        present = [found[name].median for name in target.peers if name in found]
        if target.peers and not present:
            return Verdict(met=False, words=f"not judged: no figure for {', '.join(missing)}")
        strongest = (max if self.better == "higher" else min)(present) if present else 1.0
        reached = advantage(product.median, target.factor * strongest, self.better)
        words = "met" if reached >= 1 else f"not met: {reached:.2f} of it"
        if missing:
            words = f"not judged ({reached:.2f} of it, without {', '.join(missing)})"
        elif math.isfinite(reached) and reached >= 1:
            words = f"met ({reached:.2f} of it)"
        return Verdict(met=reached >= 1 and not missing, words=words, reached=reached)

    def to_json(self) -> dict[str, Any]:
        """The row as it is kept."""
        found = self.spreads()
        product = found.get(PRODUCT)
        verdict = self.verdict()
        return {
            "metric": self.metric,
            "title": self.title,
            "unit": self.unit,
            "better": self.better,
            "product": product.median if product else None,
            "peers": {name: value.median for name, value in found.items() if name != PRODUCT},
            "spread": {name: [value.least, value.most] for name, value in found.items()},
            "ratios": {name: ratio if math.isfinite(ratio) else None for name, ratio in self.ratios().items()},
            "limit": self.limit,
            "target": ", ".join(target.words(self.better) for target in self.targets) or None,
            "met": verdict.met if verdict else None,
            "verdict": verdict.words if verdict else None,
            "skipped": self.skipped,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run. `at` is when it began (ISO 8601), `weak` what makes it a weak comparison (then it has failed)."""

    benchmark: str
    at: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    rows: Sequence[Row]
    weak: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """As it is kept; see the README beside this file."""
        return {
            "benchmark": self.benchmark,
            "at": self.at,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "settings": dict(self.settings),
            "rows": [row.to_json() for row in self.rows],
            "weak": list(self.weak),
        }

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """The table, and beneath it where and with what."""
        table = Table(title=f"{self.benchmark}, {self.at}", title_justify="left", show_lines=True)
        table.add_column("what", max_width=34)
        table.add_column("dataswarm", justify="right")
        table.add_column("against (times better)")
        table.add_column("target", max_width=18)
        table.add_column("verdict", max_width=26)
        for row in self.rows:
            verdict = row.verdict()
            style = "" if verdict is None else ("green" if verdict.met else "yellow")
            table.add_row(
                row.title + (f"\n[dim]{row.note}[/dim]" if row.note else ""),
                _figure(row, PRODUCT),
                "\n".join(_against(row)),
                "\n".join(target.words(row.better) for target in row.targets),
                f"[{style}]{verdict.words}[/{style}]" if verdict and style else "",
            )
        console.print(table)
        for name, told in (("machine", self.machine), ("versions", self.versions), ("settings", self.settings)):
            console.print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in told.items()), style="dim")
        for line in self.weak:
            console.print(f"weak comparison: {line}", style="red")


def _figure(row: Row, name: str) -> str:
    value = row.spreads().get(name)
    if value is None:
        return "" if name in row.skipped else "-"
    unit = f" {row.unit}" if row.unit else ""
    if value.least == value.most:
        return f"{shown(value.median)}{unit}"
    return f"{shown(value.median)}{unit}\n{shown(value.least)} to {shown(value.most)}"


def _against(row: Row) -> list[str]:
    ratios = row.ratios()
    lines = [
        f"{name} {shown(value.median)}" + (f" ({ratios[name]:.2f}x)" if name in ratios else "")
        for name, value in row.spreads().items()
        if name != PRODUCT
    ]
    lines += [f"{name}: {why}" for name, why in row.skipped.items() if name != PRODUCT]
    if row.limit is not None:
        lines.append(f"possible here: {shown(row.limit)}")
    return lines
