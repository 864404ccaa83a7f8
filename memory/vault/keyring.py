"""Keys that wrap what is confidential: each with an id, given by the configuration or printed by a command.

A key is 32 random bytes, written in base64. One of the ring wraps what is new; the others only open what was wrapped
before. Keys never stand in the database, in a backup, in a log or in an error.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from config.errors import SetupError, UsageError

LENGTH = 32
COMMAND_SECONDS = 30.0
_ID = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key comes from: `written` as it is (from the environment or a file), or printed by `command`."""

    id: str
    written: str | None = field(default=None, repr=False)
    command: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a process, by id; `current` wraps what is new.

    Raises:
        UsageError: an id that is no name, a key of another length, or no current key.
    """

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        for id_, key in self.keys.items():
            if not _ID.match(id_):
                raise UsageError(f"not an id of a key: {id_[:80]!r}", hint="letters, digits and _ . - , at most 100")
            if len(key) != LENGTH:
                raise UsageError(f"the key {id_!r} has {len(key)} bytes, it must have {LENGTH}")
        if self.current not in self.keys:
            raise UsageError(f"the ring has no key {self.current!r}")
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))


def new_key() -> str:
    """A fresh key in its written form."""
    return base64.b64encode(secrets.token_bytes(LENGTH)).decode()


def load(sources: Sequence[KeySource], current: str) -> Keyring:
    """Fetch every key of a ring; `current` wraps what is new.

    Raises:
        SetupError: a key that is not there or cannot be read; names its id, never what was read.
        UsageError: an id twice, an id that is no name, or a current key that is not among them.
    """
    ids = [source.id for source in sources]
    if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise UsageError(f"two keys are called {twice[0]!r}")
    return Keyring(current, {source.id: _decoded(source.id, _fetched(source)) for source in sources})


def _fetched(source: KeySource) -> str:
    if source.written is not None:
        return source.written
    if not source.command:
        raise UsageError(f"the key {source.id!r} is neither given nor printed by a command")
    try:
        done = subprocess.run(
            list(source.command), capture_output=True, timeout=COMMAND_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        return done.stdout.decode("ascii")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        # What the command printed may be the key, or half of it.
        raise SetupError(
            f"the key {source.id!r} does not come from its command: {type(error).__name__}",
            hint=f"run {source.command[0]} by hand",
        ) from None


def _decoded(id_: str, written: str) -> bytes:
    try:
        key = base64.b64decode(written.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != LENGTH:
        raise SetupError(
            f"the key {id_!r} is not {LENGTH} bytes in base64", hint="`dataswarm memory rotate --new-key` makes one"
        )
    return key


def beside(path: Path, id_: str = "local") -> Keyring:
    """The ring of a key file of our own, made on first use, readable to its owner alone.

    Any number of processes may do this at once: one of them makes the file, all read the same key.

    Raises:
        SetupError: the file cannot be made or read, or others than its owner may read it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(new_key() + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)  # fails where another process was first; the file is whole from its first moment
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        if path.stat().st_mode & 0o077:
            raise SetupError(f"others may read the key file {path}", hint=f"chmod 600 {path}")
        return load([KeySource(id_, path.read_text(encoding="ascii"))], id_)
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            f"the key file {path} cannot be made or read: {type(error).__name__}", hint="name one in memory.keys"
        ) from None
