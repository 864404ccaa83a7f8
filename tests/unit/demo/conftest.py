"""The demo's parts are tested in copies of one world."""

from tests.stories.world import base_world, scheduler, team, world

__all__ = ["base_world", "scheduler", "team", "world"]
