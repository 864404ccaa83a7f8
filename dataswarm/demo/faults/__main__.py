"""`python -m dataswarm.demo.faults --world DIR --fault NAME --seed N`: break a demo world and say what was done."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from config.errors import UsageError
from dataswarm.demo.faults.catalogue import BOTH_WAYS, CATALOGUE
from dataswarm.demo.faults.saboteur import inject
from dataswarm.demo.world import World


def main() -> int:
    """Inject one fault; prints one line of JSON. Returns 2 for a request that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m dataswarm.demo.faults")
    parser.add_argument("--world", type=Path, required=True, help="directory of the demo world")
    parser.add_argument("--fault", required=True, choices=sorted(CATALOGUE))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", choices=BOTH_WAYS)
    parser.add_argument("--poison", action="store_true", help="leave a column comment that reads like an instruction")
    chosen = parser.parse_args()
    try:
        injected = inject(World.open(chosen.world), chosen.fault, chosen.seed, chosen.way, poison=chosen.poison)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(asdict(injected)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
