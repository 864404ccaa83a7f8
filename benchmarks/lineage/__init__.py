"""Column lineage: how fast and how exact, against plain `sqlglot.lineage` and `sqllineage`."""

from benchmarks.lineage.running import add_options, run

__all__ = ["add_options", "run"]
