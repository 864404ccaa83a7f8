"""The demo's own configuration: a file anybody can read, in which its owner visibly opts in to acting."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from config.errors import SetupError
from dataswarm.demo.world import World

_FILE = """\
# The demo's own configuration. Everything here could stand in yours.
# What differs from the defaults is what the demo's owner opts in to, and a quicker pace.

runtime:
  demo: true            # says DEMO wherever it answers
  environment: demo
  poll_seconds: {poll:g}
  drain_seconds: 5

database:
  directory: {memory}

http:
  port: {port}

policy:
  autonomy: act         # the owner opts in; the default is observe
  soak_cycles: 1        # the default is 2 cycles and 10 minutes
  soak_minutes: 0
  assets:
    - pattern: "warehouse://shop/raw.*"
      autonomy: act     # moving rows of raw tables has to be opted in per asset
      owner: platform@shop.example
  budgets:
    rows_share: 0.02    # one day is about 1.2 % of a raw table

agents:
  schema-drift:
    every_seconds: {drift:g}
  pipeline-health:
    every_seconds: {health:g}
    options:
      patience_seconds: {patience:g}

playbooks:
  quarantine-rows:
    options:
      max_share: 0.02

sources:
  shop:
    kind: postgres
    url_file: {secrets}/reader_url
    actor_url_file: {secrets}/actor_url
    schemas: [raw, analytics]
  shop_dbt:
    kind: dbt
    warehouse: shop
    project_dir: {team}
    dbt_target: production
    scratch_target: scratch
    executable: {dbt}
    running_marker: {marker}
    wait_seconds: 60
    build_timeout_seconds: 120
    env:
      SHOP_HOST: {host}
      SHOP_USER: swarm_actor
      SHOP_PASSWORD: ${{SHOP_ACTOR_PASSWORD:-{password}}}   # this demo's alone; yours stays in the environment
      SHOP_APPLICATION: dataswarm/incident-response
      DBT_SEND_ANONYMOUS_USAGE_STATS: "false"
  shop_models:
    kind: git
    url: {origin}
"""


def write(
    world: World,
    *,
    directory: Path | None = None,
    port: int = 0,
    drift_seconds: float = 2.0,
    health_seconds: float = 1.0,
    patience_seconds: float = 12.0,
    poll_seconds: float = 5.0,
) -> Path:
    """Write `swarm/dataswarm.yaml` and its secret files into the world's directory; returns the file.

    Args:
        world: a running world.
        directory: where to write instead.
        port: of the HTTP door; 0 lets the system choose.
        drift_seconds: how often schema-drift looks.
        health_seconds: how often pipeline-health looks.
        patience_seconds: how long health waits for an explanation before it gives up on rules.
        poll_seconds: how often an idle process looks by itself.

    Raises:
        SetupError: dbt is not installed.
    """
    home = directory or world.directory / "swarm"
    kept = home / "secrets"
    kept.mkdir(parents=True, exist_ok=True)
    for name, value in (
        ("reader_url", world.url("swarm_reader")),
        ("actor_url", world.url("swarm_actor")),
    ):
        (kept / name).touch(mode=0o600)
        (kept / name).write_text(value, encoding="utf-8")
    file = home / "dataswarm.yaml"
    file.touch(mode=0o600)
    file.write_text(
        _FILE.format(
            password=world.passwords["swarm_actor"],
            memory=home / "memory",
            port=port,
            drift=drift_seconds,
            health=health_seconds,
            patience=patience_seconds,
            poll=poll_seconds,
            secrets=kept,
            team=world.team_checkout,
            dbt=dbt_executable(),
            marker=world.running_marker,
            host=world.host,
            origin=world.origin,
        ),
        encoding="utf-8",
    )
    return file


def dbt_executable() -> str:
    """The dbt beside this Python, else the one on the path. SetupError where there is none."""
    beside = Path(sys.executable).with_name("dbt")
    found = str(beside) if beside.exists() else shutil.which("dbt")
    if found is None:
        raise SetupError("dbt is not installed", hint="pip install 'dataswarm[demo]'")
    return found
