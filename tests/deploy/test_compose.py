"""The compose file and the unit: parts fit one another, and secrets go only where they are needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from config.settings import Settings
from dataswarm.app import load
from tests.deploy.conftest import DEPLOY


def read(name: str) -> Any:
    """A YAML file of `deploy/`, anchors and merges resolved."""
    return YAML(typ="safe").load((DEPLOY / name).read_text(encoding="utf-8"))


def secrets_of(service: dict[str, Any]) -> set[str]:
    """The secrets a service is given."""
    return {s if isinstance(s, str) else s["source"] for s in service.get("secrets", ())}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The secrets as `secrets.sh` makes them."""
    subprocess.run(["sh", str(DEPLOY / "secrets.sh"), str(tmp_path / "secrets")], check=True, capture_output=True)
    return tmp_path / "secrets"


def test_every_secret_is_made_and_none_is_in_the_file(made: Path) -> None:
    """`secrets.sh` makes each declared secret, readable in containers, in a directory that is the owner's alone."""
    compose = read("compose.yaml")
    assert {Path(s["file"]).name for s in compose["secrets"].values()} == {f.name for f in made.iterdir()}
    assert made.stat().st_mode & 0o777 == 0o700
    assert all(f.stat().st_mode & 0o777 == 0o444 for f in made.iterdir())
    used = set().union(*(secrets_of(s) for s in compose["services"].values()))
    assert used == set(compose["secrets"])
    given = {key: value for s in compose["services"].values() for key, value in s.get("environment", {}).items()}
    assert all(str(value).startswith("/run/") for key, value in given.items() if "PASSWORD" in key or "TOKEN" in key)


def test_secrets_that_are_there_stay(made: Path) -> None:
    """A second run changes nothing: a running database would not know a new password."""
    before = {f.name: f.read_text() for f in made.iterdir()}
    subprocess.run(["sh", str(DEPLOY / "secrets.sh"), str(made)], check=True, capture_output=True)
    assert {f.name: f.read_text() for f in made.iterdir()} == before
    assert len(set(before.values())) == len(before)


def test_the_swarm_never_holds_the_owners_password() -> None:
    """Only the one-time migration and the database itself get it."""
    services = read("compose.yaml")["services"]
    owner = {"owner_password", "owner_url"}
    assert {name for name, s in services.items() if secrets_of(s) & owner} == {"postgres", "migrate"}


def test_the_configuration_handed_to_the_swarm_is_valid(made: Path, tmp_path: Path) -> None:
    """`deploy/dataswarm.yaml` loads with the secrets as they are mounted: tokens, the worker's address, no owner."""
    text = (DEPLOY / "dataswarm.yaml").read_text(encoding="utf-8")
    file = tmp_path / "dataswarm.yaml"
    file.write_text(text.replace("/run/secrets", str(made)), encoding="utf-8")
    settings = load(file)
    assert isinstance(settings, Settings)
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value().startswith("postgresql://dataswarm_worker:")
    assert settings.database.migrate_url is None
    assert {token.role for token in settings.http.tokens} == {"viewer", "operator"}
    mounted = set(re.findall(r"/run/secrets/(\w+)", re.sub(r"(?m)^ *#.*$", "", text)))
    for service in ("swarm", "migrate"):
        assert mounted <= secrets_of(read("compose.yaml")["services"][service])


def test_a_secret_file_gives_the_migration_the_owners_address(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target under which compose mounts it is the name the configuration looks for."""
    migrate = read("compose.yaml")["services"]["migrate"]
    [target] = [Path(s["target"]) for s in migrate["secrets"] if isinstance(s, dict)]
    assert str(target.parent) == migrate["environment"]["DATASWARM_SECRETS_DIR"]
    directory = tmp_path / "owner"
    directory.mkdir()
    shutil.copy(made / "owner_url", directory / target.name)
    monkeypatch.setenv("DATASWARM_SECRETS_DIR", str(directory))
    file = tmp_path / "empty.yaml"
    file.write_text("logging: {format: json}\n")
    address = load(file).database.migrate_url
    assert address is not None
    assert "dataswarm_admin" in address.get_secret_value()


def test_every_file_mounted_is_there() -> None:
    """No bind mount, configuration or build file is missing."""
    compose = read("compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert all((DEPLOY / config["file"]).is_file() for config in compose["configs"].values())


def test_two_replicas_drain_in_time_and_nothing_listens_beyond_this_machine() -> None:
    """Two of them, a stop longer than the drain, loopback ports, images with versions, no more rights than needed."""
    services = read("compose.yaml")["services"]
    swarm = services["swarm"]
    assert swarm["deploy"]["replicas"] == 2
    assert int(swarm["stop_grace_period"].rstrip("s")) > Settings().runtime.drain_seconds + 10
    assert swarm["cap_drop"] == ["ALL"]
    assert "privileged" not in json.dumps({n: s for n, s in services.items() if n != "swarm"})
    for name, service in services.items():
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
        image = service["image"]
        assert image == "dataswarm" or (":" in image and not image.endswith(":latest")), image


def test_the_database_makes_the_worker_before_anybody_asks(made: Path) -> None:
    """The role the swarm logs in as is the one the database's first start makes, with the password it was given."""
    script = (DEPLOY / "postgres" / "10-worker.sh").read_text(encoding="utf-8")
    assert "CREATE ROLE dataswarm_worker LOGIN NOINHERIT NOSUPERUSER" in script
    assert "NOBYPASSRLS" in script
    password = (made / "worker_password").read_text().strip()
    assert f"dataswarm_worker:{password}@" in (made / "worker_url").read_text()


def test_the_unit_is_what_systemd_takes(tmp_path: Path, tool: Callable[[str], str], judged: Callable[..., str]) -> None:
    """The unit is read without complaint; it stops later than it drains and does not restart what is misconfigured."""
    text = (DEPLOY / "dataswarm.service").read_text(encoding="utf-8")
    drain = Settings().runtime.drain_seconds
    assert int(re.findall(r"TimeoutStopSec=(\d+)", text)[0]) > drain + 10
    assert "RestartPreventExitStatus=2" in text
    unit = tmp_path / "dataswarm.service"
    here = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text)
    unit.write_text(re.sub(r"(?m)^(User|Group)=.*\n", "", here), encoding="utf-8")
    words = judged(tool("systemd-analyze"), "verify", "--man=no", unit)
    assert "dataswarm.service:" not in words, words
