"""The classification as data: for each change what it does to those who read, and to those who write.

A rule is found by the change's kind, by what of it changed, and by how; the nearest one counts (kind, what, how →
kind, what → kind). README.md shows the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Effect(StrEnum):
    """What a change does to somebody who goes on as before."""

    COMPATIBLE = "compatible"  # nothing
    RISKY = "risky"  # it goes on, perhaps with other results
    BREAKING = "breaking"  # it fails
    DATA_LOSS = "data_loss"  # and what was stored is gone or cut

    @property
    def rank(self) -> int:
        """0 (compatible) to 3 (data loss)."""
        return list(type(self)).index(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the classification, with a sentence for readers and one for writers."""

    id: str
    readers: Effect
    writers: Effect
    for_readers: str
    for_writers: str


_SAFE, _RISKY, _BREAKS, _LOSES = Effect
_Key = tuple[str, str, str]
_NOTHING = "Nothing changes for readers."
_NO_WRITER = "Nothing changes for writers."

RULES: Final[Mapping[_Key, Rule]] = {
    # --- tables ---
    ("table_added", "", ""): Rule("table.added", _SAFE, _SAFE, "Nobody reads it yet.", "Nobody writes it yet."),
    ("table_dropped", "", ""): Rule(
        "table.dropped", _LOSES, _BREAKS, "Whoever reads it fails, and its rows are gone.", "Whoever writes it fails."
    ),
    ("table_dropped", "", "view"): Rule(
        "view.dropped",
        _BREAKS,
        _BREAKS,
        "Whoever reads it fails; no rows are lost.",
        "Whoever writes through it fails.",
    ),
    ("table_renamed", "", ""): Rule(
        "table.renamed", _BREAKS, _BREAKS, "Whoever reads the old name fails.", "Whoever writes to the old name fails."
    ),
    ("table_altered", "comment", ""): Rule("table.comment", _SAFE, _SAFE, _NOTHING, _NO_WRITER),
    ("table_altered", "owner", ""): Rule(
        "table.owner",
        _SAFE,
        _RISKY,
        "Rights that were granted stay.",
        "The old owner may no longer change it: migrations run by that role can fail.",
    ),
    ("table_altered", "partitioning", ""): Rule(
        "table.partitioning",
        _SAFE,
        _RISKY,
        "The same rows come out, perhaps at another speed.",
        "Rows that fit no partition are refused.",
    ),
    ("table_altered", "kind", ""): Rule(
        "table.kind",
        _RISKY,
        _BREAKS,
        "The name is still read, but by another kind of relation: rows may be computed, or no longer kept up to date.",
        "What could be written to may not be any more.",
    ),
    ("table_altered", "definition", ""): Rule(
        "view.redefined",
        _RISKY,
        _RISKY,
        "The same columns may mean something else.",
        "Rows may be refused or go elsewhere.",
    ),
    # --- columns ---
    ("column_added", "", ""): Rule(
        "column.added", _SAFE, _SAFE, "Readers that name their columns see nothing of it.", "It may be left out."
    ),
    ("column_added", "", "required"): Rule(
        "column.added_required",
        _SAFE,
        _BREAKS,
        "Readers that name their columns see nothing of it.",
        "Whoever inserts without naming it fails: it is not null and has no default.",
    ),
    ("column_dropped", "", ""): Rule(
        "column.dropped",
        _LOSES,
        _BREAKS,
        "Whoever names it fails, and its values are gone.",
        "Whoever writes it fails.",
    ),
    ("column_dropped", "", "view"): Rule(
        "view_column.dropped",
        _BREAKS,
        _BREAKS,
        "Whoever names it fails; no values are lost.",
        "Whoever writes through it fails.",
    ),
    ("column_renamed", "", ""): Rule(
        "column.renamed", _BREAKS, _BREAKS, "Whoever names the old name fails.", "Whoever writes the old name fails."
    ),
    ("columns_ambiguous", "", ""): Rule(
        "columns.ambiguous",
        _BREAKS,
        _BREAKS,
        "Whoever names the old names fails; which new column holds what is not known.",
        "Whoever writes the old names fails.",
    ),
    ("column_retyped", "", ""): Rule(
        "column.retyped",
        _BREAKS,
        _BREAKS,
        "Comparisons and arithmetic that fitted the old type fail or mean something else.",
        "Values of the old type may be refused.",
    ),
    ("column_retyped", "same", ""): Rule(
        "column.respelled", _SAFE, _SAFE, "The same values fit.", "Whatever was accepted is accepted."
    ),
    ("column_retyped", "widens", ""): Rule(
        "column.widened",
        _RISKY,
        _SAFE,
        "All old values fit, but new ones may not fit where readers copy them to.",
        "Whatever was accepted is accepted.",
    ),
    ("column_retyped", "narrows", ""): Rule(
        "column.narrowed",
        _LOSES,
        _BREAKS,
        "Values that did not fit are cut or gone.",
        "Values that do not fit any more are refused.",
    ),
    ("column_retyped", "narrows", "scale"): Rule(
        "column.rounded",
        _LOSES,
        _LOSES,
        "Decimal places that were stored are gone.",
        "Decimal places are rounded away in silence.",
    ),
    ("column_retyped", "narrows", "time of day"): Rule(
        "column.dated",
        _LOSES,
        _LOSES,
        "The times of day that were stored are gone.",
        "Times of day are cut off in silence.",
    ),
    ("column_retyped", "narrows", "exactness"): Rule(
        "column.inexact",
        _LOSES,
        _LOSES,
        "Digits that were stored may be gone; sums and comparisons may differ in the last place.",
        "Digits that do not fit are rounded away in silence.",
    ),
    ("column_retyped", "other", "time zone"): Rule(
        "column.zone",
        _RISKY,
        _RISKY,
        "The same text may be another moment: a time zone was added or taken away.",
        "Moments are stored by another rule: by the session's time zone, or without one.",
    ),
    ("column_retyped", "other", "representation"): Rule(
        "column.represented",
        _RISKY,
        _RISKY,
        "The same values are stored another way: functions, order and equality may differ.",
        "What is written may come back in another form.",
    ),
    ("column_altered", "nullability", "nullable"): Rule(
        "column.nullable",
        _RISKY,
        _SAFE,
        "Nulls may come where there were none: sums, joins and tests may change.",
        "Whatever was accepted is accepted.",
    ),
    ("column_altered", "nullability", "required"): Rule(
        "column.not_null", _SAFE, _BREAKS, "Nulls no longer come.", "Whoever writes a null, or leaves it out, fails."
    ),
    ("column_altered", "default", ""): Rule(
        "column.default",
        _RISKY,
        _RISKY,
        "New rows may carry another value where it was left out.",
        "Whoever leaves it out stores another value.",
    ),
    ("column_altered", "default", "added"): Rule(
        "column.default_added",
        _SAFE,
        _SAFE,
        "New rows carry a value where there was a null.",
        "It may be left out.",
    ),
    ("column_altered", "default", "removed"): Rule(
        "column.default_removed",
        _RISKY,
        _RISKY,
        "Nulls may come where the default stood.",
        "Whoever leaves it out stores a null, or fails where it is not null.",
    ),
    ("column_altered", "generated", ""): Rule(
        "column.generated",
        _RISKY,
        _BREAKS,
        "Its values are computed by another rule.",
        "Whoever writes it fails where it is computed now.",
    ),
    ("column_altered", "generated", "removed"): Rule(
        "column.generated_removed",
        _RISKY,
        _RISKY,
        "Its values are no longer computed: they may be missing or wrong.",
        "It has to be written from now on.",
    ),
    ("column_altered", "identity", ""): Rule(
        "column.numbering",
        _SAFE,
        _BREAKS,
        _NOTHING,
        "Whoever writes numbers of their own, or leaves them out, may fail.",
    ),
    ("column_altered", "identity", "by default"): Rule(
        "column.numbered", _SAFE, _SAFE, _NOTHING, "It may be left out, or written."
    ),
    ("column_altered", "position", ""): Rule(
        "column.position",
        _RISKY,
        _RISKY,
        "Whoever reads by place (select *, UNION, COPY) gets other columns.",
        "Whoever inserts without naming columns stores values in the wrong ones.",
    ),
    ("column_altered", "comment", ""): Rule("column.comment", _SAFE, _SAFE, _NOTHING, _NO_WRITER),
    ("column_altered", "collation", ""): Rule(
        "column.collation",
        _RISKY,
        _RISKY,
        "Order, equality and joins of texts may differ.",
        "What counts as a duplicate may differ.",
    ),
    # --- constraints and indexes ---
    ("constraint_added", "", ""): Rule(
        "constraint.added", _SAFE, _RISKY, "More can be relied on.", "Rows that violate it are refused."
    ),
    ("constraint_dropped", "", ""): Rule(
        "constraint.dropped",
        _RISKY,
        _SAFE,
        "What it kept out may come: duplicates, orphans, values out of bounds.",
        "Whatever was accepted is accepted.",
    ),
    ("constraint_dropped", "", "key"): Rule(
        "key.dropped",
        _RISKY,
        _RISKY,
        "Duplicates may come: joins on it multiply rows.",
        "Upserts that rely on it fail; duplicates are accepted.",
    ),
    ("constraint_altered", "definition", ""): Rule(
        "constraint.altered",
        _RISKY,
        _RISKY,
        "What can be relied on is another.",
        "Rows that were accepted may be refused.",
    ),
    ("constraint_altered", "name", ""): Rule(
        "constraint.renamed", _SAFE, _RISKY, _NOTHING, "Statements that name the constraint fail."
    ),
    ("index_added", "", ""): Rule("index.added", _SAFE, _SAFE, _NOTHING, "Writing costs a little more."),
    ("index_added", "", "key"): Rule(
        "unique_index.added", _SAFE, _RISKY, "More can be relied on.", "Duplicates are refused."
    ),
    ("index_dropped", "", ""): Rule("index.dropped", _SAFE, _SAFE, "Reading may take longer.", _NO_WRITER),
    ("index_dropped", "", "key"): Rule(
        "unique_index.dropped",
        _RISKY,
        _RISKY,
        "Duplicates may come: joins on it multiply rows.",
        "Upserts that rely on it fail; duplicates are accepted.",
    ),
    ("index_altered", "definition", ""): Rule(
        "index.altered", _SAFE, _SAFE, "Reading may take another time.", _NO_WRITER
    ),
    ("index_altered", "definition", "key"): Rule(
        "unique_index.altered",
        _RISKY,
        _RISKY,
        "What is unique is another: duplicates may come.",
        "Upserts that rely on it may fail.",
    ),
    ("index_altered", "name", ""): Rule("index.renamed", _SAFE, _SAFE, _NOTHING, _NO_WRITER),
    # --- types with listed values, sequences, rights ---
    ("enumeration_added", "", ""): Rule("enumeration.added", _SAFE, _SAFE, "Nobody reads it yet.", _NO_WRITER),
    ("enumeration_dropped", "", ""): Rule(
        "enumeration.dropped", _BREAKS, _BREAKS, "Casts to it fail.", "Casts to it fail."
    ),
    ("enumeration_altered", "name", ""): Rule(
        "enumeration.renamed", _BREAKS, _BREAKS, "Casts to the old name fail.", "Casts to the old name fail."
    ),
    ("enumeration_altered", "values", "added"): Rule(
        "enumeration.value_added",
        _RISKY,
        _SAFE,
        "Values may come that no CASE and no accepted_values knows.",
        "Whatever was accepted is accepted.",
    ),
    ("enumeration_altered", "values", "reordered"): Rule(
        "enumeration.reordered",
        _RISKY,
        _SAFE,
        "ORDER BY, MIN, MAX and comparisons give other results.",
        _NO_WRITER,
    ),
    ("enumeration_altered", "values", "removed"): Rule(
        "enumeration.value_removed",
        _BREAKS,
        _BREAKS,
        "Comparisons with the value fail or never hold.",
        "The value is refused.",
    ),
    ("sequence_added", "", ""): Rule("sequence.added", _SAFE, _SAFE, _NOTHING, _NO_WRITER),
    ("sequence_dropped", "", ""): Rule(
        "sequence.dropped", _SAFE, _BREAKS, _NOTHING, "Whoever draws numbers from it fails."
    ),
    ("sequence_altered", "name", ""): Rule(
        "sequence.renamed", _SAFE, _BREAKS, _NOTHING, "Whoever draws numbers by the old name fails."
    ),
    ("sequence_altered", "definition", ""): Rule(
        "sequence.altered", _SAFE, _RISKY, _NOTHING, "Numbers may run out, repeat or skip."
    ),
    ("grants_altered", "", ""): Rule(
        "grants.altered",
        _SAFE,
        _RISKY,
        "Its right to read stays.",
        "Rights other than to write were taken from the role.",
    ),
    ("grants_altered", "", "gained"): Rule(
        "grants.gained", _SAFE, _SAFE, "A role may do more than before.", "A role may do more than before."
    ),
    ("grants_altered", "", "lost reading"): Rule(
        "grants.lost_reading", _BREAKS, _SAFE, "The role is refused where it reads.", "Its rights to write stay."
    ),
    ("grants_altered", "", "lost writing"): Rule(
        "grants.lost_writing", _SAFE, _BREAKS, "Its right to read stays.", "The role is refused where it writes."
    ),
    ("grants_altered", "", "lost both"): Rule(
        "grants.lost",
        _BREAKS,
        _BREAKS,
        "The role is refused where it reads.",
        "The role is refused where it writes.",
    ),
}

KINDS: Final = tuple(dict.fromkeys(kind for kind, _, _ in RULES))
"""Every kind of change there is."""


def rule(kind: str, what: str, how: str) -> Rule:
    """The nearest rule; a KeyError would be a gap in the table, which a test excludes."""
    for key in ((kind, what, how), (kind, what, ""), (kind, "", how)):
        if key in RULES:
            return RULES[key]
    return RULES[kind, "", ""]
