"""Repositories against the conformance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from integrations.conformance import RepositoryConformance
from integrations.repositories.git import GitOptions, GitRepository


class TestGit(RepositoryConformance):
    """A bare repository on this machine."""

    @pytest.fixture
    async def repository(self, remote: Path, tmp_path: Path) -> AsyncIterator[GitRepository]:
        """A clone of its own."""
        repository = GitRepository("models", GitOptions(url=SecretStr(str(remote)), directory=tmp_path / "swarm"))
        await repository.open()
        yield repository
        await repository.close()

    @pytest.fixture
    def path(self) -> str:
        """A model."""
        return "models/a.sql"
