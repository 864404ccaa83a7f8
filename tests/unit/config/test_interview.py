"""What `init` writes: a file that loads and holds no secret, and grants that a real server takes."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from config import positions
from config.errors import UsageError
from config.interview import Answers, ChannelAnswer, compose, grants, variables
from config.settings import Autonomy, Settings
from memory.server.embedded import EmbeddedServer

FULL = Answers(
    warehouse="shop",
    schemas=("raw", "Ana lytics"),
    dbt_project="/srv/shop ${x} #1",
    dbt_target="https://artefacts.example/shop",
    dbt_executable="uv run dbt",
    repository="git@git.example:shop/models.git",
    channels=(ChannelAnswer("on-call", "webhook", "HOOK_URL", "HOOK_SECRET"), ChannelAnswer("team")),
    autonomy=Autonomy.PROPOSE,
    memory_variable="MEMORY_URL",
    owners=("loader",),
)


def settings_of(answers: Answers) -> Settings:
    """The settings that the composed file means, every variable it names being set to its own name."""
    draft = positions.read(compose(answers), "dataswarm.yaml", {name: f"host={name}" for name in variables(answers)})
    assert not draft.problems
    return Settings.model_validate(draft.data)


def test_a_composed_file_says_what_was_answered() -> None:
    """Every answer arrives, also one with characters that mean something to YAML; secrets are references."""
    settings = settings_of(FULL)
    assert settings.policy.autonomy is Autonomy.PROPOSE
    assert settings.database.url is not None
    assert settings.sources["shop"].options == {
        "url": "host=WAREHOUSE_READER_URL", "actor_url": "host=WAREHOUSE_ACTOR_URL", "schemas": ["raw", "Ana lytics"],
    }  # fmt: skip
    assert settings.sources["dbt"].options == {
        "warehouse": "shop", "project_dir": "/srv/shop ${x} #1", "executable": "uv run dbt",
        "target": "https://artefacts.example/shop",
    }  # fmt: skip
    assert settings.sources["models"].options["branch"] == "main"
    assert settings.channels["on-call"].options == {"url": "host=HOOK_URL", "secret": "host=HOOK_SECRET"}
    assert settings.channels["team"].options == {"urls": ["host=DATASWARM_CHANNEL_URL"]}
    assert set(variables(FULL)) == {
        "WAREHOUSE_READER_URL", "WAREHOUSE_ACTOR_URL", "MEMORY_URL", "HOOK_URL", "HOOK_SECRET", "DATASWARM_CHANNEL_URL",
    }  # fmt: skip
    text = compose(FULL)
    assert all(f"#   {name}: " in text for name in variables(FULL))


def test_the_least_answers_give_a_file_too() -> None:
    """No dbt, no repository, no channel, no actor: what is left out is not mentioned, observe is the start."""
    settings = settings_of(Answers(actor_variable=""))
    assert list(settings.sources) == ["warehouse"]
    assert settings.sources["warehouse"].options == {"url": "host=WAREHOUSE_READER_URL"}
    assert settings.policy.autonomy is Autonomy.OBSERVE
    assert settings.channels == {}
    assert set(settings_of(Answers(warehouse="dbt", dbt_project="x", repository="y")).sources) == {
        "dbt", "dbt-project", "models",
    }  # fmt: skip


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_path_survives_being_written(path: str) -> None:
    """Quotes, colons, hashes, dollars and other scripts come back as they were."""
    settings = settings_of(Answers(dbt_project=path, dbt_executable=path))
    assert settings.sources["dbt"].options["project_dir"] == path


@pytest.mark.parametrize(
    "answers",
    [
        Answers(reader_variable="postgresql://u:hunter2@h/d"),
        Answers(channels=(ChannelAnswer("a", url_variable="hunter2 !"),)),
        Answers(warehouse="my shop"),
        Answers(channels=(ChannelAnswer("a"), ChannelAnswer("a"))),
    ],
)
def test_answers_that_cannot_be_are_refused(answers: Answers) -> None:
    """An address given instead of a variable's name is not repeated; names are checked."""
    with pytest.raises(UsageError) as caught:
        compose(answers)
    assert "hunter2" not in str(caught.value)


def test_grants_are_for_postgres_alone() -> None:
    """Another kind of warehouse gets a plain answer instead of SQL that does not fit."""
    with pytest.raises(UsageError, match="not for 'duckdb'"):
        grants(Answers(warehouse_kind="duckdb"))


def test_a_server_takes_the_grants_and_they_are_few(server: EmbeddedServer, empty_name: str) -> None:
    """Run on a real server: the reader reads what is and what comes, and writes nothing; the actor owns its schemas."""
    odd, reader, actor, owner = 'Odd "schema"', f"{empty_name}_reader", f"{empty_name}_actor", f"{empty_name}_owner"
    names = {"odd": sql.Identifier(odd), "owner": sql.Identifier(owner), "reader": sql.Identifier(reader),
             "actor": sql.Identifier(actor)}  # fmt: skip
    answers = Answers(database=empty_name, schemas=(odd, "raw"), owners=(owner,), reader_role=reader, actor_role=actor)
    with psycopg.connect(server.url_for(database=empty_name), autocommit=True) as connection:
        try:
            for statement in (
                "CREATE ROLE {owner}", "CREATE SCHEMA {odd} AUTHORIZATION {owner}", "CREATE SCHEMA raw",
                "CREATE TABLE {odd}.before (id int)",
            ):  # fmt: skip
                connection.execute(sql.SQL(statement).format(**names))
            connection.execute(grants(answers).encode())
            connection.execute(
                sql.SQL("SET ROLE {owner}; CREATE TABLE {odd}.after (id int); RESET ROLE").format(**names)
            )
            connection.execute(sql.SQL("SET ROLE {reader}").format(**names))
            for table in ("before", "after"):
                connection.execute(sql.SQL("SELECT * FROM {odd}.{table}").format(table=sql.Identifier(table), **names))
            for forbidden in (
                "INSERT INTO {odd}.before VALUES (1)", "CREATE TABLE {odd}.x ()", "CREATE TABLE dataswarm.x ()",
                "CREATE TABLE raw.x ()", "CREATE SCHEMA x", "CREATE ROLE x",
            ):  # fmt: skip
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL(forbidden).format(**names))
            connection.execute(sql.SQL("RESET ROLE; SET ROLE {actor}").format(**names))
            connection.execute("CREATE TABLE dataswarm.kept (id int)")
            connection.execute("CREATE TABLE dataswarm_scratch.tried (id int)")
            for forbidden in ("DELETE FROM {odd}.before", "DROP TABLE {odd}.before", "CREATE VIEW raw.x AS SELECT 1"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL(forbidden).format(**names))
            connection.execute(sql.SQL("RESET ROLE; SET ROLE {reader}").format(**names))
            connection.execute("SELECT * FROM dataswarm.kept")
        finally:
            connection.execute("RESET ROLE")
            for role in (reader, actor, owner):
                with_role = sql.SQL("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
                connection.execute(with_role.format(role=sql.Identifier(role)))
