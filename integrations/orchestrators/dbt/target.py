"""Where artefacts come from: a directory, a web address, an object store; absent told from broken."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]
import httpx
from pydantic import SecretStr

from config.errors import PermanentError, SetupError, SourceError, TransientError

MANIFEST = "manifest.json"
RUN_RESULTS = "run_results.json"
SOURCES = "sources.json"

_SUPPORTED = {MANIFEST: "v12", RUN_RESULTS: "v6", SOURCES: "v3"}
_WRITTEN_BY = "dbt 1.8 to 1.11"
_TRIES = 5
_PAUSE_SECONDS = 0.2
_FORBIDDEN = (401, 403)
_NOT_FOUND = 404
_FETCH_SECONDS = 15.0


class Target:
    """A directory of artefacts.

    Args:
        source: the configured name, for messages.
        location: path, http(s) URL or fsspec URL.
        headers: for http(s).
    """

    def __init__(self, source: str, location: str, headers: Mapping[str, SecretStr] | None = None) -> None:
        self.source = source
        self.location = location.rstrip("/")
        self._headers = headers or {}
        self._parsed: dict[str, tuple[bytes, dict[str, Any]]] = {}
        scheme = urlsplit(location).scheme
        self._is_web = scheme in ("http", "https")
        self._is_remote = "://" in location and not self._is_web

    async def read(self, name: str) -> dict[str, Any] | None:
        """An artefact, parsed and of a version known here; None where there is none.

        A half-written one is read again a few times. Raises TransientError when it stays so, SourceError when it is
        of another version.
        """
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS)
            raw = await self.fetch(name)
            if raw is None:
                return None
            digest = hashlib.sha256(raw).digest()
            known = self._parsed.get(name)
            if known is not None and known[0] == digest:
                return known[1]
            artefact = await asyncio.to_thread(_parse, raw)
            if artefact is not None:
                self._check_version(name, artefact)
                self._parsed[name] = (digest, artefact)
                return artefact
        raise TransientError(
            f"dbt {self.source}: {name} is not whole JSON; it seems to be half-written",
            hint=f"when it stays so, write it anew with `dbt parse` or `dbt build` (looked in {self._where})",
        )

    async def fetch(self, name: str) -> bytes | None:
        """The bytes of an artefact; None where there is none."""
        if self._is_web:
            return await self._from_web(name)
        if self._is_remote:
            return await asyncio.to_thread(self._from_store, name)
        return await asyncio.to_thread(self._from_directory, name)

    @property
    def _where(self) -> str:
        """The location without credentials or query."""
        if not (self._is_web or self._is_remote):
            return self.location
        parts = urlsplit(self.location)
        return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"

    def _from_directory(self, name: str) -> bytes | None:
        path = Path(self.location) / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise SetupError(
                f"dbt {self.source}: {self._where} is not a directory", hint="point `target` at the directory"
            ) from None
        except PermissionError:
            raise SetupError(
                f"dbt {self.source}: {path} may not be read", hint="let the swarm's user read it"
            ) from None
        except OSError as error:
            raise TransientError(f"dbt {self.source}: {path} cannot be read: {error.strerror}") from error

    async def _from_web(self, name: str) -> bytes | None:
        headers = {k: v.get_secret_value() for k, v in self._headers.items()}
        address = urlsplit(self.location)
        url = address._replace(path=f"{address.path}/{name}").geturl()
        try:
            async with httpx.AsyncClient(timeout=_FETCH_SECONDS, follow_redirects=True) as client:
                response = await client.get(url, headers=headers)
        except httpx.InvalidURL:
            raise SetupError(f"dbt {self.source}: `target` is no usable URL", hint="write https://host/path") from None
        except httpx.HTTPError as error:
            raise TransientError(
                f"dbt {self.source}: {self._where}/{name} cannot be fetched: {type(error).__name__}",
                hint="is the address right and the server up?",
            ) from None
        if response.status_code == _NOT_FOUND:
            return None
        if response.status_code in _FORBIDDEN:
            raise SetupError(
                f"dbt {self.source}: {self._where}/{name} answered {response.status_code}",
                hint="put what it asks for into `target_headers`",
            )
        if not response.is_success:
            raise TransientError(f"dbt {self.source}: {self._where}/{name} answered {response.status_code}")
        return response.content

    def _from_store(self, name: str) -> bytes | None:
        try:
            with fsspec.open(f"{self.location}/{name}", "rb") as file:
                content: bytes = file.read()
        except FileNotFoundError:
            return None
        except (ImportError, ValueError) as error:
            raise SetupError(
                f"dbt {self.source}: {self._where} needs a driver that is not there: {error}",
                hint="install it (s3fs for s3://, gcsfs for gs://, adlfs for abfs://)",
            ) from error
        except PermissionError:
            raise SetupError(
                f"dbt {self.source}: {self._where}/{name} may not be read", hint="check the credentials of the store"
            ) from None
        except OSError as error:
            raise TransientError(f"dbt {self.source}: {self._where}/{name}: {type(error).__name__}") from error
        return content

    def _check_version(self, name: str, artefact: Mapping[str, Any]) -> None:
        metadata = artefact.get("metadata")
        schema = str(metadata.get("dbt_schema_version", "")) if isinstance(metadata, dict) else ""
        found = schema.rsplit("/", 1)[-1].removesuffix(".json") or "no version at all"
        if found != _SUPPORTED[name]:
            raise SourceError(
                f"dbt {self.source}: {name} is of version {found}; supported is {_SUPPORTED[name]}",
                hint=f"{_WRITTEN_BY} writes {_SUPPORTED[name]}; build with such a dbt, or update dataswarm",
            )


def _parse(raw: bytes) -> dict[str, Any] | None:
    """A JSON object, or None where it is not whole."""
    try:
        artefact = json.loads(raw)
    except ValueError:
        return None
    return artefact if isinstance(artefact, dict) else None


def required(artefact: dict[str, Any] | None, source: str, name: str, why: str) -> dict[str, Any]:
    """The artefact, or a SourceError saying what it is needed for."""
    if artefact is None:
        raise SourceError(f"dbt {source}: there is no {name}, {why}", hint="run `dbt build` or `dbt parse` once")
    return artefact


def wrong_shape(source: str, name: str, error: Exception) -> PermanentError:
    """What to raise where an artefact of the right version lacks what it must have."""
    return SourceError(
        f"dbt {source}: {name} lacks what its version promises ({type(error).__name__}: {error})",
        hint="write it anew with `dbt parse` or `dbt build`",
    )
