"""Lineage of one asset as a tree: what it is made from, or what is made from it, as memory holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from config.assets import Asset
from memory.board import lineage
from memory.connection.database import Transaction

MOST: Final = 400
"""So many assets are laid out as a tree; of more, all are named, and the tree is cut."""

Walk = Callable[[Transaction, Asset, int], Awaitable[set[Asset]]]


@dataclass(frozen=True, slots=True)
class Tree:
    """What a walk found: everything, and under each asset what is next to it. `is_cut`: the tree holds not all."""

    root: Asset
    assets: tuple[Asset, ...]
    children: Mapping[Asset, tuple[Asset, ...]]
    is_cut: bool = False

    def lines(self) -> Iterator[str]:
        """The tree as text; what was shown before is named again and not unfolded again."""
        yield str(self.root)
        yield from self._below(self.root, "", {self.root})

    def _below(self, asset: Asset, indent: str, shown: set[Asset]) -> Iterator[str]:
        below = self.children.get(asset, ())
        for place, child in enumerate(below, 1):
            is_last = place == len(below)
            again = " …" if child in shown and self.children.get(child) else ""
            yield f"{indent}{'└─ ' if is_last else '├─ '}{child}{again}"
            if child not in shown:
                shown.add(child)
                yield from self._below(child, indent + ("   " if is_last else "│  "), shown)


async def upstream(tx: Transaction, asset: Asset, depth: int) -> Tree:
    """What the asset is made from."""
    return await _tree(tx, asset, depth, lineage.upstream)


async def downstream(tx: Transaction, asset: Asset, depth: int) -> Tree:
    """What is made from the asset."""
    return await _tree(tx, asset, depth, lineage.downstream)


async def _tree(tx: Transaction, asset: Asset, depth: int, walk: Walk) -> Tree:
    everything = await walk(tx, asset, depth)
    children: dict[Asset, tuple[Asset, ...]] = {}
    placed: set[Asset] = {asset}
    wave = [asset]
    while wave and len(placed) <= MOST:
        following: list[Asset] = []
        for parent in wave:
            near = sorted(_finest(everything & await walk(tx, parent, 1)))
            children[parent] = tuple(child for child in near if child != parent)
            following += [child for child in children[parent] if child not in placed]
            placed.update(children[parent])
        wave = list(dict.fromkeys(following))
    return Tree(asset, tuple(sorted(everything)), children, is_cut=bool(wave))


def _finest(found: Collection[Asset]) -> set[Asset]:
    """Columns instead of their tables, where both are named."""
    fine = {one.whole for one in found if one.part}
    return {one for one in found if one.part or one not in fine}
