"""Retrieval quality on labelled sets: words alone, with vectors, and while vectors are still being filled in."""

from benchmarks.retrieval.running import add_options, run

__all__ = ["add_options", "run"]
