"""Writing a configuration for somebody's own stack out of a few answers, and the grants it needs.

Secrets are never written: the file refers to environment variables by name.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML

from config.errors import UsageError
from config.grants import Grants
from config.policy import Autonomy

__all__ = ["Answers", "ChannelAnswer", "compose", "grants", "variables"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """A way to a human: its name here, the integration, and variables that hold the address and signing secret."""

    name: str
    kind: str = "apprise"
    url_variable: str = "DATASWARM_CHANNEL_URL"
    secret_variable: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What `init` asked. Empty: there is none of it.

    Attributes:
        warehouse: name of the warehouse in asset references.
        warehouse_kind: the integration that speaks to it.
        reader_variable, actor_variable: variables that hold its addresses; without an actor nothing can be changed.
        schemas: what is looked at; empty is everything the reader sees.
        dbt_project: the team's checkout of the dbt project.
        dbt_target: where its artefacts are, if not in `target/` of the project: a directory or an address.
        dbt_executable: the command that starts the team's dbt.
        repository: path or address of the git repository with the models.
        branch: the repository's production branch.
        channels: ways to a human.
        autonomy: how far the swarm may go.
        memory_variable: variable that holds the address of the swarm's own database; empty is the embedded server.
        database, owners, reader_role, actor_role: for the grants.
    """

    warehouse: str = "warehouse"
    warehouse_kind: str = "postgres"
    reader_variable: str = "WAREHOUSE_READER_URL"
    actor_variable: str = "WAREHOUSE_ACTOR_URL"
    schemas: Sequence[str] = ()
    dbt_project: str = ""
    dbt_target: str = ""
    dbt_executable: str = "dbt"
    repository: str = ""
    branch: str = "main"
    channels: Sequence[ChannelAnswer] = field(default_factory=tuple)
    autonomy: Autonomy = Autonomy.OBSERVE
    memory_variable: str = ""
    database: str = ""
    owners: Sequence[str] = field(default_factory=tuple)
    reader_role: str = "dataswarm_reader"
    actor_role: str = "dataswarm_actor"


def compose(answers: Answers) -> str:
    """The text of a commented dataswarm.yaml.

    Raises:
        UsageError: an answer is no variable's name (a secret itself, perhaps; it is not repeated), or no source's.
    """
    _check(answers)
    parts = [
        "# The configuration of dataswarm, written by `dataswarm init`. Change what you like; it takes effect without\n"
        "# a restart. `dataswarm config check` looks at it first, `dataswarm config schema` tells an editor the keys.\n"
        "# Secrets stay outside: set these environment variables before you start it.\n"
        + "".join(f"#   {name}: {what}\n" for name, what in variables(answers).items()),
        _part(
            "How far the swarm may go: observe says what it would do, propose asks first, act does it, proves it or\n"
            "undoes it. Start with observe and read `dataswarm incidents`.",
            {"policy": {"autonomy": answers.autonomy.value}},
        ),
        _memory(answers),
        _part(
            "What is looked at. `kind` names the integration; the other keys are its own.",
            {"sources": _sources(answers)},
        ),
    ]
    if answers.channels:
        parts.append(
            _part("Ways to a human: told of escalations, approvals and resolved incidents.", _channels(answers))
        )
    parts.append(
        "# Every installed agent and playbook is on. To tune one or to switch it off:\n"
        "#\n"
        "# agents:\n"
        "#   schema-drift:\n"
        "#     every_seconds: 60\n"
        "# playbooks:\n"
        "#   quarantine-rows:\n"
        "#     enabled: false\n"
    )
    return "\n".join(parts)


def variables(answers: Answers) -> Mapping[str, str]:
    """The environment variables the composed file refers to, and what each holds."""
    named = {answers.reader_variable: f"address of {answers.warehouse} as a role that can only read"}
    if answers.actor_variable:
        named[answers.actor_variable] = f"address of {answers.warehouse} as the role that repairs"
    if answers.memory_variable:
        named[answers.memory_variable] = "address of the swarm's own database (PostgreSQL >= 15 with pgvector)"
    for channel in answers.channels:
        named[channel.url_variable] = f"address of the channel {channel.name}"
        if channel.secret_variable:
            named[channel.secret_variable] = f"secret that signs messages of the channel {channel.name}"
    return named


def grants(answers: Answers) -> str:
    """SQL that makes the reader and actor roles in a PostgreSQL warehouse, with as little as will do.

    Raises:
        UsageError: the warehouse is of another kind.
    """
    if answers.warehouse_kind != "postgres":
        raise UsageError(
            f"grants are known for postgres, not for {answers.warehouse_kind!r}",
            hint="give the swarm one role that can only read and, if it is to repair, one that owns a schema",
        )
    return Grants(
        database=answers.database or answers.warehouse,
        schemas=tuple(s for s in answers.schemas if not any(c in s for c in "*?[")) or ("public",),
        owners=tuple(answers.owners),
        reader=answers.reader_role,
        actor=answers.actor_role,
    ).sql()


def _memory(answers: Answers) -> str:
    if answers.memory_variable:
        return _part("Where the swarm remembers.", {"database": {"url": _of(answers.memory_variable)}})
    return (
        "# The swarm remembers in a PostgreSQL server of its own, below .dataswarm/. For more machines give it one:\n"
        "#\n"
        "# database:\n"
        "#   url: ${DATASWARM_MEMORY_URL}\n"
    )


def _sources(answers: Answers) -> dict[str, Any]:
    warehouse: dict[str, Any] = {"kind": answers.warehouse_kind, "url": _of(answers.reader_variable)}
    if answers.actor_variable:
        warehouse["actor_url"] = _of(answers.actor_variable)
    if answers.schemas:
        warehouse["schemas"] = [_plain(schema) for schema in answers.schemas]
    sources: dict[str, Any] = {answers.warehouse: warehouse}
    if answers.dbt_project or answers.dbt_target:
        dbt: dict[str, Any] = {"kind": "dbt", "warehouse": answers.warehouse}
        if answers.dbt_project:
            dbt |= {"project_dir": _plain(answers.dbt_project), "executable": _plain(answers.dbt_executable)}
        if answers.dbt_target:
            dbt["target"] = _plain(answers.dbt_target)
        sources["dbt" if answers.warehouse != "dbt" else "dbt-project"] = dbt
    if answers.repository:
        git = {"kind": "git", "url": _plain(answers.repository), "branch": _plain(answers.branch)}
        sources["models" if answers.warehouse != "models" else "models-repository"] = git
    return sources


def _channels(answers: Answers) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    for channel in answers.channels:
        address = _of(channel.url_variable)
        # Apprise takes several addresses for one message.
        addresses: dict[str, Any] = {"urls": [address]} if channel.kind == "apprise" else {"url": address}
        channels[channel.name] = {"kind": channel.kind, **addresses}
        if channel.secret_variable:
            channels[channel.name]["secret"] = _of(channel.secret_variable)
    return {"channels": channels}


def _check(answers: Answers) -> None:
    for name in variables(answers):
        if not _VARIABLE.fullmatch(name):
            # Not repeated: whoever pastes an address here pastes a password.
            raise UsageError(
                "that is not the name of an environment variable",
                hint="give the variable's name, WAREHOUSE_READER_URL say, not the address itself",
            )
    names = [answers.warehouse, *(channel.name for channel in answers.channels)]
    if odd := [name for name in names if not _NAME.fullmatch(name)]:
        raise UsageError(f"not a name: {odd[0][:80]!r}", hint="use letters, digits, dots, dashes and underscores")
    channels = names[1:]
    if twice := [name for name in channels if channels.count(name) > 1]:
        raise UsageError(f"two channels are called {twice[0]!r}", hint="give each a name of its own")


def _of(variable: str) -> str:
    return f"${{{variable}}}"


def _plain(text: str) -> str:
    """A text as it is: a `${` in it is no reference."""
    return text.replace("${", "$${")


def _part(comment: str, data: Mapping[str, Any]) -> str:
    writer = YAML()
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.width = 4096
    out = io.StringIO()
    writer.dump(dict(data), out)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + out.getvalue()
