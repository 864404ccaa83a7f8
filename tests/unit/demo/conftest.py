"""The demo's parts are tested in copies of one world."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from dataswarm.demo.world import World
from tests.places import fresh_place
from tests.stories.world import BaseWorld


@pytest.fixture(scope="module")
def quiet_world(base_world: BaseWorld) -> Iterator[World]:
    """A running copy shared by tests that leave nothing behind."""
    parent = fresh_place("dsw")
    copy = World.clone(base_world.directory, parent / "w")
    yield copy
    copy.remove()
    shutil.rmtree(parent, ignore_errors=True)
