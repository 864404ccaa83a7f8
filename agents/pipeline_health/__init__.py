"""Watches pipelines, and says why they fail."""

from agents.pipeline_health.agent import PipelineHealth
from agents.pipeline_health.options import PipelineHealthOptions

__all__ = ["PipelineHealth", "PipelineHealthOptions"]
