"""Real faults for a real warehouse: the catalogue, and the process that injects them."""

from dataswarm.demo.faults.catalogue import CATALOGUE, Fault, Way
from dataswarm.demo.faults.saboteur import Injected, inject

__all__ = ["CATALOGUE", "Fault", "Injected", "Way", "inject"]
