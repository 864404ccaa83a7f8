"""Unique ids as dbt selectors that pick exactly that node."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from config.errors import UsageError

_PARTS = 3


def selectors(select: Sequence[str], manifest: Mapping[str, Any] | None, *, is_complete: bool = False) -> list[str]:
    """Selectors for node ids, each perhaps ending in `+` (everything downstream too).

    The manifest gives the fully qualified name, which no other node shares. For a node not in it (new in a checkout)
    the id's last part stands in, unless the manifest `is_complete`: then there is no such node. Raises UsageError
    for what is no node id.
    """
    if not select:
        raise UsageError("nothing to build was named", hint="name at least one node id")
    return [_selector(item, manifest or {}, is_complete=is_complete and manifest is not None) for item in select]


def _selector(item: str, manifest: Mapping[str, Any], *, is_complete: bool) -> str:
    node = item.removesuffix("+")
    plus = "+" if item.endswith("+") else ""
    parts = node.split(".")
    if len(parts) < _PARTS or any(c in node for c in " ,+*?[]@"):
        raise UsageError(
            f"not a dbt node id: {item!r}",
            hint="write an id from the manifest, as model.project.name, perhaps with +",
        )
    if parts[0] == "exposure":
        raise UsageError(f"{node} is an exposure; nothing builds it", hint="name the models it depends on")
    sections = ("sources",) if parts[0] == "source" else ("nodes", "unit_tests")
    known = next((manifest[s][node] for s in sections if node in manifest.get(s, {})), None)
    if known is None and is_complete:
        near = difflib.get_close_matches(node, [k for s in sections for k in manifest.get(s, {})], n=1)
        raise UsageError(
            f"the project has no node {node}",
            hint=f"did you mean {near[0]}?" if near else "run `dbt parse` if it is new",
        )
    if parts[0] == "source":
        return f"source:{'.'.join(parts[1:])}{plus}"
    return f"fqn:{'.'.join(known['fqn']) if known else parts[2]}{plus}"
