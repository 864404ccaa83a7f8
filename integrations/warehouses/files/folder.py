"""What lies in a folder: which files make which table, by their names and what the file system says of them.

A file in the folder is a table; so is a sub-folder with everything beneath it. Folders called `key=value` are
partitions. What begins with a dot or an underscore is somebody's bookkeeping or half done, and left out.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from config.errors import SetupError, SourceError
from integrations.warehouses.files.options import FilesOptions

PARQUET: Final = "parquet"
CSV: Final = "csv"
JSON: Final = "json"
_SUFFIXES: Final = {
    **dict.fromkeys((".parquet", ".parq", ".pq"), PARQUET),
    **dict.fromkeys((".csv", ".tsv", ".csv.gz", ".tsv.gz"), CSV),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz"), JSON),
}
_PARTITION: Final = re.compile(r"([^=/]+)=(.*)", re.DOTALL)
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file: its path, how messages call it, what `stat` said, and the partition it lies in."""

    path: str
    label: str
    stamp: tuple[int, int, int]
    partition: tuple[tuple[str, str | None], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Has it no byte at all?"""
        return self.stamp[0] == 0


@dataclass(frozen=True, slots=True)
class FileTable:
    """The files of one table, all of one format, all partitioned by the same keys."""

    name: str
    format: str
    files: tuple[DataFile, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """All tables of a source, under the name of their schema."""

    schema: str
    tables: tuple[FileTable, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of names, sizes and times."""
        digest = hashlib.sha256()
        for table in self.tables:
            digest.update(repr((table.name, [(f.label, f.stamp) for f in table.files])).encode())
        return digest.hexdigest()


def look(options: FilesOptions, source: str) -> Folder:
    """List the source; SourceError where it went away or its files contradict, SetupError where it is shut."""
    root, entries = _entries(options.path, source)
    walk = _Walk(root, options, source)
    tables: dict[str, FileTable] = {}
    for table in walk.tables(entries):
        other = tables.setdefault(table.name.lower(), table)
        if other is not table:
            raise SourceError(
                f"source {source}: {other.files[0].label} and {table.files[0].label} would both be table {table.name}",
                hint="rename one, or leave one out by `exclude`",
            )
    if not tables:
        # Also what a mount point looks like with nothing mounted; never the news that every table was dropped.
        raise SourceError(
            f"source {source}: there is no data file in {options.path}",
            hint="is it mounted, and do `path`, `include` and `exclude` say what they should?",
        )
    return Folder(options.schema_name or root.name or "files", tuple(tables[name] for name in sorted(tables)))


def _entries(path: Path, source: str) -> tuple[Path, list[Path]]:
    """The folder everything is relative to, and what lies in it."""
    try:
        if path.is_dir():
            return path.absolute(), sorted(path.absolute().iterdir())
        if path.exists():
            return path.absolute().parent, [path.absolute()]
    except OSError as error:
        raise SetupError(
            f"source {source}: {path} cannot be read: {error.strerror}", hint="give this process the right to read it"
        ) from None
    parts = path.absolute().parts
    fixed = next((i for i, part in enumerate(parts) if _WILD & set(part)), None)
    if fixed is not None and (root := Path(*parts[:fixed])).is_dir():
        return root, sorted(root.glob(str(Path(*parts[fixed:]))))
    raise SourceError(f"source {source}: there is nothing at {path}", hint="is it mounted, and is `path` right?")


class _Walk:
    """One walk through a folder."""

    def __init__(self, root: Path, options: FilesOptions, source: str) -> None:
        self._root = root
        self._options = options
        self._source = source

    def tables(self, entries: Sequence[Path]) -> Iterator[FileTable]:
        partitioned: list[tuple[str, DataFile]] = []
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            if not entry.is_dir():
                found = self._file(entry)
                if found:
                    yield FileTable(_stem(entry.name), found[0], (found[1],))
            elif _PARTITION.fullmatch(entry.name):
                partitioned += self._beneath(entry)
            else:
                files = list(self._beneath(entry))
                if files:
                    yield self._table(entry.name, files)
        if partitioned:
            # The folder itself is the table when its own sub-folders are partitions.
            yield self._table(self._root.name, partitioned)

    def _beneath(self, folder: Path) -> Iterator[tuple[str, DataFile]]:
        def refuse(error: OSError) -> None:
            raise SetupError(
                f"source {self._source}: {error.filename} cannot be read: {error.strerror}",
                hint="give this process the right to read it",
            )

        for place, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
            for name in sorted(names):
                found = None if name.startswith((".", "_")) else self._file(Path(place) / name)
                if found:
                    yield found

    def _file(self, path: Path) -> tuple[str, DataFile] | None:
        """The format and the file; None for what is no data, or went away meanwhile."""
        kind = _format(path.name)
        label = path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.name
        if kind is None or not self._options.looks_at(label):
            return None
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SetupError(
                f"source {self._source}: {label} cannot be looked at: {error.strerror}",
                hint="give this process the right to read it",
            ) from None
        partition = tuple(
            (unquote(m[1]), None if m[2] == _NULL else unquote(m[2]))
            for part in Path(label).parts[:-1]
            if (m := _PARTITION.fullmatch(part))
        )
        stamp = status.st_size, status.st_mtime_ns, status.st_ino
        return kind, DataFile(str(path), label, stamp, partition)

    def _table(self, name: str, found: Sequence[tuple[str, DataFile]]) -> FileTable:
        first_kind, first = found[0]
        keys = tuple(key for key, _ in first.partition)
        for kind, file in found:
            if kind != first_kind:
                raise SourceError(
                    f"source {self._source}: table {name} has {first_kind} and {kind}"
                    f" ({first.label}, {file.label}); the files of a folder must be of one kind",
                    hint="move one kind to a folder of its own, or leave it out by `exclude`",
                )
            if tuple(key for key, _ in file.partition) != keys:
                raise SourceError(
                    f"source {self._source}: {first.label} and {file.label} of table {name} differ in partitions",
                    hint="put every file under the same `key=value` folders",
                )
        return FileTable(name, first_kind, tuple(file for _, file in found), keys)


def _format(name: str) -> str | None:
    suffix = _suffix(name)
    return _SUFFIXES[suffix] if suffix else None


def _suffix(name: str) -> str:
    small = name.lower()
    fitting = [s for s in _SUFFIXES if small.endswith(s) and len(s) < len(small)]
    return max(fitting, key=len, default="")


def _stem(name: str) -> str:
    return name[: -len(_suffix(name))]
