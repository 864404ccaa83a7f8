"""The law of the house, where a linter of imports cannot see it."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("agents", "config", "dataswarm", "integrations", "memory")
SQL = re.compile(r"^\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s.+\sSET|DELETE\s+FROM)\s", re.IGNORECASE | re.DOTALL)
CLOCK = re.compile(r"\b(datetime\.(now|utcnow|today)|time\.time)\(")
FORBIDDEN_NAMES = re.compile(r"(Manager|Handler|Processor|Helper|Util|Utils|Common|Engine|Service)$")


def modules(*rooms: str) -> Iterator[Path]:
    """Every module of the rooms, the demo's dbt project left out."""
    for room in rooms or ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "demo/project" not in path.as_posix():
                yield path


def test_modules_are_small() -> None:
    """None above 500 lines; the median at most 150."""
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in modules()}
    assert {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > 500} == {}
    assert statistics.median(n for n in lengths.values() if n > 5) <= 150


def test_sql_stands_in_its_room() -> None:
    """SQL against the swarm's own database stands in memory/sql alone."""
    found = []
    for path in modules("agents", "config", "dataswarm", "memory"):
        if "playbooks" in path.parts or "demo" in path.parts:
            continue  # these speak to warehouses
        if path.parent.name == "pipeline_health":
            continue  # so does an investigation
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_logic_does_not_read_the_clock() -> None:
    """Time is a parameter or the server's."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in modules("agents", "config", "integrations", "memory")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if CLOCK.search(line) and "clock:" not in line
    ]
    assert found == []


def test_names_say_what_things_are() -> None:
    """No class is called Manager, Handler, Helper and the like."""
    found = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and FORBIDDEN_NAMES.search(node.name)
        and path.name != "logging.py"  # there it is the standard library's own word
    ]
    assert found == []


def test_only_registries_and_the_application_name_concrete_parts() -> None:
    """Nobody else imports a concrete agent, playbook or integration from outside its own package."""
    concrete = re.compile(
        r"^\s*(?:from|import) (agents\.(?:schema_drift|pipeline_health|incident_response|playbooks\.\w+)"
        r"|integrations\.(?:warehouses|orchestrators|repositories|channels)\.(?!scope\b|leash\b)\w+)",
        re.MULTILINE,
    )
    found = []
    for path in modules():
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for match in concrete.finditer(path.read_text(encoding="utf-8")):
            if not (dotted == match[1] or dotted.startswith(match[1] + ".")):
                found.append(f"{path.relative_to(ROOT)} imports {match[1]}")
    assert found == []


def test_the_demo_stays_in_its_room() -> None:
    """No identifier of the demo's shop is known outside dataswarm/demo."""
    words = re.compile(r"\b(stg_orders|fct_orders|mart_|shop_twin|saboteur|swarm_reader|swarm_actor|dbt_team)\b")
    found = []
    for path in modules():
        if "demo" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        code = re.sub(r'"""[\s\S]*?"""', "", text)
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for m in words.finditer(code)]
    assert found == []


@pytest.mark.parametrize("pattern", [r"/root/", "/work/", r"pypi\.org", "pythonhosted", r"registry\.npmjs"])
def test_tracked_files_name_no_machine_and_no_registry(pattern: str) -> None:
    """Nothing tracked carries a path of a machine or the address of a package registry."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: the tracked files are not known")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if re.search(pattern, text):
            found.append(name)
    assert found == []


def test_every_test_says_what_it_proves() -> None:
    """A docstring on each test."""
    found = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert found == []
