"""DDL from files: one, or a folder of them in the order of their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config.errors import UsageError

SUFFIXES: Final = (".sql", ".ddl")


@dataclass(frozen=True, slots=True)
class Script:
    """A file of statements."""

    name: str
    text: str


def scripts(path: Path) -> list[Script]:
    """The script at a path, or those below a folder, sorted by their paths.

    Raises:
        UsageError: it cannot be read, or there is none in the folder.
    """
    if not path.is_dir():
        return [Script(str(path), _text(path))]
    found = sorted(f for f in path.rglob("*") if f.is_file() and f.suffix.lower() in SUFFIXES)
    if not found:
        raise UsageError(f"there is no {' or '.join(SUFFIXES)} file in {path}")
    return [Script(str(f), _text(f)) for f in found]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: a byte at {error.start} cannot be read") from None
