"""Alert rules, scrape configuration and routing, judged by Prometheus and Alertmanager themselves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from typer.testing import CliRunner

from dataswarm.cli import _assemble, app
from tests.deploy.places import DEPLOY

RULES = DEPLOY / "dataswarm.rules.yml"
TESTS = DEPLOY / "dataswarm.rules.test.yml"
ROUTES = DEPLOY / "alertmanager.yml"


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
    """`promtool test rules`: two replicas with the same rows, and each alert when it should and when it should not."""
    judged(tool("promtool"), "test", "rules", TESTS)


def test_every_alert_has_a_test_that_fires_it() -> None:
    """And each says what is the matter, with a severity that is known."""
    fired: set[str] = set()
    for test in read(TESTS)["tests"]:
        fired |= {case["alertname"] for case in test.get("alert_rule_test", ()) if case["exp_alerts"]}
        for case in test.get("promql_expr_test", ()):
            fired |= {name for s in case["exp_samples"] for name in re.findall(r'alertname="(\w+)"', s["labels"])}
    assert set(alerts()) == fired
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in ("page", "team", "none"), name
        assert alert["annotations"]["summary"], name


def test_what_matters_most_has_an_alert() -> None:
    """Nothing there, bus lag, an agent down, an escalation, the cost of the model, the ratio, the kill switch."""
    watched = " ".join(alert["expr"] for alert in alerts().values())
    assert "absent(" in watched
    assert alerts()["DataswarmWatchdog"]["expr"] == "vector(1)"
    for metric in ("bus_lag_events", "agent_up", "escalations_pending", "model_cost", "auto_resolution", "kill_switch"):
        assert f"dataswarm_{metric}" in watched or metric in watched, metric


def test_prometheus_takes_its_configuration(
    tmp_path: Path, tool: Callable[[str], str], judged: Callable[..., str]
) -> None:
    """`promtool check config`, with the token where compose mounts it, and the rules beside it."""
    token = tmp_path / "token"
    token.write_text("t")
    shutil.copy(RULES, tmp_path)
    config = tmp_path / "prometheus.yml"
    text = (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")
    config.write_text(re.sub(r"/run/secrets/\w+", str(token), text))
    assert "rules found" in judged(tool("promtool"), "check", "config", config)


def test_alertmanager_takes_its_configuration(tool: Callable[[str], str], judged: Callable[..., str]) -> None:
    """`amtool check-config`; what it matches are alerts and severities that exist."""
    judged(tool("amtool"), "check-config", ROUTES)
    text = ROUTES.read_text(encoding="utf-8")
    assert set(re.findall(r"Dataswarm[A-Z]\w+", text)) <= set(alerts())
    severities = {alert["labels"]["severity"] for alert in alerts().values()}
    assert set(re.findall(r'severity = "(\w+)"', text)) <= severities


def test_what_an_alert_tells_to_run_can_be_run() -> None:
    """Each command in the words of an alert exists, with the options it is given."""
    _assemble()
    told = re.findall(r"`dataswarm ([^`]+)`", RULES.read_text(encoding="utf-8"))
    assert told
    for line in told:
        words = line.split()
        names = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word) and f"--state {word}" not in line]
        help_ = CliRunner().invoke(app, [*_command(names), "--help"])
        assert help_.exit_code == 0, f"{line}: {help_.output}"
        assert all(word in help_.output for word in words if word.startswith("--")), line


def _command(names: list[str]) -> list[str]:
    """The words that name a command; what follows are its arguments."""
    groups = {group.name for group in app.registered_groups}
    return names[:2] if names[0] in groups else names[:1]
