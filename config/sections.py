"""The parts of the configuration that say how the swarm itself runs: database, process, door, log, models, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from config.section import Section

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Days = Annotated[int, Field(ge=1)]
KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=100)]


class DatabaseSettings(Section):
    """Where the swarm remembers. Without a `url` it runs a PostgreSQL server of its own inside `directory`.

    Attributes:
        url: address of the database as the working role.
        listen_url: address for LISTEN, where `url` leads through a pooler that cannot; default `url`.
        migrate_url: address as the owner of the schema, used by migrations; default `url`.
        directory: embedded data and clones; relative to where the process was started.
        pool_size: connections a process may hold, besides two of its own for listening and leases.
        statement_timeout_seconds: the longest a statement may take.
        prepare: False behind a pooler that loses prepared statements.
    """

    url: SecretStr | None = None
    listen_url: SecretStr | None = None
    migrate_url: SecretStr | None = None
    directory: Path = Path(".dataswarm")
    pool_size: Count = 6
    statement_timeout_seconds: Positive = 30.0
    prepare: bool = True

    @field_validator("url", "listen_url", "migrate_url")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        # The address is left out of every message: it holds a password.
        text = value.get_secret_value().strip() if value is not None else "postgresql://"
        scheme, found, _ = text.partition("://")
        if found and scheme not in ("postgresql", "postgres"):
            raise ValueError("should start with postgresql:// (no +driver, no other database)")
        if not found and "=" not in text:
            raise ValueError("should be an address such as postgresql://user:password@host:5432/name")
        return value


class RuntimeSettings(Section):
    """How a process works.

    Attributes:
        environment: what this stack is called; asset rules and sources may name it.
        workers: tasks worked on at the same time in one process.
        lease_seconds: how long a task is held without a sign of life before another worker takes it over.
        agent_lease_seconds: the same for an agent.
        poll_seconds: how often an idle process looks by itself, should every hint be lost.
        drain_seconds: how long a stopping process may finish what it began before it hands the rest back.
        heartbeat_url: an outbound dead man's switch, called while all is well.
        heartbeat_seconds: how often it is called.
        restart_when_hung: end the process when its event loop stands still, so that its supervisor starts it anew.
        demo: says so wherever the process answers.
    """

    environment: Annotated[str, Field(min_length=1)] = "production"
    workers: Annotated[int, Field(ge=1, le=256)] = 4
    lease_seconds: Positive = 15.0
    agent_lease_seconds: Positive = 15.0
    poll_seconds: Positive = 5.0
    drain_seconds: Annotated[float, Field(ge=0)] = 20.0
    heartbeat_url: SecretStr | None = None
    heartbeat_seconds: Positive = 60.0
    restart_when_hung: bool = True
    demo: bool = False


class TokenSettings(Section):
    """Who may come in over HTTP: a name for the log, the token itself, and what it allows."""

    name: Annotated[str, Field(min_length=1)]
    token: SecretStr = Field(min_length=1)
    role: Literal["viewer", "operator"] = "viewer"


class PullRequestSettings(Section):
    """Merged pull requests that announce changes: `POST /hooks/pull-request`. Without a secret none is believed.

    Attributes:
        secret: the webhook's secret at GitHub, the secret token at GitLab.
        label: only requests that bear it announce anything.
        hours: how long what they name is expected after the merge.
    """

    secret: SecretStr | None = None
    label: Annotated[str, Field(min_length=1)] = "schema-change"
    hours: Annotated[float, Field(gt=0, le=168)] = 24.0


class HttpSettings(Section):
    """The door for console, API and metrics. Without tokens only requests from the machine itself are served."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8321
    tokens: tuple[TokenSettings, ...] = ()
    pull_requests: PullRequestSettings = PullRequestSettings()

    @field_validator("tokens")
    @classmethod
    def _told_apart(cls, value: tuple[TokenSettings, ...]) -> tuple[TokenSettings, ...]:
        names = [token.name for token in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two tokens are called {twice[0]!r}")
        return value


class LoggingSettings(Section):
    """How the log reads: `auto` is console on a terminal and JSON otherwise."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("format", "level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class ModelSettings(Section):
    """The language model that makes reasoning better; without a `name` there is none and nothing needs one.

    Attributes:
        name: provider and model, as `openai-chat:gpt-x`.
        base_url: any OpenAI-compatible address.
        api_key: the provider's key.
        max_requests: calls in one piece of reasoning.
        max_tokens: tokens in one piece of reasoning, in both directions.
        cost_limit_dollars: what one piece of reasoning may cost.
        timeout_seconds: the longest a call may take.
    """

    name: str | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    max_requests: Count = 8
    max_tokens: Count = 50_000
    cost_limit_dollars: Annotated[float, Field(ge=0)] = 0.5
    timeout_seconds: Positive = 60.0


class EmbeddingSettings(Section):
    """The model that turns text into vectors; without a `name` recall goes by words alone, and is of full use.

    Attributes:
        name: provider and model, as `openai:text-embedding-3-small` or `sentence-transformers:all-MiniLM-L6-v2`.
        base_url: any OpenAI-compatible address.
        api_key: the provider's key.
        dimensions: asked of the provider; its own choice by default.
        batch: texts in one call.
        timeout_seconds: the longest a call may take.
    """

    name: str | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    dimensions: Annotated[int, Field(ge=1, le=16_000)] | None = None
    batch: Annotated[int, Field(ge=1, le=2048)] = 64
    timeout_seconds: Positive = 60.0


class KeySettings(Section):
    """One key that wraps the data keys of confidential values: 32 bytes in base64, given or printed by a command."""

    name: KeyName
    secret: SecretStr | None = None
    command: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> KeySettings:
        if (self.secret is None) == (not self.command):
            raise ValueError("a key needs either a secret (or secret_file) or a command, and not both")
        return self


class MemorySettings(Section):
    """What is kept for whom.

    Attributes:
        shared_importance: observations of less importance stay with the agent that made them.
        cache_seconds: the longest a fact read from this process's cache may be out of date.
        files: folders of markdown searched together with the database.
        sealing_key: which of `keys` wraps what is written now; the others open what was written before.
        keys: all keys by name. Without any the embedded database makes one of its own beside its data; with a `url`
            nothing confidential is written.
    """

    shared_importance: Annotated[float, Field(ge=0, le=1)] = 0.2
    cache_seconds: Positive = 30.0
    files: tuple[Path, ...] = ()
    sealing_key: KeyName | None = None
    keys: tuple[KeySettings, ...] = ()

    @model_validator(mode="after")
    def _known_key(self) -> MemorySettings:
        names = [key.name for key in self.keys]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two keys are called {twice[0]!r}")
        if (self.keys or self.sealing_key is not None) and self.sealing_key not in names:
            raise ValueError("sealing_key should name one of keys")
        return self


class RetentionSettings(Section):
    """How many days each kind of row is kept; whole days are dropped at once."""

    events_days: Days = 14
    observations_days: Days = 90
    history_days: Days = 30
    access_days: Days = 30
