"""The compose file and the unit: parts fit one another, and secrets go only where they are needed."""

from __future__ import annotations

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
from tests.deploy.places import DEPLOY

REFERENCE = re.compile(r"\$\{(\w+)")


def read(name: str) -> Any:
    """A YAML file of `deploy/`, anchors and merges resolved."""
    return YAML(typ="safe").load((DEPLOY / name).read_text(encoding="utf-8"))


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """The secrets as `secrets.sh` makes them, in a copy of the directory."""
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    return made(tmp_path)


def made(directory: Path) -> dict[str, str]:
    """Run `secrets.sh` there and read what it wrote."""
    subprocess.run(["sh", str(directory / "secrets.sh")], check=True, capture_output=True)
    file = directory / ".env"
    assert file.stat().st_mode & 0o777 == 0o600
    return dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())


def environment(service: str, secrets: dict[str, str]) -> dict[str, str]:
    """What a service finds in its environment."""
    given: dict[str, Any] = read("compose.yaml")["services"][service]["environment"]
    filled = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")
    return {key: filled.sub(lambda m: secrets[m[1]], str(value)) for key, value in given.items()}


def test_every_secret_is_made_once_and_stands_in_no_file(secrets: dict[str, str], tmp_path: Path) -> None:
    """`secrets.sh` makes each secret that compose asks for, all different; a second run changes none of them."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert set(REFERENCE.findall(text)) == set(secrets)
    assert len(set(secrets.values())) == len(secrets)
    assert all(re.fullmatch(r"[0-9a-f]{32,}", value) for value in secrets.values())  # may stand in an address
    assert made(tmp_path) == secrets
    ignored = (DEPLOY / ".gitignore").read_text(encoding="utf-8").split()
    assert ".env" in ignored


def test_the_swarm_never_holds_the_owners_password(secrets: dict[str, str]) -> None:
    """Only the one-time migration and the database itself get it; the swarm logs in as the worker."""
    services = read("compose.yaml")["services"]
    holders = {
        name
        for name, service in services.items()
        if "environment" in service and secrets["OWNER_PASSWORD"] in str(environment(name, secrets))
    }
    assert holders == {"postgres", "migrate"}
    assert "//dataswarm_worker:" in environment("swarm", secrets)["DATASWARM_DATABASE__URL"]


@pytest.mark.parametrize("service", ["swarm", "migrate"])
def test_the_configuration_handed_to_the_swarm_is_valid(
    service: str, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`deploy/dataswarm.yaml` loads in the environment that compose makes: tokens, addresses, the door open."""
    for name, value in environment(service, secrets).items():
        monkeypatch.setenv(name, value)
    settings = load(DEPLOY / "dataswarm.yaml")
    assert settings.database.url is not None
    assert secrets["WORKER_PASSWORD"] in settings.database.url.get_secret_value()
    assert (settings.database.migrate_url is not None) is (service == "migrate")
    assert {token.role for token in settings.http.tokens} == {"viewer", "operator"}
    assert settings.http.host == "0.0.0.0"  # noqa: S104 - the container's network; compose publishes on loopback


def test_prometheus_comes_in_with_the_token_it_is_given(secrets: dict[str, str]) -> None:
    """The secret that compose mounts is the one its configuration reads, and the viewer's of the swarm."""
    compose, scraping = read("compose.yaml"), read("prometheus.yml")
    [mounted] = compose["services"]["prometheus"]["secrets"]
    variable = compose["secrets"][mounted]["environment"]
    assert variable in secrets
    job = next(j for j in scraping["scrape_configs"] if j["job_name"] == "dataswarm")
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{mounted}"
    viewer = next(t for t in read("dataswarm.yaml")["http"]["tokens"] if t["role"] == "viewer")
    assert viewer["token"] == f"${{{variable}}}"


def test_every_file_mounted_is_there() -> None:
    """No bind mount or build file is missing; every volume is declared, and the dashboard finds its data source."""
    compose = read("compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        if "build" in service:
            build = service["build"]
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    [provider] = read("grafana/provisioning/dashboards/dataswarm.yml")["providers"]
    targets = [v.split(":")[1] for v in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in targets


def test_two_replicas_drain_in_time_and_nothing_listens_beyond_this_machine() -> None:
    """Two of them, a stop longer than the drain, loopback ports, images with versions, no more rights than needed."""
    services = read("compose.yaml")["services"]
    swarm = services["swarm"]
    assert swarm["deploy"]["replicas"] == 2
    assert int(swarm["stop_grace_period"].rstrip("s")) > Settings().runtime.drain_seconds + 10
    assert swarm["cap_drop"] == ["ALL"]
    for name, service in services.items():
        assert not service.get("privileged"), name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
        image = service["image"]
        assert image == "dataswarm" or (":" in image and not image.endswith(":latest")), image


def test_the_database_makes_the_worker_before_anybody_asks() -> None:
    """The role the swarm logs in as is made by the database's first start, with nothing but a login."""
    [script] = (DEPLOY / "postgres").iterdir()
    text = script.read_text(encoding="utf-8")
    assert "CREATE ROLE dataswarm_worker LOGIN NOINHERIT NOSUPERUSER" in text
    assert "NOBYPASSRLS" in text
    assert script.stat().st_mode & 0o111


def test_the_unit_is_what_systemd_takes(tmp_path: Path, tool: Callable[[str], str], judged: Callable[..., str]) -> None:
    """It is read without complaint; it stops later than it drains and does not restart what is misconfigured."""
    text = (DEPLOY / "dataswarm.service").read_text(encoding="utf-8")
    assert int(re.findall(r"TimeoutStopSec=(\d+)", text)[0]) > Settings().runtime.drain_seconds + 10
    assert "RestartPreventExitStatus=2" in text
    unit = tmp_path / "dataswarm.service"
    here = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text)
    unit.write_text(re.sub(r"(?m)^(User|Group)=.*\n", "", here), encoding="utf-8")
    words = judged(tool("systemd-analyze"), "verify", "--man=no", unit)
    assert "dataswarm.service:" not in words, words
