"""Rows, verdicts, the JSON that is kept, the table and the chart."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import Console

from benchmarks.chart import draw
from benchmarks.report import PRODUCT, Report, Row, Target


def row(better: str = "higher", *targets: Target, **figures: list[float]) -> Row:
    """A row with figures."""
    made = Row("drain", "drain a backlog", "1/s", "lower" if better == "lower" else "higher", targets)
    for name, values in figures.items():
        for value in values:
            made.add(name, value)
    return made


def report(*rows: Row) -> Report:
    """A report of these rows."""
    return Report("coordination", "2026-11-20T12:00:00", {"cpu": "a <fast> one", "cores": 2}, {}, {"fsync": "on"}, rows)


def test_a_target_against_peers_is_held_to_the_best_of_them() -> None:
    """Twice the best is needed, and how far we came is said."""
    found = row("higher", Target(2.0, ("a", "b")), dataswarm=[150, 140, 160], a=[100], b=[50]).verdict()
    assert found is not None
    assert not found.met
    assert found.reached == 0.75
    assert "0.75" in found.words


def test_where_lower_is_better_the_target_is_a_ceiling() -> None:
    """Three quarters of the best peer's time, or less."""
    found = row("lower", Target(0.75, ("a", "b")), dataswarm=[2.0], a=[2.7], b=[9.0]).verdict()
    assert found is not None
    assert found.met
    found = row("lower", Target(16.0), dataswarm=[17.0]).verdict()
    assert found is not None
    assert not found.met


def test_several_targets_are_met_only_together() -> None:
    """The verdict is the worst one's."""
    made = row("higher", Target(2.0, ("a",)), Target(2.5, ("b",)), dataswarm=[200], a=[100], b=[100])
    found = made.verdict()
    assert found is not None
    assert not found.met
    assert found.reached == 0.8


def test_a_peer_that_did_not_run_is_never_beaten() -> None:
    """However good the figure is, the target is not met without all that it is measured against."""
    made = row("higher", Target(2.0, ("a", "b")), dataswarm=[1000], a=[100])
    made.skipped["b"] = "no network"
    found = made.verdict()
    assert found is not None
    assert not found.met
    assert "b" in found.words
    assert made.to_json()["met"] is False
    assert made.to_json()["skipped"] == {"b": "no network"}
    alone = row("higher", Target(2.0, ("a",)), dataswarm=[1000]).verdict()
    assert alone is not None
    assert not alone.met


def test_a_row_without_our_figure_is_not_met() -> None:
    """The product left out is no success."""
    found = row("higher", Target(1.0), a=[5]).verdict()
    assert found is not None
    assert not found.met


def test_the_json_has_the_one_shape(tmp_path: Path) -> None:
    """Medians, spreads and ratios, by the names the README gives."""
    path = tmp_path / "new" / "found.json"
    report(row("higher", Target(2.0, ("a",)), dataswarm=[200, 300, 100], a=[100])).write(path)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert set(kept) == {"benchmark", "at", "machine", "versions", "settings", "rows", "weak"}
    (found,) = kept["rows"]
    assert found["product"] == 200
    assert found["peers"] == {"a": 100}
    assert found["spread"] == {"dataswarm": [100, 300], "a": [100, 100]}
    assert found["ratios"] == {"a": 2}
    assert found["target"] == "≥ 2x a"
    assert found["met"] is True


def test_the_table_shows_figures_ratios_and_verdicts() -> None:
    """And who was left out, and why."""
    made = row("higher", Target(2.0, ("a",)), dataswarm=[200], a=[100])
    made.skipped["b"] = "no network"
    console = Console(file=io.StringIO(), width=140, record=True)
    report(made).show(console)
    text = console.export_text()
    for expected in ("200 1/s", "a 100 (2.00x)", "b: no network", "≥ 2x a", "met", "fsync on"):
        assert expected in text


def test_the_chart_is_well_formed_and_names_everybody() -> None:
    """SVG that a parser takes, with a bar for each contender, the product's first; names are escaped."""
    made = row("higher", dataswarm=[200])
    made.add("peer & co", 100)
    root = ET.fromstring(draw(report(made), ["drain", "unknown"]))  # noqa: S314 - we wrote it
    space = "{http://www.w3.org/2000/svg}"
    bars = root.findall(f".//{space}rect")
    assert [bar.get("class") for bar in bars] == ["ours", "theirs"]
    assert float(bars[0].get("width", 0)) == 2 * float(bars[1].get("width", 0))
    text = "".join(root.itertext())
    for expected in (PRODUCT, "peer & co", "drain a backlog", "a <fast> one", "2.0x better"):
        assert expected in text


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    """A run that found nothing draws no bars and breaks nothing."""
    ET.fromstring(draw(report(), ["drain"]))  # noqa: S314 - we wrote it
