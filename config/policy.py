"""The part of the configuration that holds the swarm back: autonomy, owners' rules, budgets, frozen times."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from config.section import Section

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Autonomy(enum.StrEnum):
    """How far the swarm may go by itself; ordered: observe < propose < act."""

    OBSERVE = "observe"
    PROPOSE = "propose"
    ACT = "act"

    @property
    def rank(self) -> int:
        """0 for observe, 1 for propose, 2 for act."""
        return list(Autonomy).index(self)

    @staticmethod
    def min_of(*levels: Autonomy | None) -> Autonomy:
        """The most careful of the levels; None has no opinion; without any opinion it is observe."""
        return min((level for level in levels if level is not None), key=lambda a: a.rank, default=Autonomy.OBSERVE)

    # Inherited from str these would go by the alphabet, where act < observe.
    def __lt__(self, other: str) -> bool:
        return self.rank < Autonomy(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Autonomy(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Autonomy(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Autonomy(other).rank


class AssetRule(Section):
    """What an owner says about assets.

    Attributes:
        pattern: a shell pattern over asset references, as `warehouse://shop/finance.*`.
        autonomy: how far the swarm may go here.
        tier: 0 is what the business stands on.
        owner: who is asked.
        environment: the rule holds in this environment alone; None is everywhere.
    """

    pattern: Annotated[str, Field(min_length=1)]
    autonomy: Autonomy | None = None
    tier: Annotated[int, Field(ge=0)] | None = None
    owner: str | None = None
    environment: str | None = None


class BudgetSettings(Section):
    """How much the swarm may do before it stops and asks.

    Attributes:
        remedies_per_hour: over everything.
        remedies_per_asset_per_hour: on one asset.
        rows_share: share of a table's rows a remedy may move (0 to 1).
        breaker_after: failed remedies on one incident after which a human is asked.
    """

    remedies_per_hour: Annotated[int, Field(ge=0)] = 10
    remedies_per_asset_per_hour: Annotated[int, Field(ge=0)] = 3
    rows_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    breaker_after: Annotated[int, Field(ge=1)] = 2


class FreezeWindow(Section):
    """A weekly time in which nothing is changed without a human: from `start` to `end`, on the named days.

    A window whose end is not after its start runs into the next day, and belongs to the day it starts on.
    """

    reason: str = "freeze window"
    days: tuple[Weekday, ...] = Field(default=WEEK, min_length=1)
    start: time = time(0, 0)
    end: time = time(0, 0)
    timezone: str = "UTC"

    @field_validator("start", "end", mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        # A bare number would be read as seconds past midnight.
        if not isinstance(value, str | time):
            raise ValueError('should be a time as "22:30"')  # noqa: TRY004 - pydantic collects ValueError alone
        return value

    @field_validator("start", "end")
    @classmethod
    def _local(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("should be without a zone; name it in `timezone`")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            _zone(value)
        except (ValueError, OSError, KeyError):  # unknown names, odd paths; ZoneInfoNotFoundError is a KeyError
            raise ValueError("is not a time zone known here; write one such as Europe/Berlin") from None
        return value

    def covers(self, moment: datetime) -> bool:
        """Is the window on at this moment (an aware datetime)?"""
        local = moment.astimezone(_zone(self.timezone))
        clock = local.time()
        overnight = self.end <= self.start
        started_today = clock >= self.start and (overnight or clock < self.end)
        started_yesterday = overnight and clock < self.end
        yesterday = local - timedelta(days=1)
        return (started_today and WEEK[local.weekday()] in self.days) or (
            started_yesterday and WEEK[yesterday.weekday()] in self.days
        )


class PolicySettings(Section):
    """What the swarm may do, and how sure it has to be.

    Attributes:
        autonomy: the highest level where nothing more particular is said.
        assets: owners' rules.
        budgets: how much before it asks.
        approval_minutes: how long a question waits for a human before it expires.
        soak_cycles: clean cycles of the source before an incident is resolved.
        soak_minutes: the least time before an incident is resolved.
        freeze: times in which nothing is changed without a human.
    """

    autonomy: Autonomy = Autonomy.OBSERVE
    assets: tuple[AssetRule, ...] = ()
    budgets: BudgetSettings = BudgetSettings()
    approval_minutes: Annotated[float, Field(gt=0)] = 240.0
    soak_cycles: Annotated[int, Field(ge=1)] = 2
    soak_minutes: Annotated[float, Field(ge=0)] = 10.0
    freeze: tuple[FreezeWindow, ...] = ()


def _zone(name: str) -> tzinfo:
    # UTC is answered here because a slim container may carry no zone files at all.
    return UTC if name.upper() == "UTC" else ZoneInfo(name)
