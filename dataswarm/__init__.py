"""dataswarm: a swarm of agents that watches a data stack and fixes what breaks, with proof.

What third parties import stands here and is light: agents, playbooks, integrations, and the words they share.
"""

from agents.base import Agent, Capability, Scope, Watch
from agents.context import Context, Happening
from agents.playbook import Bench, BlastRadius, Case, Plan, Playbook, Unfit, Verification
from agents.verdicts import Act, Ask, Diagnose, Escalate, Ignore, Record, Sensed, Verdict, Wait
from config.assets import Asset
from integrations.base import Channel, Integration, Orchestrator, Repository, Warehouse
from memory.records import NewObservation, Observation, Severity

__version__ = "0.1.0.dev0"

__all__ = [
    "Act",
    "Agent",
    "Ask",
    "Asset",
    "Bench",
    "BlastRadius",
    "Capability",
    "Case",
    "Channel",
    "Context",
    "Diagnose",
    "Escalate",
    "Happening",
    "Ignore",
    "Integration",
    "NewObservation",
    "Observation",
    "Orchestrator",
    "Plan",
    "Playbook",
    "Record",
    "Repository",
    "Scope",
    "Sensed",
    "Severity",
    "Unfit",
    "Verdict",
    "Verification",
    "Wait",
    "Warehouse",
    "Watch",
]
