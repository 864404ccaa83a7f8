"""A run begun anew takes what it had finished from its steps: replies, tools' outcomes, refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from pydantic import TypeAdapter
from pydantic_ai import Agent, BinaryContent, ToolReturn
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage, UsageLimits

from agents.journaling import Journaled, Paid
from agents.playbook import Proposal
from agents.reasoning import ModelReasoner, Spent, within
from config.errors import PermanentError, UsageError
from config.settings import ModelSettings

T = TypeVar("T")


class Memo:
    """Steps in memory, each through its JSON form as in the journal."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], shape: type[T], /) -> T:
        """Run once, remember."""
        adapter = TypeAdapter(shape)
        if name not in self.stored:
            self.stored[name] = adapter.dump_json(await produce())
        return adapter.validate_json(self.stored[name])


class Died(BaseException):
    """The process ends here."""


class Script:
    """A model that answers from a list and counts."""

    def __init__(self, *replies: ModelResponse) -> None:
        self.replies = list(replies)
        self.asked: list[list[ModelMessage]] = []

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        """The next reply, by how many the conversation holds."""
        self.asked.append(messages)
        given = sum(isinstance(message, ModelResponse) for message in messages)
        reply = self.replies[given]
        reply.usage = RequestUsage(input_tokens=10, output_tokens=5)
        return reply


def call(tool: str, id_: str = "call_1", **arguments: Any) -> ModelResponse:
    """A reply that calls a tool."""
    return ModelResponse(parts=[ToolCallPart(tool, arguments, tool_call_id=id_)])


def says(text: str) -> ModelResponse:
    """A reply of text."""
    return ModelResponse(parts=[TextPart(text)])


def mind(script: Script, memo: Memo, *, instructions: str = "look", **more: Any) -> Agent[None, str]:
    """An agent over a script, remembering."""
    return Agent(
        FunctionModel(script), instructions=instructions, capabilities=[Journaled(memo, "why", **more)], retries=3
    )


async def test_a_run_begun_anew_pays_for_nothing_that_finished() -> None:
    """Death in the second tool: the two requests and the first tool are remembered, the answer is the same."""
    memo, looked = Memo(), list[str]()
    script = Script(call("look", table="a"), call("look", table="b"), says("a before b"))
    alive = False

    def look(table: str) -> dict[str, int]:
        """Count rows."""
        if table == "b" and not alive:
            raise Died
        looked.append(table)
        return {"rows": len(looked)}

    async def run() -> Any:
        agent = mind(script, memo)
        agent.tool_plain(look)
        return await agent.run("which first?", usage_limits=UsageLimits(request_limit=3))

    with pytest.raises(Died):
        await run()
    assert len(script.asked) == 2
    alive = True
    result = await run()
    assert (result.output, len(script.asked), looked) == ("a before b", 3, ["a", "b"])
    again = await run()
    assert (again.output, len(script.asked), looked) == ("a before b", 3, ["a", "b"])
    # Usage is that of the conversation, the same however often it was begun.
    assert result.usage.input_tokens == again.usage.input_tokens == 30
    assert result.usage.requests == again.usage.requests == 3
    assert [type(m) for m in result.all_messages()] == [type(m) for m in again.all_messages()]


async def test_a_changed_request_is_refused_or_asked_anew() -> None:
    """A reply is never taken for the answer to another question."""
    memo = Memo()
    await mind(Script(says("one")), memo).run("first?")
    for changed in (
        mind(Script(says("two")), memo).run("second?"),
        mind(Script(says("two")), memo, instructions="look twice").run("first?"),
    ):
        with pytest.raises(PermanentError, match="not the one that was answered"):
            await changed
    asking = Script(says("two"))
    assert (await mind(asking, memo, changed="ask").run("second?")).output == "two"
    assert (await mind(asking, memo, changed="ask").run("second?")).output == "two"
    assert (await mind(asking, memo, changed="ask").run("first?")).output == "one"
    assert len(asking.asked) == 1


async def test_another_model_does_not_change_the_question() -> None:
    """What one model answered is not asked of the next."""
    memo = Memo()
    await mind(Script(says("one")), memo).run("first?")
    silent = Script()
    agent = Agent(FunctionModel(silent, model_name="other"), instructions="look", capabilities=[Journaled(memo, "why")])
    assert (await agent.run("first?")).output == "one"
    assert silent.asked == []


async def test_a_form_of_another_release_is_refused() -> None:
    """A stored reply of another version, or one that cannot be read, is not guessed at."""
    for wrong in ((b'"version":1', b'"version":2'), (b'"kind":"text"', b'"kind":1'), (b'"part_kind":"text"', b'"x":1')):
        memo = Memo()
        await mind(Script(says("one")), memo).run("first?")
        (name,) = memo.stored
        stored = memo.stored[name].replace(*wrong)
        if stored == memo.stored[name]:
            continue
        memo.stored[name] = stored
        with pytest.raises(PermanentError, match="form"):
            await mind(Script(), memo).run("first?")


@pytest.mark.parametrize("error", [ModelRetry("try b"), ToolFailed("gone for good")])
async def test_what_a_tool_refused_is_remembered(error: Exception) -> None:
    """A tool that told the model to do better is not called again, and the model is told the same."""
    memo, calls = Memo(), list[str]()
    script = Script(call("look", "c1", table="a"), call("look", "c2", table="b"), says("done"))

    def look(table: str) -> str:
        """Look at it."""
        calls.append(table)
        if table == "a":
            raise error
        return "well"

    told = []
    for _ in range(2):
        agent = mind(script, memo)
        agent.tool_plain(look)
        result = await agent.run("?")
        assert result.output == "done"
        told.append([p.content for m in result.all_messages() for p in m.parts if isinstance(p, ToolReturnPart)])
    assert calls == ["a", "b"]
    assert len(script.asked) == 3
    assert told[0] == told[1]


async def test_calls_are_told_apart_whatever_the_server_calls_them() -> None:
    """Some servers number every reply's calls from one: the ordinal of the request tells them apart."""
    memo, calls = Memo(), list[str]()
    both = ModelResponse(parts=[ToolCallPart("look", {"table": t}, tool_call_id=f"call_{t}") for t in ("a", "b")])
    script = Script(both, call("look", "call_a", table="a"), says("done"))

    def look(table: str) -> str:
        """Look."""
        calls.append(table)
        return f"saw {table}"

    for _ in range(2):
        agent = mind(script, memo)
        agent.tool_plain(look)
        assert (await agent.run("?")).output == "done"
    assert sorted(calls) == ["a", "a", "b"]


async def test_files_and_extra_content_come_back() -> None:
    """A tool's picture, the text beside it and its metadata survive; NUL and half characters do not break a run."""
    memo = Memo()
    script = Script(call("draw", "x" * 300), says("nul \0 half \ud800"))
    drawn = ToolReturn(BinaryContent(b"\x89\xff\x00", media_type="image/png"), content=["see"], metadata={"by": "me"})

    def draw() -> ToolReturn:
        """Draw."""
        return drawn

    seen = []
    for _ in range(2):
        agent = mind(script, memo)
        agent.tool_plain(draw)
        result = await agent.run("?")
        (part,) = [p for m in result.all_messages() for p in m.parts if isinstance(p, ToolReturnPart)]
        seen.append((part.content, part.metadata, result.output))
    assert seen[0] == seen[1]
    content, metadata, output = seen[0]
    assert isinstance(content, BinaryContent)
    assert (content.data, metadata) == (b"\x89\xff\x00", {"by": "me"})
    assert output == "nul \N{REPLACEMENT CHARACTER} half ?"
    assert max(map(len, memo.stored)) <= 400


async def test_a_streamed_run_is_remembered_too() -> None:
    """The second time the text comes from the journal in one piece."""
    memo, asked = Memo(), list[int]()

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> Any:
        asked.append(1)
        yield "in "
        yield "pieces"

    for _ in range(2):
        agent = Agent(FunctionModel(stream_function=stream), capabilities=[Journaled(memo, "why")])
        async with agent.run_stream("?") as result:
            assert await result.get_output() == "in pieces"
    assert asked == [1]


async def test_only_what_was_paid_is_told() -> None:
    """A remembered reply costs nothing."""
    memo, told = Memo(), list[RequestUsage]()
    script = Script(says("one"))
    for _ in range(2):
        agent = Agent(FunctionModel(script), capabilities=[Paid(told.append), Journaled(memo, "why")])
        await agent.run("?")
    assert [usage.input_tokens for usage in told] == [10]


@pytest.mark.parametrize("run", ["", "x" * 201, "line\nbreak"])
def test_an_unfit_name_is_refused(run: str) -> None:
    """Before anything is asked."""
    with pytest.raises(UsageError, match="run"):
        Journaled(Memo(), run)


class Diagnoses:
    """A model that first errs, then answers; dies where it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.dies_at: int | None = 2

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        """The next answer."""
        given = sum(isinstance(message, ModelResponse) for message in messages)
        if given + 1 == self.dies_at:
            raise Died
        self.asked += 1
        answer = {"cause": "gremlins" if given == 0 else "renamed", "subject": "warehouse://w/t", "confidence": 0.9}
        reply = ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, answer)])
        reply.usage = RequestUsage(input_tokens=100, output_tokens=10)
        return reply


async def test_the_runtime_s_door_remembers_within_a_task() -> None:
    """Killed between two requests, the proposal costs each request once, and each is told once."""
    memo, model, spent = Memo(), Diagnoses(), list[Spent]()
    door = within(ModelReasoner(FunctionModel(model), ModelSettings(name="scripted"), spent=spent.append), memo)
    assert isinstance(door, ModelReasoner)
    with pytest.raises(Died):
        await door.propose("why?", {"table": "t"}, {"renamed": "a column"})
    model.dies_at = None
    first = await door.propose("why?", {"table": "t"}, {"renamed": "a column"})
    assert isinstance(first, Proposal)
    assert (first.cause, model.asked) == ("renamed", 2)
    assert await door.propose("why?", {"table": "t"}, {"renamed": "a column"}) == first
    assert model.asked == 2
    # Other evidence is another question.
    assert await door.propose("why?", {"table": "u"}, {"renamed": "a column"}) is not None
    assert model.asked == 4
    assert [s.input_tokens for s in spent] == [100] * 4


async def test_a_door_that_cannot_remember_is_handed_on() -> None:
    """No door, or one that is not ours, is left as it is."""

    class Other:
        async def propose(self, question: str, evidence: Any, causes: Any) -> Proposal | None:
            """Nothing."""

    other = Other()
    assert within(other, Memo()) is other
    assert within(None, Memo()) is None
