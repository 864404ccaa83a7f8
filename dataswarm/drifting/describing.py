"""A change in a few words, the same on the terminal, in a comment and in a history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Payload = Mapping[str, Any]
_LONGEST = 120


def sentence(kind: str, column: str, payload: Payload) -> str:
    """`column amount dropped (integer)`; kinds unknown here are told by their own words."""
    words = _SENTENCES.get(kind)
    return words(column, payload) if words is not None else _otherwise(kind, column, payload)


def _otherwise(kind: str, column: str, payload: Payload) -> str:
    subject, _, verb = kind.rpartition("_")
    name = column or str(payload.get("name") or "")
    head = " ".join(part for part in (subject.replace("_", " "), name, verb) if part)
    what = str(payload.get("what") or "")
    return head + (f": {what}" if what else "") + _from_to(payload)


def _from_to(payload: Payload) -> str:
    if "before" not in payload and "after" not in payload:
        return ""
    return f" {_shown(payload.get('before'))} → {_shown(payload.get('after'))}"


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _typed(payload: Payload) -> str:
    return f" ({payload['type']})" if payload.get("type") else ""


def _added(column: str, payload: Payload) -> str:
    must = " not null" if payload.get("nullable") is False else ""
    given = " with a default" if payload.get("default") else ""
    kind = str(payload.get("type") or "").strip()
    return f"column {column} added ({kind or 'no type'}{must}{given})"


def _evidence(payload: Payload) -> str:
    by, confidence = payload.get("evidence"), payload.get("confidence")
    if not by or confidence is None:
        return ""
    return f" (by {by}, confidence {confidence:.2f})"


def _keys(payload: Payload) -> str:
    """The keys of other tables that came or went with a table."""
    keys = payload.get("with") or ()
    named = [f"{key.get('name') or 'a key'} of {key['table']}" for key in keys if isinstance(key, Mapping)]
    return f", and with it {_shown(named)}" if named else ""


_SENTENCES: Final[Mapping[str, Callable[[str, Payload], str]]] = {
    "table_added": lambda _, p: f"table added ({p.get('columns', '?')} columns){_keys(p)}",
    "table_dropped": lambda _, p: f"table dropped{_keys(p)}",
    "table_renamed": lambda _, p: f"table renamed to {p.get('after')}{_evidence(p)}",
    "column_added": _added,
    "column_dropped": lambda c, p: f"column {c} dropped{_typed(p)}",
    "column_renamed": lambda c, p: f"column {c} renamed to {p.get('after')}{_evidence(p)}",
    "column_retyped": lambda c, p: f"column {c}: type{_from_to(p)}",
    "retaken": lambda _, p: f"baseline taken anew by {_shown(p.get('by'))}: {_shown(p.get('reason'))}",
    "columns_ambiguous": lambda _, p: (
        f"columns {_shown(p.get('dropped'))} gone and {_shown(p.get('added'))} new; which is which cannot be told"
    ),
}
