"""What was last known of each file, for as long as this process lives: a file is read again when its `stat` changed."""

from __future__ import annotations

from dataclasses import dataclass

from config.errors import TransientError
from integrations.duck import Session
from integrations.warehouses.files.folder import PARQUET, DataFile, FileTable, Folder
from integrations.warehouses.files.structure import Structure, read_footers, read_structure


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: tuple[int, int, int]
    structure: Structure


class Known:
    """The structures of files, by path."""

    def __init__(self, source: str, sample: int) -> None:
        self._source = source
        self._sample = sample
        self._kept: dict[str, _Kept] = {}

    def structures(self, session: Session, table: FileTable) -> dict[str, Structure]:
        """What each file of a table holds; a file that is being written keeps what was known of it.

        Files without a byte say nothing beside others. TransientError where nothing is known of a file that is not
        whole, SourceError where one is broken: a table is never less than it is because a look came at a bad moment.
        """
        files = [f for f in table.files if not f.is_empty] or list(table.files)
        stale = [f for f in files if not self._is_fresh(f)]
        if table.format == PARQUET and len(stale) > 1:
            self._read_at_once(session, stale)
            stale = [f for f in stale if not self._is_fresh(f)]
        for file in stale:
            try:
                found = read_structure(session, file, table.format, sample=self._sample, source=self._source)
            except TransientError:
                if file.path not in self._kept:
                    raise
            else:
                self._kept[file.path] = _Kept(file.stamp, found)
        return {f.path: self._kept[f.path].structure for f in files}

    def forget(self, folder: Folder) -> None:
        """Keep nothing of files that are gone."""
        present = {f.path for table in folder.tables for f in table.files}
        self._kept = {path: kept for path, kept in self._kept.items() if path in present}

    def _is_fresh(self, file: DataFile) -> bool:
        kept = self._kept.get(file.path)
        return kept is not None and kept.stamp == file.stamp

    def _read_at_once(self, session: Session, files: list[DataFile]) -> None:
        """Read many footers in one go; where one is broken, none is kept and each is read by itself afterwards."""
        try:
            found = read_footers(session, files)
        except session.invalid:
            return
        for file in files:
            self._kept[file.path] = _Kept(file.stamp, found[file.path])
