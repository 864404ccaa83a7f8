"""sqllineage answers here: a line of JSON in, a line of JSON out. Imports nothing of ours."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from time import perf_counter
from typing import Any

DIALECTS = {"spark": "sparksql"}
DEFAULT = "<default>."


def _runner(question: dict[str, Any]) -> Any:
    metadata = import_module("sqllineage.core.metadata.dummy").DummyMetaDataProvider  # only in its own Python
    runner = import_module("sqllineage.runner").LineageRunner
    sql, default = question["sql"], question["default_schema"]
    start = sql.lstrip().lower()
    if start.startswith(("select", "with", "from")) and ";" not in sql.rstrip().rstrip(";") and " into " not in start:
        sql = f"create table result as {sql}"
    tables = {(t if "." in t else DEFAULT + t): c for t, c in question["schema"].items()}
    for table, columns in list(tables.items()):
        if default and table.startswith(f"{default}."):
            tables[DEFAULT + table.split(".", 1)[1]] = columns
    dialect = DIALECTS.get(question["dialect"], question["dialect"])
    return runner(sql, dialect=dialect, metadata_provider=metadata(tables), silent_mode=True)


def _edges(question: dict[str, Any]) -> list[list[str]]:
    found = []
    for path in _runner(question).get_column_lineage():
        source, target = path[0], path[-1]
        found.append([_table(target), target.raw_name, _table(source), source.raw_name])
    return found


def _table(column: Any) -> str:
    return str(column.parent).removeprefix(DEFAULT)


def main() -> None:
    """Answer until there are no more questions."""
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "edges":
            try:
                answer: dict[str, Any] = {"edges": _edges(order["question"])}
            except Exception as error:  # noqa: BLE001 - whatever it raises, it did not answer
                answer = {"edges": [], "error": repr(error)}
        else:
            began, unanswered = perf_counter(), 0
            for _ in range(order["rounds"]):
                for question in order["questions"]:
                    try:
                        _edges(question)
                    except Exception:  # noqa: BLE001 - its time counts as if it had answered
                        unanswered += 1
            answer = {"seconds": perf_counter() - began, "unanswered": unanswered}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
