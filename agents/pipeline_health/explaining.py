"""Tying failed nodes to what changed beneath them. Pure: failure and changes in, explanations out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agents.pipeline_health.drift import Drift
from agents.pipeline_health.failure import FailedNode, Failure

NAMED = 1.0


@dataclass(frozen=True, slots=True)
class Root:
    """One root and the nodes it brought down.

    Attributes:
        drift: the change that explains them best.
        nodes: ids of the nodes.
        agreement: how well the error texts agree with it, 0 to 1.
        also: further changes of the same table, which a remedy must take into account.
        rivals: changes of other tables that would explain as well.
    """

    drift: Drift
    nodes: tuple[str, ...]
    agreement: float
    also: tuple[Drift, ...] = ()
    rivals: tuple[Drift, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of a failure's nodes.

    Attributes:
        roots: explained by a change.
        announced: explained by a change that a human announced.
        transient: ids of nodes that failed of what passes by itself.
        signature: of the first of them.
        unsettled: changes beneath the transient nodes that could be behind it after all.
        tests: ids of tests that found rows.
        open: ids of nodes that nothing explains so far.
    """

    roots: tuple[Root, ...] = ()
    announced: tuple[Root, ...] = ()
    transient: tuple[str, ...] = ()
    signature: str = ""
    unsettled: tuple[Drift, ...] = ()
    tests: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    drift: Drift
    agreement: float
    rivals: tuple[Drift, ...]
    nodes: list[str] = field(default_factory=list)


def explain(failure: Failure, drifts: Sequence[Drift], clean_since: datetime | None) -> Explained:
    """Explain a failure.

    Args:
        failure: with every node's `upstream` filled in.
        drifts: changes that stand.
        clean_since: start of the pipeline's last clean run. A change noticed before it did not hurt then, so it
            explains only what names it outright.
    """
    found: dict[tuple[str, str, tuple[str, ...]], _Found] = {}
    transient: list[FailedNode] = []
    tests: list[str] = []
    open_: list[str] = []
    unsettled: dict[int, Drift] = {}
    for node in failure.nodes:
        if node.is_failed_test:
            tests.append(node.id)
            continue
        beneath = [d for d in drifts if d.source == failure.warehouse and d.table in node.upstream and not d.is_own]
        best = _best(node, beneath, clean_since)
        if best is not None:
            key = (best.drift.cause, best.drift.table, best.drift.columns)
            found.setdefault(key, best).nodes.append(node.id)
        elif node.reading.transient:
            transient.append(node)
            unsettled.update({id(d): d for d in beneath if _is_fresh(d, clean_since)})
        else:
            open_.append(node.id)
    roots = _roots(list(found.values()), drifts, clean_since)
    return Explained(
        roots=tuple(r for r in roots if not r.drift.is_announced),
        announced=tuple(r for r in roots if r.drift.is_announced),
        transient=tuple(n.id for n in transient),
        signature=transient[0].reading.transient if transient else "",
        unsettled=tuple(unsettled.values()),
        tests=tuple(tests),
        open=tuple(open_),
    )


def _is_fresh(drift: Drift, clean_since: datetime | None) -> bool:
    return clean_since is None or drift.at >= clean_since


def _best(node: FailedNode, drifts: Sequence[Drift], clean_since: datetime | None) -> _Found | None:
    rated = []
    for drift in drifts:
        agreement = drift.agreement(node.reading, node.message)
        if agreement >= NAMED or (agreement > 0 and _is_fresh(drift, clean_since)):
            rated.append((agreement, drift.at, drift.observations, drift))
    if not rated:
        return None
    agreement, _, _, drift = max(rated, key=lambda r: r[:3])
    rivals = tuple(d for a, _, _, d in rated if a == agreement and d.table != drift.table)
    return _Found(drift, agreement, rivals)


def _roots(found: Sequence[_Found], drifts: Sequence[Drift], clean_since: datetime | None) -> list[Root]:
    """One root a table: several changes of one table are one story, told by the one that explains most."""
    by_table: dict[str, list[_Found]] = {}
    for one in found:
        by_table.setdefault(one.drift.table, []).append(one)
    roots = []
    for table, together in by_table.items():
        # What cannot be told apart blocks any remedy for its table, so it speaks for it.
        first = max(together, key=lambda f: (f.drift.cause == "columns_ambiguous", f.agreement, len(f.nodes)))
        also = [f.drift for f in together if f is not first]
        also += [
            d
            for d in drifts
            if d.table == table
            and d.source == first.drift.source
            and d is not first.drift
            and d not in also
            and not d.is_own
            and _is_fresh(d, clean_since)
        ]
        nodes = tuple(dict.fromkeys(n for f in together for n in f.nodes))
        rivals = first.rivals if len(first.nodes) == len(nodes) else ()
        roots.append(Root(first.drift, nodes, first.agreement, tuple(also), rivals))
    return roots
