"""Tasks, bus and leases: the product and its real peers, in turns, on one server."""

from benchmarks.coordination.running import add_options, run

__all__ = ["add_options", "run"]
