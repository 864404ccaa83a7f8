"""What chaos uses: worlds and schedulers, as stories do."""

from tests.stories.stage import copied, trained_world
from tests.stories.world import base_world, scheduler

__all__ = ["base_world", "copied", "scheduler", "trained_world"]
