"""What the documents say holds: links lead somewhere, commands exist, the pages are as short as they promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import typer.main

from dataswarm.commands import register
from dataswarm.demo.faults.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md")) if ".venv" not in p.parts)


def test_the_readme_is_short() -> None:
    """Under 200 lines."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there."""
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8").replace("\n", " "))
    missing = [link for link in found if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    """Each `dataswarm …` and `make …` a page shows is one there is."""
    text = page.read_text(encoding="utf-8")
    program = typer.Typer()
    register(program)
    known = set(typer.main.get_command(program).commands)  # type: ignore[attr-defined]
    shown = set(re.findall(r"(?:`|^ {4})dataswarm ([a-z][a-z-]+)", text, re.MULTILINE))
    assert shown - known == set()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4})make ([a-z][a-z-]+)", text, re.MULTILINE)) - targets == set()


@pytest.mark.parametrize("room", ["agents", "config", "dataswarm", "deploy", "integrations", "memory"])
def test_each_room_says_why_it_is_so(room: str) -> None:
    """A page a room, and its last chapter gives the reasons."""
    chapters = re.findall(r"^## (.+)$", (ROOT / room / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert chapters[-1] == "Why it is so"


def test_the_faults_of_the_readme_are_those_of_the_catalogue() -> None:
    """Each fault the README's commands name can be injected."""
    named = set(re.findall(r"--fault ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named <= set(CATALOGUE)
