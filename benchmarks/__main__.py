"""`python -m benchmarks NAME …`: one program, its benchmarks by name, each with options of its own."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib import import_module

from config.errors import SwarmError, UsageError

# Name → what it answers. Each is a package or module `benchmarks.<name>` with `add_options(parser)` and
# `run(options) -> exit status`; it is imported when its name is given, so that `--help` needs nothing installed.
BENCHMARKS = {
    "coordination": "tasks, bus and leases against procrastinate, pgqueuer, dbos and graphile-worker",
    "drift": "reading and comparing structure against Alembic and a loop over SQLAlchemy's Inspector",
    "lineage": "column lineage against sqlglot.lineage and sqllineage",
    "memory": "recall, facts and writes against LangGraph's PostgresStore and mem0's pgvector store",
    "retrieval": "how well recall finds what is relevant, for any labelled set",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; its exit status, 2 for a mistake in what was asked."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:14}{about}" for name, about in BENCHMARKS.items()),
    )
    parser.add_argument("name", choices=BENCHMARKS, help="which benchmark; NAME --help shows its options")
    chosen = parser.parse_args(given[:1])
    module = import_module(f"benchmarks.{chosen.name}")
    own = argparse.ArgumentParser(prog=f"python -m benchmarks {chosen.name}", description=BENCHMARKS[chosen.name])
    module.add_options(own)
    try:
        return int(module.run(own.parse_args(given[1:])))
    except SwarmError as error:
        print(f"{error.message}" + (f"\n  → {error.hint}" if error.hint else ""), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):  # what was started is stopped by then
        return 130


if __name__ == "__main__":
    sys.exit(main())
