"""The demo's parts are tested in copies of one world."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataswarm.demo.world import World
from tests.stories.world import BaseWorld, base_world, scheduler, team, world

__all__ = ["base_world", "scheduler", "team", "world"]


@pytest.fixture(scope="module")
def quiet_world(base_world: BaseWorld) -> Iterator[World]:
    """A running copy shared by tests that leave nothing behind."""
    parent = Path(tempfile.mkdtemp(prefix="dsw"))
    copy = World.clone(base_world.directory, parent / "w")
    yield copy
    copy.remove()
    shutil.rmtree(parent, ignore_errors=True)
