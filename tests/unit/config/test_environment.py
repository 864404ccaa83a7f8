"""Variables and secret files: where they point, what they override, what is said of those that point nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from config.errors import ConfigError
from config.settings import Catalogue, OptionsOf, Settings, dump, load

SECRET = "hunter2-and-more"


class Options(BaseModel):
    """Options of everything installed here."""

    model_config = ConfigDict(extra="forbid")
    url: SecretStr | None = None
    manifest_file: str | None = None
    stale_after: float = 1
    schemas: tuple[str, ...] = ()
    env: dict[str, SecretStr] = {}


CATALOGUE = Catalogue(
    agents={"schema-drift": OptionsOf(Options), "pipeline-health": OptionsOf(Options)},
    integrations={"postgres": OptionsOf(Options), "webhook": OptionsOf(Options)},
    playbooks={"quarantine-rows": OptionsOf(Options)},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a source, two channels whose names are hard to tell apart, and a value to override."""
    path = tmp_path / "dataswarm.yaml"
    path.write_text(
        "runtime: {workers: 2}\n"
        "sources:\n  my-shop: {kind: postgres, url: from-file}\n"
        "channels:\n  on-call: {kind: webhook, url: a}\n  on_call: {kind: webhook, url: b}\n"
    )
    return path


def problems(file: Path | None, environ: dict[str, str]) -> list[tuple[str, str, str]]:
    """What is reported of a file and an environment."""
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=CATALOGUE, environ=environ)
    assert SECRET not in str(caught.value)
    return [(p.where, p.message, p.suggestion) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("name", "value", "read", "expected"),
    [
        ("DATASWARM_RUNTIME__WORKERS", "7", lambda s: s.runtime.workers, 7),
        ("dataswarm_runtime__workers", "7", lambda s: s.runtime.workers, 7),
        ("DATASWARM_RUNTIME__WORKERS", "", lambda s: s.runtime.workers, 2),
        ("DATASWARM_RUNTIME__DEMO", "true", lambda s: s.runtime.demo, True),
        ("DATASWARM_DATABASE__URL", f"postgresql://u:{SECRET}@h/d", lambda s: s.database.url is None, False),
        ("DATASWARM_POLICY__BUDGETS__ROWS_SHARE", "0.5", lambda s: s.policy.budgets.rows_share, 0.5),
        ("DATASWARM_POLICY__ASSETS", '[{"pattern": "*", "tier": 0}]', lambda s: s.policy.assets[0].tier, 0),
        ("DATASWARM_AGENTS__SCHEMA_DRIFT__ENABLED", "false", lambda s: s.agents["schema-drift"].enabled, False),
        ("DATASWARM_AGENTS__schema-drift__ENABLED", "false", lambda s: s.agents["schema-drift"].enabled, False),
        ("DATASWARM_AGENTS__SCHEMA_DRIFT__OPTIONS__STALE_AFTER", "3",
         lambda s: s.agents["schema-drift"].options, {"stale_after": "3"}),
        ("DATASWARM_SOURCES__MY_SHOP__URL", "other", lambda s: s.sources["my-shop"].options["url"], "other"),
        ("DATASWARM_SOURCES__MY_SHOP__OPTIONS__URL", "other", lambda s: s.sources["my-shop"].options["url"], "other"),
        ("DATASWARM_SOURCES__MY_SHOP__SCHEMAS", '["raw"]', lambda s: s.sources["my-shop"].options["schemas"], ["raw"]),
        ("DATASWARM_SOURCES__MY_SHOP__ENV__HOME", "x", lambda s: s.sources["my-shop"].options["env"], {"home": "x"}),
        ("DATASWARM_SOURCES__MY_SHOP__MANIFEST_FILE", "m",
         lambda s: s.sources["my-shop"].options["manifest_file"], "m"),
        ("DATASWARM_SOURCES__NEW__KIND", "postgres", lambda s: s.sources["new"].kind, "postgres"),
        ("DATASWARM_CHANNELS__ON_CALL__ON", "approval, info", lambda s: s.channels["on_call"].on, ("approval", "info")),
        ("DATASWARM_HTTP__TOKENS", '[{"name": "a", "token": "b"}]', lambda s: s.http.tokens[0].role, "viewer"),
    ],
)  # fmt: skip
def test_a_variable_reaches_its_key(file: Path, name: str, value: str, read: Any, expected: Any) -> None:
    """Any case, dashes where the dashed name is known, lists and mappings, flat options; the environment wins."""
    settings = load(file, catalogue=CATALOGUE, environ={name: value})
    assert read(settings) == expected
    assert SECRET not in dump(settings) + repr(settings)


@pytest.mark.parametrize(
    ("name", "message", "suggestion"),
    [
        ("DATASWARM_RUNTIME__WORKER", "unknown variable", "DATASWARM_RUNTIME__WORKERS"),
        ("DATASWARM_RUNTIM__WORKERS", "unknown variable", "DATASWARM_RUNTIME__WORKERS"),
        ("DATASWARM_DATABASE_URL", "unknown variable", "DATASWARM_DATABASE__URL"),
        ("DATASWARM_RUNTIME", "names a whole section, not a value: add __ and a key", ""),
        ("DATASWARM_AGENTS__SCHEMA_DRIFT", "names a whole section, not a value: add __ and a key", ""),
        ("DATASWARM_AGENTS__SCHEMA_DRFIT__ENABLED", "unknown variable: none of the agents is called so",
         "DATASWARM_AGENTS__SCHEMA_DRIFT__ENABLED"),
        ("DATASWARM_RUNTIME__WORKERS__MORE", "unknown variable: there is nothing inside this key", ""),
        ("DATASWARM_CHANNELS__ON-CALL_X__URL", "channels.on-call_x.kind: is missing", ""),
        ("DATASWARM_SOURCES__MY_SHOP__URLL", "sources.my-shop.urll: unknown option", "url"),
        ("DATASWARM_RUNTIME__POLL_SECONDS", "runtime.poll_seconds: should be a number", ""),
        ("DATASWARM_DATABASE__URL", "database.url: should be an address such as", ""),
        ("DATASWARM_DATABASE__URL_FILE", "database.url_file: there is no such file", ""),
        ("DATASWARM_POLICY__ASSETS", "policy.assets[0]: should be a mapping", ""),
        ("DATASWARM_ZZZ", "unknown variable", ""),
    ],
)  # fmt: skip
def test_a_variable_that_fits_nowhere_is_an_error(file: Path, name: str, message: str, suggestion: str) -> None:
    """It is named, with what was probably meant, and its value is not repeated."""
    value = f'["{SECRET}"]' if name.endswith("ASSETS") else SECRET
    found = problems(file, {name: value})
    assert [(w, s) for w, m, s in found if m.startswith(message)] == [(name, suggestion)], found


def test_two_names_that_differ_in_dashes_alone_are_not_guessed(file: Path) -> None:
    """`ON_CALL` is the name with the underscore where there is one, and a question where there are two dashed ones."""
    file.write_text("channels:\n  a-b_c: {kind: webhook}\n  a_b-c: {kind: webhook}\n")
    assert problems(file, {"DATASWARM_CHANNELS__A_B_C__URL": "x"}) == [
        ("DATASWARM_CHANNELS__A_B_C__URL", "may mean a-b_c or a_b-c: set it in the file", "")
    ]


def test_reserved_and_referenced_variables_are_no_errors(file: Path) -> None:
    """Our own switches, and whatever the file itself refers to with our prefix, comments and broken YAML included."""
    file.write_text("model: {name: '${DATASWARM_MY_MODEL}'}\n# ${DATASWARM_LATER}\n")
    environ = {"DATASWARM_CONFIG": "unused", "DATASWARM_MY_MODEL": "openai-chat:gpt-x", "DATASWARM_LATER": "x"}
    assert load(file, environ=environ).model.name == "openai-chat:gpt-x"
    file.write_text("model: {name: '${DATASWARM_MY_MODEL}'\n")
    assert [w for w, _, _ in problems(file, {"DATASWARM_MY_MODEL": "x"})] == [f"{file}:2"]


def test_environment_beats_secret_files_beat_the_file(tmp_path: Path, file: Path) -> None:
    """Each layer is peeled off in turn."""
    (tmp_path / "in-yaml").write_text("postgresql://from-url-file/d\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "database__url").write_text("postgresql://from-directory/d\n")
    (secrets / "sources__my_shop__url").write_text("from-directory")
    (secrets / "unrelated").write_text("somebody else's")
    (secrets / "..data").mkdir()
    file.write_text(
        "database: {url: 'postgresql://from-yaml/d', url_file: in-yaml}\n"
        "sources: {my-shop: {kind: postgres, url: from-yaml}}\n"
        "http: {tokens: [{name: a, token_file: in-yaml}]}\n"
    )
    (tmp_path / "in-env").write_text("postgresql://from-env-file/d")
    environ = {
        "DATASWARM_SECRETS_DIR": str(secrets),
        "DATASWARM_DATABASE__URL_FILE": str(tmp_path / "in-env"),
        "DATASWARM_DATABASE__URL": "postgresql://from-env/d",
    }

    def url() -> str:
        settings = load(file, catalogue=CATALOGUE, environ=environ)
        assert settings.database.url is not None
        assert settings.http.tokens[0].token.get_secret_value() == "postgresql://from-url-file/d"
        return settings.database.url.get_secret_value()

    assert url() == "postgresql://from-env/d"
    del environ["DATASWARM_DATABASE__URL"]
    assert url() == "postgresql://from-env-file/d"
    del environ["DATASWARM_DATABASE__URL_FILE"]
    assert url() == "postgresql://from-directory/d"
    assert load(file, environ=environ).sources["my-shop"].options["url"] == "from-directory"
    del environ["DATASWARM_SECRETS_DIR"]
    assert url() == "postgresql://from-url-file/d"


def test_secret_files_that_cannot_be_used(tmp_path: Path, file: Path) -> None:
    """Missing, empty, no text, much too large, misnamed: each is a problem where it was named, without its content."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "database__ulr").write_text(SECRET)
    (secrets / "model__api_key").write_bytes(b"\xff" + SECRET.encode())
    (secrets / "runtime__heartbeat_url").write_text("\n")
    (secrets / "sources__my_shop__url").write_text(SECRET * 10_000)
    file.write_text("sources:\n  my-shop:\n    kind: postgres\n    url_file: [a]\ndatabase:\n  url_file: none\n")
    assert sorted(problems(file, {"DATASWARM_SECRETS_DIR": str(secrets)})) == sorted(
        [
            ("$DATASWARM_SECRETS_DIR/database__ulr", "unknown variable", "database__url"),
            ("$DATASWARM_SECRETS_DIR/model__api_key", "model__api_key: the file is not UTF-8 text", ""),
            ("$DATASWARM_SECRETS_DIR/runtime__heartbeat_url", "runtime__heartbeat_url: the file is empty", ""),
            (
                "$DATASWARM_SECRETS_DIR/sources__my_shop__url",
                "sources__my_shop__url: the file is larger than 64 KiB, which no secret is",
                "",
            ),
            (f"{file}:4", "sources.my-shop.url_file should be the path of a file", ""),
            (f"{file}:6", "database.url_file: there is no such file", ""),
        ]
    )
    assert problems(None, {"DATASWARM_SECRETS_DIR": str(tmp_path / "none")})[0][0] == "DATASWARM_SECRETS_DIR"


def test_a_secret_is_not_repeated_by_somebody_elses_validator(file: Path) -> None:
    """Whatever came from a variable or stands under a name that looks secret is struck from any message."""

    def tells(options: Any) -> list[tuple[tuple[str | int, ...], str]]:
        return [((), f"cannot use {options['header']} and {options['password']} and {options['url']}")]

    file.write_text(
        "sources:\n  a: {kind: odd, header: '${HEADER}', password: in-the-file, url: 'https://hooks.example/T0/B1'}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=Catalogue(integrations={"odd": tells}), environ={"HEADER": SECRET})
    text = str(caught.value)
    assert not any(word in text for word in (SECRET, "in-the-file", "T0/B1"))


def test_fingerprint_tells_settings_apart_but_not_secrets(file: Path) -> None:
    """Replicas compare fingerprints: another setting shows, another password does not."""
    first = load(file, environ={"DATASWARM_DATABASE__URL": "postgresql://u:one@h/d"})
    second = load(file, environ={"DATASWARM_DATABASE__URL": "postgresql://u:two@h/d"})
    third = load(file, environ={"DATASWARM_RUNTIME__WORKERS": "3"})
    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert first != second
    assert Settings().agent("anything").enabled
    assert Settings().playbook("anything").enabled
