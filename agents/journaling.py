"""A reasoning run as journaled steps: after `kill -9` no model request or tool call that finished is paid for again.

A pydantic-ai capability, for any run within a task: `Agent(model, capabilities=[Journaled(bench, "why")])`.
The run is simply begun anew; what it had finished comes from the journal, in order, and it goes on from there. Only
the request in flight at the moment of death is paid twice, for nobody knows its answer. pydantic-ai is an extra: import
this module where a model is configured.

**The rule.** Steps are named `<run>/request/<ordinal>` and `<run>/tool/<ordinal>/<call id>/<arguments>`. A remembered
reply belongs to what was asked: it is kept with a hash of messages, instructions and tools (not of the model, nor of
times and ids). Where a resumed run asks something else at the same ordinal, it is refused (`changed="refuse"`, the
default: tools may have done something on the strength of the old reply), or that request and all after it are asked
anew (`changed="ask"`, for runs whose tools only read). Calls of tools are guarded by the journal alone: a tool that
changes something outside does it through `bench.effect`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel
from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.capabilities import (
    AbstractCapability,
    CapabilityOrdering,
    ValidatedToolArgs,
    WrapModelRequestHandler,
    WrapToolExecuteHandler,
)
from pydantic_ai.exceptions import ModelRetry, ToolFailed, ToolFailedError, ToolRetryError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from config.errors import PermanentError, UsageError
from memory.records import JSON

T = TypeVar("T")
VERSION = 1  # of the stored forms below
LONGEST_ID = 80
LONGEST_RUN = 200  # with ordinal, id and hash it stays below the length of a step's name


class Steps(Protocol):
    """Where steps are remembered: a task's journal, or the bench."""

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], shape: type[T], /) -> T:
        """Run once, remember the result."""


class Reply(BaseModel):
    """A finished model request: what was asked, as a hash, and the response in pydantic-ai's own stored form."""

    version: int
    request: str
    response: dict[str, Any]


class Outcome(BaseModel):
    """A finished tool call: what it returned, or what it told the model to do better."""

    version: int
    state: Literal["returned", "retry", "failed"]
    parts: list[dict[str, Any]]
    metadata: JSON = None
    tools: list[str] | None = None


class _UnfinishedError(Exception):
    """A response that is not final (a background job): passed on, not remembered."""

    def __init__(self, response: ModelResponse) -> None:
        self.response = response


@dataclass
class Journaled(AbstractCapability[Any]):
    """Makes each model request and each tool call of a run a step of the task.

    Args:
        steps: the task's journal or bench.
        run: a name that is this run's alone within the task; the same after a crash.
        changed: what happens to a remembered reply whose request is another now; see the module.

    Raises:
        UsageError: the name is empty, too long or not printable.
        PermanentError: (from the run) a remembered reply belongs to another request, or its stored form is unknown.
        LeaseLostError: (from the run) the task is no longer ours; nothing more was asked.
    """

    steps: Steps
    run: str
    changed: Literal["refuse", "ask"] = "refuse"

    def __post_init__(self) -> None:
        if not self.run or not self.run.isprintable() or len(self.run) > LONGEST_RUN:
            raise UsageError(f"run must have 1 to {LONGEST_RUN} printable characters")

    def get_ordering(self) -> CapabilityOrdering:
        """Innermost: what other capabilities add to a request is part of what is remembered."""
        return CapabilityOrdering(position="innermost")

    async def wrap_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, handler: WrapModelRequestHandler
    ) -> ModelResponse:
        """The remembered response, or the model's."""
        asked = fingerprint(request_context)
        name = f"{self.run}/request/{ctx.run_step}"

        async def ask() -> Reply:
            response = await handler(request_context)
            if response.state != "complete":
                raise _UnfinishedError(response)
            return Reply(version=VERSION, request=asked, response=_dump(response))

        try:
            reply = await self.steps.step(name, ask, Reply)
            if reply.request != asked:
                if self.changed == "refuse":
                    raise PermanentError(
                        f"the request {ctx.run_step} of the run {self.run} is not the one that was answered before",
                        hint="cancel the task and enqueue it anew, or run it with the release that began it",
                    )
                reply = await self.steps.step(f"{name}/{asked}", ask, Reply)
        except _UnfinishedError as unfinished:
            return unfinished.response
        response = _load(reply.version, reply.response, name)
        if not isinstance(response, ModelResponse):
            raise _unknown(name)
        return response

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """The remembered outcome, or the tool's."""
        del tool_def
        name = (
            f"{self.run}/tool/{ctx.run_step}/{_short(call.tool_call_id)}/{_hash([call.tool_name, call.args_as_dict()])}"
        )
        raised: Exception | None = None

        async def perform() -> Outcome:
            nonlocal raised
            try:
                return _returned(call.tool_name, await handler(args))
            except (ToolRetryError, ModelRetry, ToolFailedError, ToolFailed) as error:
                raised, said = error, _said(error)
                if said is None:
                    raise
            state: Literal["retry", "failed"] = "retry" if isinstance(raised, ToolRetryError | ModelRetry) else "failed"
            return Outcome(version=VERSION, state=state, parts=[_dump(_returning(call.tool_name, said))])

        outcome = await self.steps.step(name, perform, Outcome)
        if raised is not None:
            raise raised
        content = [_content(outcome.version, part, name) for part in outcome.parts]
        if outcome.state == "retry":
            raise ModelRetry(str(content[0]))
        if outcome.state == "failed":
            raise ToolFailed(str(content[0]))
        if len(content) == 1 and outcome.metadata is None and outcome.tools is None:
            return content[0]
        more = content[1] if len(content) > 1 else None
        return ToolReturn(content[0], content=more, metadata=outcome.metadata, tools=outcome.tools)


@dataclass
class Paid(AbstractCapability[Any]):
    """Tells what each request cost that a model really answered; a remembered reply costs nothing.

    Args:
        told: gets tokens and, where the price is known, the cost.
    """

    told: Callable[[RequestUsage], None]

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Called behind the journal: only what went to the model comes by here."""
        del ctx, request_context
        self.told(response.usage)
        return response


def fingerprint(request: ModelRequestContext) -> str:
    """A hash of what a model is asked: messages, instructions, tools and the form of the answer."""
    parameters = request.model_request_parameters
    messages: list[dict[str, Any]] = ModelMessagesTypeAdapter.dump_python(request.messages, mode="json")
    asked = {
        "messages": [
            {
                "kind": message["kind"],
                "instructions": message.get("instructions"),
                "parts": [{k: v for k, v in part.items() if k != "timestamp"} for part in message["parts"]],
            }
            for message in messages
        ],
        "tools": [
            [tool.name, tool.description, tool.parameters_json_schema]
            for tool in (*parameters.function_tools, *parameters.output_tools)
        ],
        "output": parameters.output_object.json_schema if parameters.output_object is not None else None,
    }
    return _hash(asked)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()[:16]


def _short(call_id: str) -> str:
    """The provider's id of a call; some are longer than the name of a step may be."""
    return call_id if len(call_id) <= LONGEST_ID and call_id.isprintable() else _hash(call_id)


def _returned(tool: str, value: Any) -> Outcome:
    if not isinstance(value, ToolReturn):
        return Outcome(version=VERSION, state="returned", parts=[_dump(_returning(tool, value))])
    parts = [_dump(_returning(tool, value.return_value))]
    if value.content is not None:
        parts.append(_dump(ModelRequest(parts=[UserPromptPart(value.content)])))
    return Outcome(
        version=VERSION, state="returned", parts=parts, metadata=_storable(value.metadata), tools=value.tools
    )


def _returning(tool: str, value: Any) -> ModelRequest:
    """A value as it stands in a conversation: pydantic-ai knows how to store and read that, files included."""
    return ModelRequest(parts=[ToolReturnPart(tool_name=tool, content=value, tool_call_id="")])


def _said(error: Exception) -> str | None:
    """What a tool told the model; None where it is more than text: then the call is simply made again."""
    if isinstance(error, ModelRetry | ToolFailed):
        content: object = error.message
    elif isinstance(error, ToolRetryError):
        content = error.tool_retry.content
    else:
        content = error.tool_failed.content if isinstance(error, ToolFailedError) else None
    return content if isinstance(content, str) else None


def _dump(message: ModelMessage) -> dict[str, Any]:
    (dumped,) = ModelMessagesTypeAdapter.dump_python([message], mode="json")
    storable: dict[str, Any] = _storable(dumped)
    return storable


def _storable(value: JSON) -> JSON:
    """What a model or a tool said must not fail to be kept: PostgreSQL's JSON has no NUL and no half characters."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_storable(key): _storable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(part) for part in value]
    return value


def _load(version: int, stored: Mapping[str, Any], name: str) -> ModelMessage:
    if version != VERSION:
        raise _unknown(name)
    try:
        (message,) = ModelMessagesTypeAdapter.validate_python([stored])
    except ValueError:
        raise _unknown(name) from None  # the validation error would quote what was said
    return message


def _content(version: int, stored: Mapping[str, Any], name: str) -> Any:
    message = _load(version, stored, name)
    part = message.parts[0]
    if not isinstance(part, ToolReturnPart | UserPromptPart):
        raise _unknown(name)
    return part.content


def _unknown(name: str) -> PermanentError:
    return PermanentError(
        f"the step {name} was stored in a form that this release does not know",
        hint="cancel the task and enqueue it anew, or run it with the release that began it",
    )
