"""dataswarm: a swarm of agents that watches a data stack and fixes what breaks, with proof.

What third parties import stands here and is light: agents, playbooks, integrations, and the words they share. Each
name is imported when it is first asked for: the command line must be able to see first whether the packages
`agents`, `config`, `integrations` and `memory` are ours (`dataswarm.guard`), and `--help` needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.base import Agent, Capability, Scope, Watch
    from agents.context import Context, Happening
    from agents.playbook import Bench, BlastRadius, Case, Plan, Playbook, Unfit, Verification
    from agents.verdicts import Act, Ask, Diagnose, Escalate, Ignore, Record, Sensed, Verdict, Wait
    from config.assets import Asset
    from integrations.base import Channel, Integration, Orchestrator, Repository, Warehouse
    from memory.records import NewObservation, Observation, Severity

__version__ = "0.1.0.dev0"

_HOMES = {
    "agents.base": ("Agent", "Capability", "Scope", "Watch"),
    "agents.context": ("Context", "Happening"),
    "agents.playbook": ("Bench", "BlastRadius", "Case", "Plan", "Playbook", "Unfit", "Verification"),
    "agents.verdicts": ("Act", "Ask", "Diagnose", "Escalate", "Ignore", "Record", "Sensed", "Verdict", "Wait"),
    "config.assets": ("Asset",),
    "integrations.base": ("Channel", "Integration", "Orchestrator", "Repository", "Warehouse"),
    "memory.records": ("NewObservation", "Observation", "Severity"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

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


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for; AttributeError for any other."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(home), name)
    globals()[name] = found
    return found
