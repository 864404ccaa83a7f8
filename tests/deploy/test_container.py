"""The container file, read as text: no engine is needed to see that it copies what exists and runs as nobody."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

from tests.deploy.places import DEPLOY, ROOT

FILE = DEPLOY / "Containerfile"
PIN = re.compile(r"^([a-z0-9_-]+)==(\S+)", re.MULTILINE)


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined, comments left out."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    split = (line.partition(" ") for line in whole.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in split]


def copied() -> Iterator[str]:
    """Sources taken from the repository."""
    for word, rest in instructions():
        if word in ("COPY", "ADD") and "--from=" not in rest:
            yield from rest.split()[:-1]


def project() -> dict[str, Any]:
    """The project's own description."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_everything_copied_is_there() -> None:
    """No COPY names a file that is missing, and the ignore file lets each one through, and no secret."""
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in let_in), f"{source} is kept from the builder"
    assert not any(fnmatch("deploy/.env", pattern) for pattern in let_in)


def test_every_package_of_the_wheel_is_copied() -> None:
    """The wheel in the image holds what the wheel of the project holds."""
    packages = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(copied())
    described = project()["project"]
    assert {"pyproject.toml", described["readme"], *described["license-files"]} <= set(copied())


def test_it_runs_as_nobody_in_particular() -> None:
    """The last stage ends up as a numbered user that it has made, never root, and writes to a place of its own."""
    last = "".join(f"{word} {rest}\n" for word, rest in instructions()).split("FROM ")[-1]
    user, group = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)[-1]
    assert user != "0"
    assert group != "0"
    assert f"--uid {user}" in last
    assert re.search(r"^WORKDIR /var/lib/dataswarm$", last, re.MULTILINE)


def test_it_starts_the_console_script_and_asks_for_its_health() -> None:
    """Entry point, signal, port and health check are those of `dataswarm up`."""
    said = dict(instructions())
    assert said["ENTRYPOINT"].rstrip("]").endswith('"dataswarm"')
    assert "dataswarm" in project()["project"]["scripts"]
    assert said["CMD"] == '["up"]'
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert "/healthz" in said["HEALTHCHECK"]
    assert said["EXPOSE"] in said["HEALTHCHECK"]


def test_images_are_named_by_version_and_nothing_is_fetched_by_address() -> None:
    """No `latest`, no ADD of an address, no install that is neither pinned by version nor held by the lock."""
    for word, rest in instructions():
        assert not (word == "ADD" and "://" in rest)
        if word == "FROM":
            assert "latest" not in rest
            assert ":" in rest
        for install in re.findall(r"pip install ([^&]+)", rest):
            assert "--constraint requirements.lock" in install or re.search(r"==\$?\{?\w", install), install


def test_the_lock_holds_everything_by_hash_and_names_no_address() -> None:
    """Every dependency of the project and its extras is pinned, each pin with its hashes."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    described = project()["project"]
    wanted = [*described["dependencies"], *(n for extra in described["optional-dependencies"].values() for n in extra)]
    names = {re.split(r"[\[<>=~! ;]", need, maxsplit=1)[0].lower().replace(".", "-") for need in wanted}
    assert names - dict(PIN.findall(text)).keys() == set()
    assert "://" not in text
    assert "--index" not in text
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\S)", text.strip()))


def test_the_extras_it_installs_exist() -> None:
    """Those of the container file and those of compose."""
    known = set(project()["project"]["optional-dependencies"])
    compose = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    named = re.findall(r'EXTRAS[=:] *"?([a-z,]+)', FILE.read_text(encoding="utf-8") + compose)
    assert named
    assert {extra for extras in named for extra in extras.split(",")} <= known
