"""What the tests of `deploy/` share: where its files are, and the real tools that judge them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pace import PATIENCE

WHERE = "install the Debian packages prometheus and prometheus-alertmanager to run it"


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Where a program is; the test is skipped, saying so, where it is not installed."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            reason = f"{name} is not installed here; {WHERE}"
            print(f"SKIPPED: {reason}")  # noqa: T201 - nothing is skipped silently
            pytest.skip(reason)
        return found

    return find


@pytest.fixture
def judged() -> Callable[..., str]:
    """Run a program that judges a file; its words are the failure's."""

    def judge(*command: str | Path) -> str:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, timeout=PATIENCE)
        words = done.stdout + done.stderr
        assert done.returncode == 0, words
        return words

    return judge
