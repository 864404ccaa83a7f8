"""A structure as parts of JSON, one a table, so that a look writes down only what changed; and back.

Part names: `table:schema.name`, `sketch:schema.name` (keyed hashes of values, apart so that they can be sealed and
taken anew alone), `enumerations`, `sequences`, `invisible`. Defaults are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from agents.structure.known import KnownTable, Sketched, Structure
from config.errors import SourceError
from integrations.base import Enumeration, NumberSequence
from memory.records import JSON

TABLE: Final = "table:"
SKETCH: Final = "sketch:"
_Read = TypeVar("_Read")

_TABLE: Final = TypeAdapter(KnownTable)
_SKETCH: Final = TypeAdapter(Sketched)
_ENUMERATIONS: Final = TypeAdapter(tuple[Enumeration, ...])
_SEQUENCES: Final = TypeAdapter(tuple[NumberSequence, ...])
_INVISIBLE: Final = TypeAdapter(tuple[str, ...])


def as_parts(structure: Structure) -> dict[str, JSON]:
    """All parts of a structure. Equal structures give equal parts, whatever the order of the catalog."""
    return dict(_parts(structure))


def _parts(structure: Structure) -> Iterator[tuple[str, JSON]]:
    for path, table in structure.tables.items():
        yield TABLE + path, _TABLE.dump_python(table, mode="json", exclude={"sketched"}, exclude_defaults=True)
        if table.sketched is not None:
            yield SKETCH + path, _SKETCH.dump_python(table.sketched, mode="json", exclude_defaults=True)
    enumerations = tuple(e for _, e in sorted(structure.enumerations.items()))
    sequences = tuple(s for _, s in sorted(structure.sequences.items()))
    yield "enumerations", _ENUMERATIONS.dump_python(enumerations, mode="json", exclude_defaults=True)
    yield "sequences", _SEQUENCES.dump_python(sequences, mode="json", exclude_defaults=True)
    yield "invisible", sorted(structure.invisible)


def from_parts(parts: Mapping[str, JSON]) -> Structure:
    """Read what `as_parts` wrote; parts by other names are passed over. Raises SourceError naming a part misread."""
    tables: dict[str, KnownTable] = {}
    for name, part in parts.items():
        if name.startswith(TABLE):
            tables[name.removeprefix(TABLE)] = _read(_TABLE, name, part)
    for name, part in parts.items():
        path = name.removeprefix(SKETCH)
        if name.startswith(SKETCH) and path in tables:
            tables[path] = replace(tables[path], sketched=_read(_SKETCH, name, part))
    enumerations = _read(_ENUMERATIONS, "enumerations", parts.get("enumerations", ()))
    sequences = _read(_SEQUENCES, "sequences", parts.get("sequences", ()))
    return Structure(
        tables,
        {f"{e.schema}.{e.name}": e for e in enumerations},
        {f"{s.schema}.{s.name}": s for s in sequences},
        _read(_INVISIBLE, "invisible", parts.get("invisible", ())),
    )


def changed_parts(before: Mapping[str, JSON], after: Mapping[str, JSON]) -> dict[str, JSON]:
    """The parts to write: new or changed ones with their value, those that are gone with None.

    An estimate of rows that moved by less than half is no reason to write a table again.
    """
    written = {name: part for name, part in after.items() if name not in before or _differs(before[name], part)}
    return written | dict.fromkeys(name for name in before if name not in after)


def _differs(before: JSON, after: JSON) -> bool:
    if before == after:
        return False
    if not (isinstance(before, dict) and isinstance(after, dict) and "rows" in before and "rows" in after):
        return True
    few, many = sorted((int(before["rows"]), int(after["rows"])))
    return {**before, "rows": 0} != {**after, "rows": 0} or few < 0 <= many or many > 2 * few + 1


def _read(adapter: TypeAdapter[_Read], name: str, part: JSON) -> _Read:
    try:
        return adapter.validate_python(part)
    except ValidationError as error:
        raise SourceError(
            f"part {name!r} of a structure cannot be read: {error.error_count()} of its fields are missing or wrong",
            hint="forget the baseline of this source; the next look takes it anew",
        ) from None
