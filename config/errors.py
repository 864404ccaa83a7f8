"""Every error the project raises on purpose, in one tree.

    SwarmError
    ├── UsageError          your mistake: no traceback, exit status 2
    │   ├── ConfigError     the configuration, all problems at once, with file and line
    │   └── SetupError      something outside is missing or refuses (driver, extension, role, executable)
    ├── TransientError      passes by itself: try again with back-off and jitter
    ├── PermanentError      will not pass by itself: becomes an escalation
    │   └── SourceError     what a source gave cannot be used (broken artefact, unknown version)
    ├── ConflictError       a race lost honestly: counted, not logged as an error
    │   └── LeaseLostError  the lease of a task or an agent went to somebody else
    └── PolicyError         the swarm held itself back

Each class has a stable `code` (the metric label) and `retryable`; each instance may carry a `hint`, the thing
to do next. Waiting, ignoring and escalating are verdicts, not exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class SwarmError(Exception):
    """The root of the tree; catch it to catch everything raised on purpose.

    Args:
        message: what happened and where, in one sentence without values sampled from data.
        hint: what the reader can do next; empty where there is nothing to do.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class UsageError(SwarmError):
    """The caller asked for something that cannot be; nothing was changed."""

    code = "usage"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the configuration: where it stands, what it is, what was probably meant."""

    where: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        meant = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{self.where}: {self.message}{meant}"


class ConfigError(UsageError):
    """The configuration cannot be used; carries every problem found, not the first alone."""

    code = "config"

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the configuration:\n{lines}", hint=hint)


class SetupError(UsageError):
    """Something the project stands on is missing, or refuses: a driver, an extension, a role, an executable."""

    code = "setup"


class TransientError(SwarmError):
    """It may well work the next time: a cut connection, a lock time-out, a busy server."""

    code = "transient"
    retryable = True


class PermanentError(SwarmError):
    """Trying again is useless until somebody changes something."""

    code = "permanent"


class SourceError(PermanentError):
    """What a source handed over cannot be used: a broken artefact, a version unknown here."""

    code = "source"


class ConflictError(SwarmError):
    """Somebody else was first. Honest, counted, and no cause for alarm."""

    code = "conflict"


class LeaseLostError(ConflictError):
    """The lease expired or was taken over; nothing more may be written under it."""

    code = "lease_lost"


class PolicyError(SwarmError):
    """Policy forbids it; the stage that said no is in the message."""

    code = "policy"
