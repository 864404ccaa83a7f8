"""What stories use: worlds, schedulers, stages."""

from tests.stories.stage import copied, stage, trained_world
from tests.stories.world import base_world, scheduler, team, world

__all__ = ["base_world", "copied", "scheduler", "stage", "team", "trained_world", "world"]
