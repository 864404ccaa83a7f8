"""Memory: search, filtered search, reads and writes, against LangGraph's PostgresStore and mem0's pgvector store.

The rest is imported when it is needed: peers import this package in environments that have nothing of ours.
"""

from __future__ import annotations

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    from benchmarks.memory import running  # noqa: PLC0415 - see above

    running.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, print, keep and draw; 0."""
    from benchmarks.memory import running  # noqa: PLC0415 - see above

    return running.run(options)
