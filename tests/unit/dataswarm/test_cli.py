"""The program's shape: every command is helped, has an example that parses, and fails in words."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import typer

from config.errors import UsageError
from dataswarm import __version__, cli, guard
from dataswarm.commands.lengths import seconds
from dataswarm.commands.shared import EXAMPLES
from tests.unit.dataswarm.program import Program, program
from tests.unit.dataswarm.runner import Runner

__all__ = ["program"]
cli._assemble()
TREE = typer.main.get_command(cli.app)
WITHOUT_CONFIG = {"config schema", "demo", "lineage"}


def leaves(group: Any = TREE, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that can be run, by its words."""
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from leaves(command, words)
        else:
            yield words, command


COMMANDS = dict(leaves())


def test_all_that_was_promised_is_there() -> None:
    """The commands of the contract, by name."""
    wanted = ["up", "status", "incidents", "show", "ack", "close", "false-positive", "approve", "deny", "undo"]
    wanted += ["silence", "kill-switch", "cap", "explain", "doctor", "init", "migrate", "demo"]
    groups = ["planned-change add", "planned-change list", "config check", "config show", "config schema"]
    groups += ["memory search", "memory fact", "memory learnings", "tasks list", "tasks show", "tasks retry"]
    groups += ["tasks cancel", "events tail", "events replay"]
    assert {*wanted, *groups} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_help_has_examples_and_the_common_options(words: str) -> None:
    """Each command says what it does, shows how, and takes what all take."""
    result = Runner().invoke(cli.app, [*words.split(), "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"dataswarm {words}" in result.output
    assert COMMANDS[words].help
    assert "--json" in result.output or words == "up"
    assert "--config" in result.output or words in WITHOUT_CONFIG


@pytest.mark.parametrize("example", [example for group in EXAMPLES.values() for example in group])
def test_every_example_parses(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the help shows can be typed: the command is reached with arguments it accepts."""
    reached: list[str] = []
    words, *arguments = shlex.split(example.split(" > ", maxsplit=1)[0])
    assert words == "dataswarm"
    found = TREE
    for word in arguments:
        if hasattr(found, "commands"):
            found = found.commands[word]
    monkeypatch.setattr(found, "callback", lambda **_: reached.append(example))
    TREE.main(arguments, prog_name="dataswarm", standalone_mode=False)
    assert reached == [example]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("drift", "diff", "--help"), 0, "dataswarm drift diff"),
        (("status", "--help"), 0, "dataswarm status"),
        (("stauts",), 2, "status"),
        (("drift", "dif"), 2, "diff"),
        ((), 2, "planned-change"),
        (("--help",), 0, "planned-change"),
    ],
)
def test_the_console_script(words: tuple[str, ...], status: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what is meant is made, and nobody notices: help, suggestions and the list of all are as they were."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == status
    said = capsys.readouterr()
    assert says in said.out + said.err


def test_version() -> None:
    """`--version` says which."""
    assert Runner().invoke(cli.app, ["--version"]).output.strip() == f"dataswarm {__version__}"


def test_a_misspelt_command_is_suggested() -> None:
    """And the exit status is that of a usage error."""
    result = Runner().invoke(cli.app, ["stauts"])
    assert result.exit_code == 2
    assert "status" in result.output


def test_a_missing_configuration_is_said_without_a_traceback(program: Program, tmp_path: Path) -> None:
    """Your mistake: a sentence, and exit status 2."""
    result = program("status", "--config", str(tmp_path / "nowhere.yaml"), config=False)
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr
    assert "Traceback" not in result.output


def test_every_problem_of_a_configuration_is_said(program: Program) -> None:
    """All at once, with the nearest names."""
    program.config.write_text("runtim: {}\npolicy: {autonomy: aktiv}\n", encoding="utf-8")
    result = program("status")
    assert result.exit_code == 2
    assert "2 problems" in result.stderr
    assert "runtime" in result.stderr


def test_a_database_that_does_not_answer(program: Program) -> None:
    """It may pass by itself: exit status 1, a hint, no password."""
    program.config.write_text("database: {url: 'postgresql://me:geheim@127.0.0.1:1/x'}\n", encoding="utf-8")
    result = program("status")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "geheim" not in result.output


def test_a_database_that_was_never_migrated(program: Program, server: Any, empty_name: str) -> None:
    """A command that only reads changes no schema that is not its own to change; it says what to do."""
    url = server.url_for(database=empty_name)
    program.config.write_text(f"database: {{url: '{url}'}}\n", encoding="utf-8")
    result = program("status")
    assert result.exit_code == 2
    assert "dataswarm migrate" in result.stderr


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells expect it."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.app.__class__, "__call__", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main(["status"])
    assert ended.value.code == 130


def test_our_own_packages_are_no_strangers() -> None:
    """The guard lets the project through."""
    assert guard.strangers() == ""


def _spec(folder: Path, name: str) -> ModuleSpec:
    return ModuleSpec(name, None, origin=str(folder / name / "__init__.py"), is_package=True)


def test_a_stranger_is_named_with_its_file(tmp_path: Path) -> None:
    """Another distribution's `agents` elsewhere on the path."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("from .agent import Agent\n", encoding="utf-8")
    said = guard.strangers(lambda name: _spec(tmp_path, name) if name == "agents" else guard.FIND(name))
    assert str(tmp_path / "agents" / "__init__.py") in said
    assert "→" in said


def test_an_overwritten_package_is_a_stranger_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed into the same place: our files are there, and the `__init__.py` is another's."""
    for name, landmark in guard.OURS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / landmark).touch()
        (tmp_path / name / "__init__.py").write_text("import openai\n" if name == "agents" else "", encoding="utf-8")
    (tmp_path / "dataswarm").mkdir()
    monkeypatch.setattr(guard, "__file__", str(tmp_path / "dataswarm" / "guard.py"))
    assert "'agents'" in guard.strangers(lambda name: _spec(tmp_path, name))
    (tmp_path / "agents" / "__init__.py").write_text("", encoding="utf-8")
    assert guard.strangers(lambda name: _spec(tmp_path, name)) == ""


def test_what_an_uninstallation_left_is_told_apart(tmp_path: Path) -> None:
    """A folder without `__init__.py`, or no folder: reinstall."""
    left = ModuleSpec("agents", None, is_package=True)
    left.submodule_search_locations = [str(tmp_path)]
    assert "damaged" in guard.strangers(lambda _: left)
    assert "missing" in guard.strangers(lambda _: None)


def test_a_stranger_stops_the_program_before_it_runs(tmp_path: Path) -> None:
    """A real interpreter with another `agents` first on its path: exit status 2 and no traceback."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("raise RuntimeError('a stranger ran')\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "import dataswarm.cli; dataswarm.cli.main(['--help'])"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / "agents") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "length"),
    [("30m", 1800), ("2h", 7200), ("1d12h", 129600), ("90 s", 90), ("1.5 hours", 5400), ("1w", 604800)],
)
def test_lengths_of_time(text: str, length: float) -> None:
    """As people write them."""
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "2x", "h2", "10", "0m", "two hours", "2h!", "-1h"])
def test_what_is_no_length_of_time(text: str) -> None:
    """Said with how to write one."""
    with pytest.raises(UsageError) as caught:
        seconds(text)
    assert "30m" in caught.value.hint
