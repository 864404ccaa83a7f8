"""An embedded ClickHouse in a process of its own, which runs this file and nothing else of the project.

chdb keeps one directory open a process; a session of it cannot leave read-only mode again, and after a statement that
failed it may hand out rows of it with the next answer. So each look gets a session: it opens the directory, answers
one line of JSON with another, and lets go of the directory. A look that comes soon finds the process there, for loading
the library takes longer than most looks; chdb loses some memory and threads with each session, so the process ends
after a number of them, after a while without any, and when its input ends, whatever it is doing then.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import tempfile
import threading
from typing import Any

_MOST_SESSIONS = 20
_IDLE_SECONDS = 5.0


def main() -> None:
    """Answer until told to end."""
    # What the library prints goes elsewhere: one descriptor speaks to the parent, one keeps the complaints.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    complaints = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
    os.dup2(complaints.fileno(), 1)
    os.dup2(complaints.fileno(), 2)
    asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    # chdb loads pyarrow where there is one, a third of its loading, for formats that nobody asks for here.
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    session: Any = None
    sessions = 0
    while True:
        try:
            request = asked.get(timeout=_IDLE_SECONDS if session is None else None)
        except queue.Empty:
            break
        answer: dict[str, Any] = {}
        try:
            if "open" in request:
                from chdb.session import Session  # noqa: PLC0415 - loading it takes half a second

                complaints.truncate(complaints.seek(0))
                session = Session(request["open"])  # type: ignore[no-untyped-call]
                sessions += 1
            elif "close" in request:
                session.close()
                session = None
            else:
                found = session.query(request["sql"], request["format"])
                text = found.bytes().decode(errors="replace") if found.size() else ""
                answer = {"text": text, "written": found.rows_written()}
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            complaints.seek(0)
            answer = {"error": f"{error}\n{complaints.read().decode(errors='replace')}"}
        print(json.dumps(answer), file=answers, flush=True)
        if session is None and sessions >= _MOST_SESSIONS:
            break
    os._exit(0)  # there is nothing to put away, and the library's own way out takes its time


def _listen(asked: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        asked.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
