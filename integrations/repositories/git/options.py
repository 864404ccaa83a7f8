"""What can be set about a git repository."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class GitOptions(BaseModel):
    """Settings of a git repository.

    Attributes:
        url: of the remote, or the path of a bare repository. May hold a token, so it is never shown.
        branch: the production branch.
        subdirectory: where in the repository the project is; all paths are relative to it.
        directory: the swarm's own clone; by default below the user's state directory. Processes of one
            machine share it.
        author_name, author_email: of the swarm's commits.
        web_url: where a human looks at a commit, as `https://host/shop/commit/{revision}`.
        env: variables for git: credentials (GIT_SSH_COMMAND, GIT_ASKPASS, GIT_CONFIG_…). Git never prompts.
        timeout_seconds: no git command takes longer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr
    branch: str = Field(default="main", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")
    subdirectory: str = ""
    directory: Path | None = None
    author_name: str = Field(default="dataswarm", min_length=1)
    author_email: str = Field(default="dataswarm@localhost", min_length=3)
    web_url: str = ""
    env: dict[str, SecretStr] = Field(default_factory=dict)
    timeout_seconds: float = Field(default=120.0, gt=0)

    @field_validator("web_url")
    @classmethod
    def _names_the_revision(cls, value: str) -> str:
        if value and "{revision}" not in value:
            raise ValueError("must hold {revision}, where the commit id goes")
        return value

    @field_validator("subdirectory")
    @classmethod
    def _is_inside(cls, value: str) -> str:
        if value.startswith("/") or ".." in value.split("/"):
            raise ValueError("must be a path inside the repository")
        return value.strip("/")

    def workplace(self, source: str) -> Path:
        """The directory of the swarm's own for this source."""
        if self.directory is not None:
            return self.directory
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "dataswarm" / "git" / source
