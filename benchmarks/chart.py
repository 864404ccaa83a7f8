"""A chart of a report as SVG, written by hand: bars by metric, the product's first, in light and in dark."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.figures import shown
from benchmarks.report import PRODUCT, Report, Row

WIDTH, LEFT, RIGHT = 860, 190, 190
BAR, GAP, HEAD, TOP = 16, 5, 30, 64
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 }
.metric { font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.ours { fill: #1a7f5a } .theirs { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .ours { fill: #3fb984 } .theirs { fill: #57606a }
}
"""


def draw(report: Report, metrics: Sequence[str]) -> str:
    """The chosen metrics of a report, each on a scale of its own; those without figures are left out."""
    rows = [row for metric in metrics for row in report.rows if row.metric == metric and row.spreads()]
    parts: list[str] = []
    y = TOP
    for row in rows:
        part, y = _row(row, y)
        parts.append(part)
    cpu = f"{report.machine.get('cpu', '')}, {report.machine.get('cores', '')} cores"
    settings = f"PostgreSQL {report.settings.get('server_version', '')}, fsync {report.settings.get('fsync', '')}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 14}" width="{WIDTH}" height="{y + 14}" '
        f'role="img" aria-label="{escape(report.benchmark)}"><style>{STYLE}</style>'
        f'<text class="title" x="16" y="26">{escape(report.benchmark)}: dataswarm and its peers in one run</text>'
        f'<text class="small" x="16" y="45">{escape(f"{report.at}, {cpu}, {settings}; medians")}</text>'
        + "".join(parts)
        + "</svg>\n"
    )


def _row(row: Row, y: int) -> tuple[str, int]:
    """One metric: its heading, its bars, and a line where the target is. Returns it and where the next begins."""
    found = {name: value.median for name, value in row.spreads().items()}
    ordered = sorted(found, key=lambda name: (name != PRODUCT, -found[name] if row.better == "higher" else found[name]))
    unit = f", {row.unit}" if row.unit else ""
    about = f'<tspan class="small">{escape(f"{unit}, {row.better} is better")}</tspan>'
    parts = [f'<text class="metric" x="16" y="{y + 14}">{escape(row.title)}{about}</text>']
    y += HEAD - 8
    most = max(found.values()) or 1.0
    for name in ordered:
        length = (WIDTH - LEFT - RIGHT) * found[name] / most
        ratio = row.ratios().get(name)
        told = shown(found[name]) + (f"   ({ratio:.1f}x better)" if ratio is not None and ratio >= 1 else "")
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{"ours" if name == PRODUCT else "theirs"}" x="{LEFT}" y="{y}" width="{length:.1f}" '
            f'height="{BAR}" rx="2"/>'
            f'<text class="small" x="{LEFT + length + 6:.1f}" y="{y + 12}">{escape(told)}</text>'
        )
        y += BAR + GAP
    return "".join(parts), y + 12
