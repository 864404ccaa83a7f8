"""The container file, read as text: no engine is needed to see that it copies what exists and runs as nobody."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch

from tests.deploy.conftest import DEPLOY, ROOT

FILE = DEPLOY / "Containerfile"
PIN = re.compile(r"^([a-z0-9_.-]+)==(\S+)(?: ; [^\\]+)? \\$", re.MULTILINE)


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined, comments left out."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line)
    ]


def copied() -> Iterator[str]:
    """Sources taken from the repository."""
    for word, rest in instructions():
        if word in ("COPY", "ADD") and "--from=" not in rest:
            yield from rest.split()[:-1]


def pins(name: str) -> dict[str, str]:
    """Versions by project of a lock file."""
    return dict(PIN.findall((ROOT / name).read_text(encoding="utf-8")))


def test_everything_copied_is_there() -> None:
    """No COPY names a file that is missing, and the ignore file lets each one through."""
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in let_in), f"{source} is kept from the builder"


def test_every_package_of_the_wheel_is_copied() -> None:
    """The wheel in the image holds what the wheel of the project holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(copied())
    assert {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]} <= set(copied())


def test_it_runs_as_nobody_in_particular() -> None:
    """The last stage ends up as a numbered user that it has made, never root, and writes to a place of its own."""
    stages = "".join(f"{word} {rest}\n" for word, rest in instructions()).split("FROM ")
    last = stages[-1]
    user = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)[-1]
    assert user[0] != "0"
    assert f"--uid {user[0]}" in last
    assert f"--gid {user[1]}" in last
    assert re.search(r"^WORKDIR /var/lib/dataswarm$", last, re.MULTILINE)


def test_it_starts_the_console_script_and_asks_for_its_health() -> None:
    """Entry point, signal, port and health check are those of `dataswarm up`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    said = dict(instructions())
    assert said["ENTRYPOINT"] == '["dataswarm"]'
    assert "dataswarm" in project["project"]["scripts"]
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert "/healthz" in said["HEALTHCHECK"]
    assert said["EXPOSE"] in said["HEALTHCHECK"]


def test_images_are_named_by_version_and_nothing_is_fetched_by_address() -> None:
    """No `latest`, no ADD of an address, no pip install that is not pinned by hash or from the wheel."""
    for word, rest in instructions():
        assert not (word == "ADD" and "://" in rest)
        if word == "FROM":
            assert "latest" not in rest
            assert ":" in rest
        for install in re.findall(r"pip install ([^&]+)", rest):
            assert "--require-hashes" in install or "--no-index" in install, install


def test_the_image_installs_the_versions_that_were_tested() -> None:
    """The image's lock is part of the project's lock, version by version, each with its hashes and no address."""
    tested, shipped = pins("requirements.lock"), pins("deploy/requirements.lock")
    assert len(shipped) > 40
    assert {name: version for name, version in shipped.items() if tested.get(name) != version} == {}
    for name in ("requirements.lock", "build.lock"):
        text = (DEPLOY / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert all("--hash=sha256:" in block for block in blocks)


def test_what_the_project_needs_is_in_the_image() -> None:
    """Every dependency of the project and of its model extra stands in the image's lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["model"]]
    names = {re.split(r"[\[<>=~! ;]", need, maxsplit=1)[0].lower().replace(".", "-") for need in wanted}
    assert names - set(pins("deploy/requirements.lock")) == set()
    assert {"hatchling"} <= set(pins("deploy/build.lock"))
