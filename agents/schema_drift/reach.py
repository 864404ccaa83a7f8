"""What a change reaches, as far as lineage on the blackboard tells: who reads the column, and what is made from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agents.context import Context
from agents.structure.changes import Change
from agents.structure.impact import Impact
from config.assets import Asset

MOST_ASKED: Final = 500
"""Changes whose reach is asked for in one look; the graver ones first."""

_OWNER: Final = "owner"
_RUNS: Final = ("pipeline.passed", "pipeline.failed")
_MOST_OWNERS: Final = 50
_NO_READERS: Final = ("source", "seed")


@dataclass(slots=True)
class Reach:
    """Asks the blackboard once for each place and owner of a look."""

    source: str
    context: Context
    _below: dict[Asset, frozenset[Asset]] = field(default_factory=dict)
    _owners: dict[Asset, str] = field(default_factory=dict)
    _runs: dict[Asset, datetime | None] = field(default_factory=dict)
    _is_read: bool | None = None

    async def is_known(self) -> bool:
        """Does anybody tell who reads this source? Without, nobody is known to read anything."""
        if self._is_read is None:
            self._is_read = await self.context.is_read(Asset("warehouse", self.source))
        return self._is_read

    async def of(self, change: Change) -> Impact | None:
        """What the change reaches; None where nothing is known of who reads this source."""
        if not await self.is_known():
            return None
        found: set[Asset] = set()
        for place in places(change, self.source):
            found |= await self._downstream(place)
        code = sorted(asset for asset in found if asset.scheme != "warehouse")
        kinds = {asset: _kind(asset) for asset in code}
        readers = [asset for asset in code if kinds[asset] not in _NO_READERS]
        return Impact(
            models=tuple(a.path for a in readers if kinds[a] not in ("exposure", "test")),
            columns=tuple(sorted(f"{a.path}#{a.part}" for a in found if a.scheme == "warehouse" and a.part)),
            exposures=tuple(a.path for a in readers if kinds[a] == "exposure"),
            owners=await self._owned(readers),
            last_used=await self._last_used(readers),
            tests=tuple(a.path for a in readers if kinds[a] == "test"),
        )

    async def _downstream(self, place: Asset) -> frozenset[Asset]:
        if place not in self._below:
            self._below[place] = await self.context.downstream(place)
        return self._below[place]

    async def _owned(self, readers: Sequence[Asset]) -> tuple[str, ...]:
        """Whose they are; what is shown to people first."""
        ordered = sorted(readers, key=lambda asset: (_kind(asset) != "exposure", asset))
        for asset in ordered[:_MOST_OWNERS]:
            if asset not in self._owners:
                fact = await self.context.fact(asset, _OWNER)
                self._owners[asset] = str(fact.object) if fact is not None else ""
        return tuple(sorted({self._owners[a] for a in ordered[:_MOST_OWNERS] if self._owners[a]}))

    async def _last_used(self, readers: Iterable[Asset]) -> datetime | None:
        """When a pipeline among them last ran."""
        runs = [await self._last_run(pipeline) for pipeline in {Asset(a.scheme, a.source) for a in readers}]
        return max((run for run in runs if run is not None), default=None)

    async def _last_run(self, pipeline: Asset) -> datetime | None:
        if pipeline not in self._runs:
            told = await self.context.observations(kinds=_RUNS, subjects=[pipeline])
            self._runs[pipeline] = max((one.at for one in told), default=None)
        return self._runs[pipeline]


def places(change: Change, source: str) -> Iterator[Asset]:
    """The columns a change is about, by their old names; for a change of the whole table, the table."""
    payload: Mapping[str, object] = change.payload
    listed = payload.get("dropped") or (payload.get("columns") if change.kind.startswith("constraint") else None)
    used_by = payload.get("used_by")
    if change.column:
        yield Asset("warehouse", source, change.table, change.column)
    elif isinstance(used_by, list) and used_by:
        yield from (Asset("warehouse", source, one["table"], one["column"]) for one in used_by)
    elif isinstance(listed, list) and listed:
        yield from (Asset("warehouse", source, change.table, str(name)) for name in listed)
    else:
        yield Asset("warehouse", source, change.table)


def _kind(asset: Asset) -> str:
    """`model`, `exposure`, … as pipelines name their nodes: `model.shop.orders`."""
    return asset.path.partition(".")[0]
