"""What a change reaches, as far as lineage on the blackboard tells: who reads the column, and what is made from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agents.context import Context
from agents.schema_drift.following import parted
from agents.schema_drift.views import Seen
from agents.structure.changes import Change
from agents.structure.impact import Impact
from config.assets import Asset
from memory.records import Observation

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
    views: Seen = field(default_factory=Seen)
    _above: dict[Asset, frozenset[Asset]] = field(default_factory=dict)
    _below: dict[Asset, frozenset[Asset]] = field(default_factory=dict)
    _owners: dict[Asset, str] = field(default_factory=dict)
    _runs: dict[Asset, Sequence[Observation]] = field(default_factory=dict)
    _is_read: bool | None = None

    async def is_known(self) -> bool:
        """Does anybody tell who reads this source? Without, nobody is known to read anything."""
        if self._is_read is None:
            self._is_read = await self.context.is_read(Asset("warehouse", self.source))
        return self._is_read

    async def of(self, change: Change) -> Impact | None:
        """What the change reaches; None where nothing is known of who reads this source.

        Where nobody but its own views is known to read it, only these are told, and only if they do.
        """
        is_whole = await self.is_known()
        if not is_whole and not self.views.before and not self.views.after:
            return None
        found: set[Asset] = set()
        for place in places(change, self.source):
            found |= await self._downstream(place)
        following = [path for path in self.views.following(change) if not await self.is_built(path)]
        going_on: set[Asset] = set()
        if following:
            found, going_on = await parted(
                change,
                found,
                [Asset("warehouse", self.source, path) for path in following],
                seen=self.views,
                downstream=self._downstream,
                context=self.context,
            )
        if not is_whole and not found and not following:
            return None
        readers = _readers(found)
        kinds = {asset: _kind(asset) for asset in readers}
        more = [asset.path for asset in _readers(going_on)]
        return Impact(
            models=tuple(a.path for a in readers if kinds[a] not in ("exposure", "test")),
            columns=tuple(sorted(f"{a.path}#{a.part}" for a in found if a.scheme == "warehouse" and a.part)),
            exposures=tuple(a.path for a in readers if kinds[a] == "exposure"),
            owners=await self._owned(readers),
            last_used=await self._last_used(readers),
            tests=tuple(a.path for a in readers if kinds[a] == "test"),
            views=await self._own_views(found),
            following=tuple(sorted({*following, *await self._own_views(going_on), *more})),
            is_whole=is_whole,
        )

    async def is_built(self, path: str) -> bool:
        """Does a pipeline build it? What is made from other things by a view, comes from the code that makes those."""
        whole = Asset("warehouse", self.source, path)
        code = await self._code(whole)
        part = self.views.part(path)
        for read in sorted(part.reads) if part is not None and code else ():
            code -= await self._code(Asset("warehouse", self.source, read))
        return bool(code)

    async def _code(self, whole: Asset) -> frozenset[Asset]:
        if whole not in self._above:
            self._above[whole] = await self.context.upstream(whole)
        return frozenset(above for above in self._above[whole] if above.scheme != whole.scheme)

    async def _own_views(self, found: Iterable[Asset]) -> tuple[str, ...]:
        """The source's views among what was found, without those a pipeline makes: these are its models."""
        paths = sorted({a.path for a in found if a.scheme == "warehouse" and a.source == self.source})
        return tuple([p for p in paths if self.views.part(p) is not None and not await self.is_built(p)])

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
        """When one of them was last run; where runs do not say what they ran, when their pipeline was."""
        by_pipeline: dict[Asset, set[str]] = {}
        for reader in readers:
            by_pipeline.setdefault(Asset(reader.scheme, reader.source), set()).add(reader.path)
        used = [
            _moment(run)
            for pipeline, paths in by_pipeline.items()
            for run in await self._told(pipeline)
            if "ran" not in run.payload or not paths.isdisjoint(run.payload["ran"])
        ]
        return max(used, default=None)

    async def _told(self, pipeline: Asset) -> Sequence[Observation]:
        if pipeline not in self._runs:
            self._runs[pipeline] = await self.context.observations(kinds=_RUNS, subjects=[pipeline])
        return self._runs[pipeline]


def _readers(found: Iterable[Asset]) -> list[Asset]:
    """The code among what was found that reads something."""
    return sorted(a for a in found if a.scheme != "warehouse" and _kind(a) not in _NO_READERS)


def _moment(run: Observation) -> datetime:
    """When a run ended; where it does not say, when it was told."""
    try:
        return datetime.fromisoformat(str(run.payload["finished_at"]))
    except (KeyError, ValueError):
        return run.at


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
