"""Discovery: what fits is found, what does not is refused by the name of what is missing, and the others go on."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from config.errors import SetupError, UsageError
from integrations.base import Delivery, Finding, Message
from integrations.registry import GROUP, discover, misfits

MODULE = "third_party_for_tests"


class Options(BaseModel):
    """Options of the third party's channel."""

    model_config = ConfigDict(extra="forbid")
    url: SecretStr
    volume: int = 3


class Pigeon:
    """A channel by somebody else."""

    kind: ClassVar[str] = "pigeon"
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    async def open(self) -> None:
        """Wake the pigeon."""

    async def close(self) -> None:
        """Let it sleep."""

    async def examine(self) -> Sequence[Finding]:
        """Look at it."""
        return [Finding(True, "it coos")]

    async def send(self, message: Message) -> Delivery:
        """Let it fly."""
        return Delivery(ok=bool(message))


class Mute(Pigeon):
    """A channel that forgot how to send."""

    kind: ClassVar[str] = "mute"
    send = None  # type: ignore[assignment]


class Hasty(Pigeon):
    """A channel that sends without waiting, under another parameter."""

    kind: ClassVar[str] = "hasty"

    def send(self, text: str) -> Delivery:  # type: ignore[override]
        """Send at once."""
        return Delivery(ok=bool(text))


@pytest.fixture
def third_party() -> Iterator[types.ModuleType]:
    """A module that somebody else installed."""
    module = types.ModuleType(MODULE)
    for member in (Pigeon, Mute, Hasty):
        setattr(module, member.__name__, member)
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def point(name: str, value: str) -> EntryPoint:
    """An entry point as a distribution declares it."""
    return EntryPoint(name=name, value=value, group=GROUP)


def test_built_ins_come_by_the_same_way() -> None:
    """The installed entry points give the five built-in kinds, none refused."""
    registry = discover()
    assert {"postgres", "dbt", "git", "apprise", "webhook"} <= set(registry.kinds)
    assert registry.refused == ()
    assert all(misfits(found, kind) == [] for kind, found in registry.kinds.items())
    assert registry.origins["dbt"].startswith("dataswarm ")


def test_a_third_party_is_found_beside_a_broken_one(third_party: types.ModuleType) -> None:
    """A module that cannot be imported is reported with its error; the others are there."""
    registry = discover(
        [
            point("pigeon", f"{MODULE}:Pigeon"),
            point("gone", "no_such_module_at_all:X"),
            point("empty", f"{MODULE}:Nothing"),
        ]
    )
    assert list(registry.kinds) == ["pigeon"]
    assert {r.kind: r.reason.split(":")[0] for r in registry.refused} == {
        "gone": "it cannot be loaded",
        "empty": "it cannot be loaded",
    }
    with pytest.raises(SetupError, match="no_such_module_at_all"):
        registry.get("gone")


def test_a_misfit_is_refused_by_the_missing_member(third_party: types.ModuleType) -> None:
    """The reason names the member that is missing, or how it differs."""
    registry = discover([point("mute", f"{MODULE}:Mute"), point("hasty", f"{MODULE}:Hasty")])
    reasons = {r.kind: r.reason for r in registry.refused}
    assert reasons["mute"] == "it lacks `Channel.send`"
    assert reasons["hasty"] == "`Channel.send` must be async"
    with pytest.raises(SetupError, match=r"Channel\.send"):
        registry.get("mute")


def test_a_kind_must_be_its_entry_point(third_party: types.ModuleType) -> None:
    """A class registered under another name than its kind is refused; so is the second of a name."""
    registry = discover([point("dove", f"{MODULE}:Pigeon")])
    assert "its `kind` is 'pigeon'" in registry.refused[0].reason
    twice = discover([point("pigeon", f"{MODULE}:Pigeon"), point("pigeon", f"{MODULE}:Mute")])
    assert (list(twice.kinds), len(twice.refused)) == (["pigeon"], 1)


def test_options_must_forbid_what_they_do_not_know() -> None:
    """Options that take any key would swallow typing errors."""

    class Loose(BaseModel):
        pass

    loose = type("Loose", (Pigeon,), {"Options": Loose})
    assert any("extra" in reason for reason in misfits(loose, "pigeon"))
    bare = type("Bare", (), {"kind": "bare"})
    assert any("Options" in reason for reason in misfits(bare, "bare"))
    assert "a Channel has send" in misfits(bare, "bare")[-1]
    assert misfits("not a class", "x") == ["'not a class' is no class"]


def test_an_unknown_kind_gets_the_nearest_name() -> None:
    """A typing error in a kind is met with what was probably meant."""
    with pytest.raises(UsageError, match="postgres"):
        discover().get("postgers")


def test_a_validator_names_every_problem_without_values() -> None:
    """All problems at once, by path; the values, which may be secrets, are in none of them."""
    validate = discover().validator("postgres")
    problems = dict(validate({"ur": "postgresql://u:hunter2@h/d", "sketch_rows": "hunter2", "schemas": []}))
    assert problems[("url",)] == "is required"
    assert problems[("ur",)] == "unknown option (did you mean 'url'?)"
    assert set(problems) == {("url",), ("ur",), ("sketch_rows",), ("schemas",)}
    assert "hunter2" not in str(problems)
    assert validate({"url": "postgresql://localhost/d"}) == []


def test_creating_validates(third_party: types.ModuleType) -> None:
    """An integration is made from plain options, or a UsageError names what is wrong with them."""
    registry = discover([point("pigeon", f"{MODULE}:Pigeon")])
    made = registry.create("pigeon", "coo", {"url": "sky"})
    assert (made.name, made.kind) == ("coo", "pigeon")
    with pytest.raises(UsageError, match="volume"):
        registry.create("pigeon", "coo", {"url": "sky", "volume": "loud"})
