"""Kill -9 in the middle of a reasoning run: no answer is paid for again, nothing that a tool did is done again."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import psycopg
import pytest

from config.assets import Asset
from memory.connection.database import Database
from memory.queue import effects, kinds, tasks
from memory.queue.journal import Journal
from memory.queue.kinds import Kind
from memory.records import NewTask, TaskState
from tests.chaos.thinker import DOOR
from tests.pace import PATIENCE

pytestmark = pytest.mark.chaos
AT_THE_DOOR = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
REPLIES: list[dict[str, Any]] = [
    {"tool": "look", "arguments": {"table": "orders"}},
    {"tool": "mend", "arguments": {"table": "orders"}},
    {"text": "mended"},
]


class Wire(BaseHTTPRequestHandler):
    """Speaks the chat-completions wire format; counts which turn of the conversation was asked for."""

    asked: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        """Answer by how many replies the conversation holds already."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        self.asked.append(turn)
        reply = REPLIES[turn]
        message: dict[str, Any] = {"role": "assistant", "content": reply.get("text")}
        if "tool" in reply:
            function = {"name": reply["tool"], "arguments": json.dumps(reply["arguments"])}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        body = json.dumps(
            {
                "id": f"chat_{turn}",
                "object": "chat.completion",
                "created": 1,
                "model": request["model"],
                "choices": [
                    {"index": 0, "finish_reason": "tool_calls" if "tool" in reply else "stop", "message": message}
                ],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def wire() -> Iterator[ThreadingHTTPServer]:
    """A loopback server that speaks the real wire format."""
    Wire.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Wire)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_killed_reasoner_pays_for_nothing_twice(
    db: Database, database_url: str, owner_url: str, wire: ThreadingHTTPServer
) -> None:
    """Three requests and two tools; killed after the second reply, its tool's deed done and its outcome unknown."""
    async with db.transaction() as tx:
        await kinds.declare(tx, [Kind("thinker", "think")])
    async with db.transaction() as tx:
        (task_id,) = await tasks.enqueue(tx, [NewTask("thinker", "think", Asset("warehouse", "shop"))])
    assert task_id is not None
    arguments = [database_url, f"http://127.0.0.1:{wire.server_port}/v1", owner_url]
    command = [sys.executable, "-m", "tests.chaos.thinker", *arguments]
    with psycopg.connect(owner_url, autocommit=True) as admin:
        admin.execute("CREATE TABLE public.outside (deed text, target text)")
        admin.execute("SELECT pg_advisory_lock(%s)", (DOOR,))
        first = await asyncio.create_subprocess_exec(*command)
        try:
            async with asyncio.timeout(PATIENCE):
                while not admin.execute(AT_THE_DOOR, (DOOR,)).fetchone():
                    assert first.returncode is None
                    await asyncio.sleep(0.02)
        finally:
            first.kill()
            await first.wait()
        assert Wire.asked == [0, 1]
        admin.execute("SELECT pg_advisory_unlock(%s)", (DOOR,))
        admin.execute("UPDATE dataswarm.tasks SET lease_until = now() - interval '1 second'")
        second = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(PATIENCE):
            said, _ = await second.communicate()
        assert (second.returncode, said) == (0, b"mended")
        assert Wire.asked == [0, 1, 2]
        assert sorted(admin.execute("SELECT deed, target FROM public.outside").fetchall()) == [
            ("look", "orders"),
            ("mend", "orders"),
        ]
    async with db.transaction() as tx:
        task = await tasks.get(tx, task_id)
        (effect,) = await effects.of_task(tx, task_id)
    assert task is not None
    assert (task.state, task.attempt) == (TaskState.SUCCEEDED, 2)
    assert task.result == {"answer": "mended", "tokens": 330}
    assert (effect.state, effect.result) == ("done", {"probed": True})
    steps = await Journal(db, task).steps()
    assert [(step.name.split("/")[1:3], step.attempt) for step in steps] == [
        (["request", "1"], 1),
        (["tool", "1"], 1),
        (["request", "2"], 1),
        (["tool", "2"], 2),
        (["request", "3"], 2),
    ]
