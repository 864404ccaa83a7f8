"""The packaged reference file: equal to the defaults, complete, and its examples work when the # is taken away."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import positions
from config.draft import dotted
from config.errors import ConfigError
from config.section import entries_in, section_in
from config.settings import Settings, dump, load, schema

REFERENCE = resources.files("config") / "dataswarm.yaml"


def uncommented() -> str:
    """The reference with its examples switched on, and the empty values they stand in for left out."""
    lines = REFERENCE.read_text(encoding="utf-8").splitlines()
    kept = []
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        key = re.match(r"\s*([a-z]+): (?:\[\]|\{\})", line)
        if not (key and following.strip() == f"#{key[1]}:"):
            # The head of the file is prose up to the first empty line.
            kept.append(re.sub(r"^(\s*)#(?=\S|  )", r"\1", line) if "" in lines[:index] else line)
    return "\n".join(kept)


def paths(annotation: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key there is; the names of members are left out."""
    section = section_in(annotation) or entries_in(annotation)
    if section is None:
        return [path]
    inner = [p for name, field in section.model_fields.items() for p in paths(field.annotation, (*path, name))]
    return inner if section_in(annotation) else [path, *inner]


def test_the_reference_equals_the_defaults() -> None:
    """Without any file the swarm runs as with the packaged one."""
    with resources.as_file(REFERENCE) as file:
        assert load(file, environ={}) == Settings()
        assert load(file, environ={}).fingerprint == Settings().fingerprint


def test_the_reference_names_every_key_and_its_examples_load(tmp_path: Path) -> None:
    """What the file shows as an example is right, and no setting is left out of it."""
    file = tmp_path / "dataswarm.yaml"
    file.write_text(uncommented())
    environ = {name: "postgresql://u@h/d" for name in re.findall(r"\$\{(\w+)\}", uncommented()) if name != "NAME"}
    settings = load(file, environ=environ)
    assert settings.policy.freeze[0].days == ("fri", "sat")
    assert settings.agents["schema-drift"].every_seconds == 60
    draft = positions.read(uncommented(), "x", environ)
    members = {"agents", "sources", "playbooks", "channels"}
    written = set()
    for path in draft.origins:
        words = tuple(step for step in path if isinstance(step, str))
        written.add(words[:1] + words[2:] if words[:1] and words[0] in members else words)
    left_out = [dotted(p) for p in paths(Settings) if p not in written]
    assert left_out == ["sources.options", "channels.options"]  # they are written flat


KEYS = [p for p in paths(Settings) if not {"options", "agents", "sources", "playbooks", "channels"} & set(p)]
KEYS = [
    p for p in KEYS if p[:2] not in {("http", "tokens"), ("policy", "assets"), ("policy", "freeze"), ("memory", "keys")}
]


@given(path=st.sampled_from(KEYS), at=st.integers(0, 40), how=st.sampled_from(["drop", "swap", "double", "replace"]))
def test_a_key_misspelt_by_one_letter_is_reported_with_its_line(path: tuple[str, ...], at: int, how: str) -> None:
    """Whichever key, wherever the slip: the line is named, and the key that was meant."""
    key = path[-1]
    at %= len(key)
    slip = {
        "drop": key[:at] + key[at + 1 :],
        "swap": key[:at] + key[at + 1 : at + 2] + key[at] + key[at + 2 :],
        "double": key[:at] + key[at] + key[at:],
        "replace": key[:at] + "q" + key[at + 1 :],
    }[how]
    if slip in (key, "") or "." in slip:
        return
    text = "".join(f"{'  ' * depth}{step}:\n" for depth, step in enumerate((*path[:-1], slip)))
    draft = positions.read(text, "dataswarm.yaml", {})
    assert draft.origins[*path[:-1], slip] == f"dataswarm.yaml:{len(path)}"
    problems = _problems(text)
    assert (f"unknown key {dotted((*path[:-1], slip))!r}", key) in {(m, s) for _, m, s in problems}
    assert {w.rsplit(":", 1)[1] for w, _, _ in problems} == {str(len(path))}


def _problems(text: str) -> list[tuple[str, str, str]]:
    import tempfile  # noqa: PLC0415 - a fixture would be shared between examples

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "dataswarm.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(file, environ={})
    return [(p.where, p.message, p.suggestion) for p in caught.value.problems]


def test_what_is_shown_loads_again(tmp_path: Path) -> None:
    """`config show` prints a file that means the same, secrets apart."""
    file = tmp_path / "dataswarm.yaml"
    file.write_text(dump(Settings()))
    assert load(file, environ={}) == Settings()


def test_the_schema_allows_secret_files_and_flat_options() -> None:
    """Editors accept what the loader accepts, and know which fields are secret."""
    made = schema()
    database = made["$defs"]["DatabaseSettings"]["properties"]
    assert "url_file" in database
    assert "directory_file" not in database
    assert made["$defs"]["SourceSettings"]["additionalProperties"] is True
    assert made["$defs"]["AgentSettings"]["additionalProperties"] is False
    assert "token" not in made["$defs"]["TokenSettings"]["required"]
