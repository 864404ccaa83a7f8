"""Alert rules, scrape configuration and routing, judged by Prometheus and Alertmanager themselves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.deploy.conftest import DEPLOY

RULES = DEPLOY / "prometheus" / "dataswarm.rules.yml"
TESTS = sorted((DEPLOY / "prometheus").glob("*.test.yml"))


def read(path: Path) -> Any:
    """A YAML file."""
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by name."""
    return {r["alert"]: r for group in read(RULES)["groups"] for r in group["rules"] if "alert" in r}


def test_the_rules_are_rules(tool: Callable[[str], str], judged: Callable[..., str]) -> None:
    """`promtool check rules` finds nothing to complain about."""
    judged(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_the_rules_fire_when_they_must_and_only_then(tool: Callable[[str], str], judged: Callable[..., str]) -> None:
    """`promtool test rules`: two replicas with the same rows, each alert with its labels and words."""
    judged(tool("promtool"), "test", "rules", *TESTS)


def test_every_alert_has_a_test_that_fires_it() -> None:
    """And each says what to do, in words and with a severity that a route knows."""
    fired = {
        case["alertname"]
        for file in TESTS
        for test in read(file)["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert set(alerts()) == fired
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in ("critical", "warning", "none"), name
        assert alert["annotations"]["summary"], name
        assert name == "DataswarmWatchdog" or alert["annotations"]["action"], name


def test_silence_is_noticed() -> None:
    """There is an alert for nothing being there, and one that always fires."""
    assert "absent(" in alerts()["DataswarmAbsent"]["expr"]
    assert alerts()["DataswarmWatchdog"]["expr"] == "vector(1)"


def test_prometheus_takes_its_configuration(
    tmp_path: Path, tool: Callable[[str], str], judged: Callable[..., str]
) -> None:
    """`promtool check config`, with the token where compose mounts it, and the rules beside it."""
    token = tmp_path / "viewer_token"
    token.write_text("t")
    shutil.copy(RULES, tmp_path)
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert "/run/secrets/viewer_token" in text
    config = tmp_path / "prometheus.yml"
    config.write_text(text.replace("/run/secrets/viewer_token", str(token)))
    words = judged(tool("promtool"), "check", "config", config)
    assert "rules found" in words


def test_alertmanager_takes_its_configuration(tool: Callable[[str], str], judged: Callable[..., str]) -> None:
    """`amtool check-config`; what it matches are alerts that exist."""
    file = DEPLOY / "alertmanager" / "alertmanager.yml"
    judged(tool("amtool"), "check-config", file)
    named = set(re.findall(r"Dataswarm[A-Z]\w+", file.read_text(encoding="utf-8")))
    assert named <= set(alerts())
