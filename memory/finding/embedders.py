"""The door to embedding models: any provider of pydantic-ai, any OpenAI-compatible address, sentence-transformers.

pydantic-ai is an extra (`dataswarm[model]`) and imported only when a model is configured. Texts that go through here
are never confidential: those have no row to be embedded from.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

from config.errors import PermanentError, SetupError, SwarmError, TransientError

LONGEST_TEXT = 8_000  # characters of a text that a model is given
SHORTEST_TEXT = 500  # a text that is refused is tried by its first half, down to this
MOST_DIMENSIONS = 16_000  # what a halfvec holds
LOCAL = "sentence-transformers:"
_PASSES = frozenset({408, 409, 425, 429})
_UNUSABLE = frozenset({401, 402, 403, 404, 405})  # of the key or the model: no text of it is to blame
_SERVER_ERRORS = 500
_ASKED = re.compile(r"(.+)@([1-9][0-9]{0,4})\Z")
KEY_HINT = "most providers need a key: embedding.api_key, or the variable the provider's own programs read"


class Embedder(Protocol):
    """Makes vectors of texts. `name` is what its vectors are kept under: another model, another name."""

    @property
    def name(self) -> str:
        """Provider and model."""

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, in the order given.

        Raises:
            TransientError: it may well work the next time.
            SetupError: the model cannot be used as it is configured, whatever the texts.
            PermanentError: the provider refuses these texts.
        """

    async def question(self, text: str) -> list[float]:
        """The vector of a question.

        Raises:
            TransientError: it may well work the next time.
            SetupError: the model cannot be used as it is configured.
            PermanentError: the provider refuses the text.
        """


class ModelEmbedder:
    """Embedder over pydantic-ai. Make one with `from_model`.

    Args:
        name: what its vectors are kept under.
        embedder: pydantic-ai's.
        timeout_seconds: the longest a call may take.
    """

    def __init__(self, name: str, embedder: Any, *, timeout_seconds: float = 60.0) -> None:
        self._name = name
        self._embedder = embedder
        self._timeout = timeout_seconds

    @property
    def name(self) -> str:
        """Provider and model."""
        return self._name

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text; of a single text that is refused, that of the part a small model takes."""
        return await self._taken([text[:LONGEST_TEXT] for text in texts], "document")

    async def question(self, text: str) -> list[float]:
        """The vector of a question."""
        return (await self._taken([text[:LONGEST_TEXT]], "query"))[0]

    async def _taken(self, texts: list[str], purpose: str) -> list[list[float]]:
        """Providers that cut what is too long for them do so; others refuse it, each with words of its own."""
        while True:
            try:
                return await self._embedded(texts, purpose)
            except PermanentError:
                if len(texts) != 1 or len(texts[0]) < 2 * SHORTEST_TEXT:
                    raise
                texts = [texts[0][: len(texts[0]) // 2]]

    async def _embedded(self, texts: list[str], purpose: str) -> list[list[float]]:
        from pydantic_ai.exceptions import AgentRunError, ModelHTTPError, UserError  # noqa: PLC0415 - an extra

        try:
            async with asyncio.timeout(self._timeout):
                result = await self._embedder.embed(texts, input_type=purpose)
        except TimeoutError:
            raise TransientError(f"{self._name} did not answer in {self._timeout:g} seconds") from None
        except ModelHTTPError as error:
            # The body may quote what was sent: it stays out of the message.
            raise _of_status(self._name, error.status_code) from None
        except AgentRunError as error:
            raise TransientError(f"{self._name} could not be asked: {type(error).__name__}") from None
        except UserError as error:
            raise SetupError(f"{self._name} cannot be used: {type(error).__name__}", hint=KEY_HINT) from None
        except Exception as error:  # noqa: BLE001 - a model of this machine fails in any way, and texts wait for it
            raise self._of_library(error) from None
        return checked(self._name, texts, [[float(figure) for figure in vector] for vector in result.embeddings])

    def _of_library(self, error: Exception) -> SwarmError:
        """What a library raised by itself, without its words: they may quote the text."""
        if self._name.startswith(LOCAL) and isinstance(error, OSError | ImportError):
            return SetupError(
                f"{self._name} could not be loaded: {type(error).__name__}",
                hint="name a folder that holds the model, or one of the Hugging Face hub, which is fetched once",
            )
        return PermanentError(f"{self._name} gave no vectors: {type(error).__name__}")


def _of_status(name: str, status: int) -> SwarmError:
    message = f"{name} answered with status {status}"
    if status in _UNUSABLE:
        return SetupError(message, hint="look at embedding.name, embedding.base_url and the key")
    return TransientError(message) if status in _PASSES or status >= _SERVER_ERRORS else PermanentError(message)


def checked(name: str, texts: Sequence[str], vectors: list[list[float]]) -> list[list[float]]:
    """Vectors as they may be stored: one a text, all of one length, finite figures.

    Raises:
        PermanentError: they are not.
    """
    if len(vectors) != len(texts):
        raise PermanentError(f"{name} gave {len(vectors)} vectors for {len(texts)} texts")
    lengths = sorted({len(vector) for vector in vectors})
    if len(lengths) > 1 or lengths == [0]:
        raise PermanentError(f"{name} gave vectors of {' and '.join(map(str, lengths))} dimensions in one answer")
    if not all(math.isfinite(figure) for vector in vectors for figure in vector):
        raise PermanentError(f"{name} gave a vector that holds no number")
    return vectors


def from_model(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    dimensions: int | None = None,
    timeout_seconds: float = 60.0,
) -> ModelEmbedder:
    """An embedder by configuration.

    Args:
        name: provider and model, as `openai:text-embedding-3-small` or `sentence-transformers:all-MiniLM-L6-v2`.
        base_url: any address that speaks OpenAI's embeddings (vLLM, Ollama, llama.cpp); the provider is then `openai`.
        api_key: the provider's key.
        dimensions: ask for shorter vectors, where the model can.
        timeout_seconds: the longest a call may take.

    Raises:
        SetupError: the extra is not installed, or there is no such provider.
    """
    try:
        from pydantic_ai.embeddings import Embedder as Asked  # noqa: PLC0415 - an extra
        from pydantic_ai.embeddings import EmbeddingSettings, infer_embedding_model  # noqa: PLC0415
    except ImportError as error:
        raise SetupError(
            "an embedding model is configured, but pydantic-ai is not installed", hint="pip install 'dataswarm[model]'"
        ) from error
    settings = EmbeddingSettings(dimensions=dimensions) if dimensions is not None else EmbeddingSettings()
    try:
        if base_url is not None or (api_key is not None and name.startswith("openai:")):
            from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel  # noqa: PLC0415
            from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

            provider = OpenAIProvider(base_url=base_url, api_key=api_key or "none")
            model: Any = OpenAIEmbeddingModel(name.partition(":")[2] or name, provider=provider)
        else:
            model = infer_embedding_model(name)
            if name.startswith(LOCAL):
                _quiet()
    except ImportError as error:
        raise SetupError(
            f"the provider of {name} is not installed: {error.name or 'a package'} is missing", hint=_bringing(name)
        ) from None
    except Exception as error:  # noqa: BLE001 - an unknown provider, one without its key: each library raises its own
        raise SetupError(
            f"the embedding model {name} cannot be used: {type(error).__name__}", hint=f"provider:model; {KEY_HINT}"
        ) from None
    kept = name if dimensions is None else f"{name}@{dimensions}"
    return ModelEmbedder(kept, Asked(model, settings=settings), timeout_seconds=timeout_seconds)


def remade(
    kept: str, *, base_url: str | None = None, api_key: str | None = None, timeout_seconds: float = 60.0
) -> ModelEmbedder:
    """An embedder by the name its vectors are kept under: of the model that serves until the configured one can.

    Args:
        kept: as `ModelEmbedder.name` was.
        base_url: the address of both, where they are of one provider.
        api_key: the key of both, where they are of one provider.
        timeout_seconds: the longest a call may take.

    Raises:
        SetupError: as `from_model`.
    """
    asked = _ASKED.match(kept)  # not every @ is ours: some providers end a name with a version, as @001
    name, dimensions = (asked[1], int(asked[2])) if asked and int(asked[2]) <= MOST_DIMENSIONS else (kept, None)
    return from_model(name, base_url=base_url, api_key=api_key, dimensions=dimensions, timeout_seconds=timeout_seconds)


def _quiet() -> None:
    """A model that is loaded draws a bar, into whatever a command prints."""
    with suppress(ImportError, AttributeError):
        import_module("transformers.utils.logging").disable_progress_bar()


def _bringing(name: str) -> str:
    if name.startswith(LOCAL):
        return "pip install 'dataswarm[local-embeddings]' brings sentence-transformers"
    return f"pip install 'pydantic-ai-slim[{name.partition(':')[0]}]' brings it"
