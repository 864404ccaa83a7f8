"""Do two columns hold the same? Judged by sketches: the smallest keyed hashes of their distinct values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from agents.structure.known import Content

AGREE = 0.8
DISAGREE = 0.5
_CONTAINED = 0.95
_SAMPLES = 16
_NULLS_NEAR = 0.05
_FEWEST = 3
_FEWEST_WORDS = 2


class Verdict(Enum):
    """What content says of two columns being the same."""

    SAME = "same"
    DIFFERENT = "different"
    SILENT = "silent"  # nothing to compare, or too little to tell


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two columns' distinct values are.

    Attributes:
        jaccard: share of common values among all, estimated, 0 to 1.
        contained: share of the first column's values that the second holds, estimated.
        samples: hashes that `contained` rests on.
    """

    jaccard: float
    contained: float
    samples: int


def compare(one: Content, other: Content) -> Likeness | None:
    """The likeness of two sketches; None where one is empty."""
    if not one.sketch or not other.sketch:
        return None
    left, right = set(one.sketch), set(other.sketch)
    # Below the smaller of the two largest hashes both sketches are complete.
    limits = [c.sketch[-1] for c in (one, other) if len(c.sketch) >= c.size]
    limit = min(limits) if limits else None
    inside_left = {h for h in left if limit is None or h <= limit}
    inside_right = {h for h in right if limit is None or h <= limit}
    both = len(inside_left & inside_right)
    union = len(inside_left | inside_right)
    return Likeness(both / union, both / len(inside_left) if inside_left else 0.0, len(inside_left))


def judge(before: Content | None, after: Content | None, type_: str) -> Verdict:
    """Does the column `after` hold what `before` held?

    A table that only grew holds all of the old values and more; nulls must stay near. Two booleans always look
    alike, so they say nothing.
    """
    likeness = compare(before, after) if before is not None and after is not None else None
    if before is None or after is None or likeness is None:
        return Verdict.SILENT
    may_have_grown = after.rows >= before.rows and likeness.contained >= _CONTAINED
    grew = may_have_grown and likeness.samples >= _SAMPLES
    if likeness.jaccard < DISAGREE and not may_have_grown:
        return Verdict.DIFFERENT
    if abs(before.null_share - after.null_share) > _NULLS_NEAR:
        return Verdict.DIFFERENT
    fewest = _FEWEST_WORDS if type_.startswith(("text", "character", "varchar")) else _FEWEST
    telling = type_ != "boolean" and min(len(before.sketch), len(after.sketch)) >= fewest
    return Verdict.SAME if telling and (likeness.jaccard >= AGREE or grew) else Verdict.SILENT
