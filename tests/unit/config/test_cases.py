"""Good and bad configuration files as data: `cases/wrong_*.yaml` say beside each line what is reported about it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from config.errors import ConfigError
from config.settings import Autonomy, Catalogue, OptionsOf, dump, load

CASES = Path(__file__).parent / "cases"


class Nothing(BaseModel):
    """Options of what has none."""

    model_config = ConfigDict(extra="forbid")


class Warehouse(BaseModel):
    """Options as a warehouse may have them."""

    model_config = ConfigDict(extra="forbid")
    url: str
    actor_url: str | None = None
    connections: int = 3
    statement_timeout: float = 30
    manifest_file: str | None = None
    env: dict[str, str] = {}


class Hook(BaseModel):
    """Options as a channel may have them."""

    model_config = ConfigDict(extra="forbid")
    url: str
    secret: str | None = None
    method: Literal["post", "put"] = "post"


class Health(BaseModel):
    """Options as an agent may have them."""

    model_config = ConfigDict(extra="forbid")
    quarantine: bool = False
    patience: int = 1


CATALOGUE = Catalogue(
    agents={"schema-drift": OptionsOf(Nothing), "pipeline-health": OptionsOf(Health)},
    integrations={"postgres": OptionsOf(Warehouse), "webhook": OptionsOf(Hook)},
    playbooks={"quarantine-rows": OptionsOf(Nothing)},
)


def expectations(file: Path) -> list[tuple[int, str, str]]:
    """(line, start of the message, suggestion) for each `#!` in a file."""
    found = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if "#!" in line:
            message, _, suggestion = line.split("#!")[1].partition(" -> ")
            found.append((number, message.strip(), suggestion.strip()))
    return found


@pytest.mark.parametrize("file", sorted(CASES.glob("wrong_*.yaml")), ids=lambda file: file.stem)
def test_everything_wrong_is_reported_with_its_line(file: Path) -> None:
    """All problems of a file come at once, each with file, line and what was meant, and none beside them."""
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=CATALOGUE, environ={})
    left = list(caught.value.problems)
    for line, message, suggestion in expectations(file):
        fitting = [p for p in left if p.where == f"{file}:{line}" and p.message.startswith(message)]
        assert fitting, f"line {line}: {message!r} is not among\n" + "\n".join(map(str, caught.value.problems))
        assert fitting[0].suggestion == suggestion
        left.remove(fitting[0])
    assert not left, "\n".join(map(str, left))
    assert "hunter2" not in str(caught.value)


def test_a_good_file_means_what_it_says() -> None:
    """Interpolation, anchors, flat options, other notations of numbers and commented-out parts are understood."""
    environ = {"MEMORY_URL": "postgresql://swarm:hunter2@db/memory", "EMPTY": ""}
    settings = load(CASES / "good_everything.yaml", catalogue=CATALOGUE, environ=environ)
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == environ["MEMORY_URL"]
    assert settings.database.directory == Path("state/swarm")
    assert (settings.runtime.workers, settings.runtime.environment) == (16, "staging")
    assert settings.logging.level == "warning"
    assert settings.policy.autonomy is Autonomy.PROPOSE
    assert settings.policy.assets[0].tier == 0
    assert not settings.agents["pipeline-health"].enabled
    assert settings.agents["schema-drift"].enabled
    assert settings.playbooks["quarantine-rows"].enabled  # installed and not named: on
    assert settings.sources["shop"].options == {"url": "postgresql://reader@db/shop", "connections": 2}
    assert settings.sources["copy"].options == settings.sources["shop"].options
    assert (settings.sources["copy"].enabled, settings.sources["shop"].enabled) == (False, True)
    assert settings.channels["on-call"].options["url"] == "https://hook.example/${x}"
    assert settings.channels["on-call"].on == ("escalation",)
    assert "hunter2" not in dump(settings) + repr(settings)


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n", "null\n", "agents:\nsources:\npolicy:\n"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    """A file whose every part is empty or commented out changes nothing."""
    file = tmp_path / "dataswarm.yaml"
    file.write_text(text)
    assert load(file, environ={}) == load(None, environ={"DATASWARM_CONFIG": str(file)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"policy: \xff", "is not UTF-8 text"),
        (b"policy:\n  autonomy: \x01", "not valid YAML: a control character"),
        (b"a: " + b"[" * 700 + b"]" * 700, "not valid YAML"),
        (
            b"a: &a [x, x, x, x, x, x, x, x, x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 9)) for i in range(8)),
            "an anchor refers to itself",
        ),
    ],
    ids=["bytes", "control", "deep", "bomb"],
)
def test_hostile_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Bytes that are no text, nesting without end and anchors that multiply end in a problem, not a crash."""
    file = tmp_path / "dataswarm.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert Counter(p.message.startswith(message) for p in caught.value.problems)[True] >= 1


def test_a_missing_file_is_a_problem_of_who_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was asked for and is not there is an error; one that nobody asked for is not."""
    missing = tmp_path / "none.yaml"
    for path, environ, where in (
        (missing, {}, str(missing)),
        (None, {"DATASWARM_CONFIG": str(missing)}, "DATASWARM_CONFIG"),
        (tmp_path, {}, str(tmp_path)),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, environ=environ)
        assert [p.where for p in caught.value.problems] == [where]
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).policy.autonomy is Autonomy.OBSERVE
    (tmp_path / "dataswarm.yaml").write_text("policy: {autonomy: actt}")
    with pytest.raises(ConfigError) as caught:
        load(environ={})
    assert [p.where for p in caught.value.problems] == ["dataswarm.yaml:1"]


def test_a_validator_that_breaks_spoils_nothing_else(tmp_path: Path) -> None:
    """Somebody else's faulty check of options is one problem among the others."""

    def broken(options: object) -> list[tuple[tuple[str | int, ...], str]]:
        raise RuntimeError("hunter2")

    file = tmp_path / "dataswarm.yaml"
    file.write_text("sources:\n  a: {kind: odd}\nruntime: {workers: x}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=Catalogue(integrations={"odd": broken}), environ={})
    assert [p.where.rsplit(":", 1)[1] for p in caught.value.problems] == ["2", "3"]
    assert "hunter2" not in str(caught.value)
