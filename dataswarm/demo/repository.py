"""The team's code: a bare repository everybody pushes to, and the checkout the team builds from."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from config.errors import SetupError

_AUTHOR = {"NAME": "Shop data team", "EMAIL": "platform@shop.example"}


def run_git(*arguments: str, cwd: Path) -> str:
    """Run git apart from the user's own settings and return what it printed.

    Raises:
        SetupError: git is not installed, or said no; its last words are in the message.
    """
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    author = {f"GIT_{who}_{part}": word for who in ("AUTHOR", "COMMITTER") for part, word in _AUTHOR.items()}
    program = shutil.which("git")
    if program is None:
        raise SetupError("git is not installed", hint="install git; the demo keeps the models in a repository")
    finished = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env={**os.environ, **settings, **author},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SetupError(f"git {arguments[0]} failed in {cwd}: {finished.stderr.strip()[-400:]}")
    return finished.stdout.strip()


def publish_project(origin: Path, checkout: Path) -> str:
    """Commit the packaged dbt project into a new bare repository and check it out for the team.

    Returns:
        The commit that the golden twin is built from.
    """
    origin.mkdir(parents=True)
    run_git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", cwd=origin)
    with resources.as_file(resources.files("dataswarm.demo") / "project") as project:
        shutil.copytree(project, checkout)
    (checkout / ".gitignore").write_text("target/\nlogs/\n.user.yml\n.running\n")
    run_git("init", "--quiet", "--initial-branch=main", "--template=", cwd=checkout)
    run_git("add", "--all", cwd=checkout)
    run_git("commit", "--quiet", "--message", "Models of the shop", cwd=checkout)
    run_git("remote", "add", "origin", str(origin), cwd=checkout)
    run_git("push", "--quiet", "--set-upstream", "origin", "main", cwd=checkout)
    return run_git("rev-parse", "HEAD", cwd=checkout)


def check_out(origin: Path, checkout: Path, commit: str) -> None:
    """Clone a repository at one commit, away from every branch."""
    run_git("clone", "--quiet", "--no-checkout", str(origin), str(checkout), cwd=origin)
    run_git("checkout", "--quiet", "--detach", commit, cwd=checkout)


def point_to(origin: Path, checkout: Path) -> None:
    """Tell a checkout that was copied along with its origin where the origin is now."""
    run_git("remote", "set-url", "origin", str(origin), cwd=checkout)


def pull(checkout: Path) -> str:
    """Bring a checkout to the origin's main, whatever stood there, and return the commit."""
    run_git("fetch", "--quiet", "origin", "main", cwd=checkout)
    run_git("reset", "--quiet", "--hard", "FETCH_HEAD", cwd=checkout)
    return run_git("rev-parse", "HEAD", cwd=checkout)
