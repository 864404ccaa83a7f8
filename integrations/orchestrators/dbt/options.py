"""What can be set about a dbt project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class DbtOptions(BaseModel):
    """Settings of a dbt project.

    Attributes:
        project_dir: the team's checkout; without it nothing can be built, only read.
        target: where the artefacts are: a path, an http(s) URL or an fsspec URL of the directory that holds
            manifest.json and run_results.json; by default `target` in `project_dir`.
        target_headers: sent when `target` is an http(s) URL (a token, say).
        profiles_dir: where profiles.yml is; by default the checkout built from, the project's, then dbt's own default.
        dbt_target: the profile's target for builds into production; by default the profile's own default.
        scratch_target: the profile's target whose schema is the swarm's scratch schema.
        executable: the user's own dbt, perhaps with arguments (`uv run dbt`).
        env: variables for dbt, on top of the swarm's own environment (whose DATASWARM_ variables are left out).
        warehouse: configured name of the warehouse its relations live in.
        running_marker: a file that exists, with a process id in it, while the team's run is in flight.
        running_command: a command that ends with 0 while the team's run is in flight and with 1 otherwise.
        wait_seconds: how long a build waits for the team's run or another build of the swarm.
        build_timeout_seconds: a build that takes longer is ended.
        grace_seconds: how long dbt may take to cancel its queries when it is ended.
        work_dir: where the swarm's own target directories and lock are; by default below the user's state
            directory. Processes of one machine share it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    warehouse: str = Field(min_length=1)
    project_dir: Path | None = None
    target: str | None = None
    target_headers: dict[str, SecretStr] = Field(default_factory=dict)
    profiles_dir: Path | None = None
    dbt_target: str | None = None
    scratch_target: str | None = None
    executable: str = Field(default="dbt", min_length=1)
    env: dict[str, SecretStr] = Field(default_factory=dict)
    running_marker: Path | None = None
    running_command: str | None = None
    wait_seconds: float = Field(default=300.0, ge=0)
    build_timeout_seconds: float = Field(default=1800.0, gt=0)
    grace_seconds: float = Field(default=5.0, ge=0, le=60)
    work_dir: Path | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.project_dir is None and self.target is None:
            raise ValueError("set project_dir (the team's checkout) or target (where the artefacts are), or both")
        if self.scratch_target is not None and self.scratch_target == self.dbt_target:
            raise ValueError("scratch_target must be another target than dbt_target")
        return self

    def artefacts(self) -> str:
        """Where the team's artefacts are."""
        if self.target is not None:
            return self.target
        return str((self.project_dir or Path()) / "target")

    def workplace(self, source: str) -> Path:
        """The directory of the swarm's own for this source."""
        if self.work_dir is not None:
            return self.work_dir / source
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "dataswarm" / "dbt" / source
