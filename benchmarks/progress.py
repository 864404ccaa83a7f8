"""What is going on, on standard error: figures go to standard output, and nothing mixes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """One line."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def timed(text: str) -> Iterator[None]:
    """Say what begins, and how long it took when it is over."""
    began = time.monotonic()
    print(f"{text} … ", end="", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        say("failed")
        raise
    say(f"{time.monotonic() - began:.1f} s")
