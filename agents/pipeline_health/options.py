"""What can be tuned about pipeline-health."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field


class PipelineHealthOptions(BaseModel):
    """Settings.

    Attributes:
        patience_seconds: how long an error that no known change explains waits for one to be noticed.
        window_hours: how far back changes are looked for.
        load_columns: columns a loader adds, in which two loads of the same rows differ.
        most_batches: duplicates spread over more batches than this are no batch loaded twice.
        profiles: relations profiled after a clean run at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patience_seconds: float = Field(default=90.0, ge=0)
    window_hours: float = Field(default=24.0, gt=0)
    load_columns: tuple[str, ...] = ("_loaded_at", "_batch_id")
    most_batches: int = Field(default=4, ge=1)
    profiles: int = Field(default=200, ge=0)

    @property
    def patience(self) -> timedelta:
        """How long to wait."""
        return timedelta(seconds=self.patience_seconds)

    @property
    def window(self) -> timedelta:
        """How far to look back."""
        return timedelta(hours=self.window_hours)
