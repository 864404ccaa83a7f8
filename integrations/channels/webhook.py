"""A signed webhook: JSON by POST, so that the other side can tell it is from this swarm and fresh."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import ClassVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from integrations.base import Delivery, Finding, Message

TIMESTAMP_HEADER = "X-Dataswarm-Timestamp"
SIGNATURE_HEADER = "X-Dataswarm-Signature"
DELIVERY_HEADER = "X-Dataswarm-Delivery"
_BUSY = (408, 425, 429)


class WebhookOptions(BaseModel):
    """Settings of a webhook.

    Attributes:
        url: where to; often a secret itself, so it is never shown.
        secret: keys the signature; without it nothing is signed.
        headers: sent along (a token, say).
        timeout_seconds: for connecting and answering, each.
        topics: which messages it takes; empty: all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr
    secret: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout_seconds: float = Field(default=10.0, gt=0, le=120)
    topics: tuple[str, ...] = ()

    @field_validator("url")
    @classmethod
    def _is_web(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http(s) URL")
        return value


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the signature header holds: `sha256=` and HMAC-SHA256 over timestamp, a dot, and the body, in hex.

    The other side computes it anew, compares in constant time, and refuses an old timestamp.
    """
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class WebhookChannel:
    """POSTs every message as a JSON object with the fields of `Message`.

    The delivery header is the same for the same message, so that a repeated delivery can be told.
    """

    kind: ClassVar[str] = "webhook"
    Options: ClassVar[type[BaseModel]] = WebhookOptions

    def __init__(self, name: str, options: WebhookOptions, *, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self.options = options
        self._clock = clock
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the client; connections come with the first message."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self.options.timeout_seconds, follow_redirects=False)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def examine(self) -> Sequence[Finding]:
        """What can be said without sending anything."""
        host = urlsplit(self.options.url.get_secret_value()).hostname
        findings = [Finding(True, f"posts to {host}")]
        if self.options.secret is None:
            findings.append(Finding(True, "messages are not signed", "set secret, and check the signature there"))
        return findings

    async def send(self, message: Message) -> Delivery:
        """POST it; `retry` where the other side was away or busy (connection, 5xx, 408, 425, 429)."""
        if self.options.topics and message.topic not in self.options.topics:
            return Delivery(ok=True)
        await self.open()
        assert self._client is not None  # noqa: S101 - open() has just made it
        body = json.dumps(asdict(message), ensure_ascii=False, sort_keys=True).encode()
        timestamp = str(int(self._clock()))
        headers = {name: value.get_secret_value() for name, value in self.options.headers.items()}
        headers |= {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            DELIVERY_HEADER: hashlib.sha256(body).hexdigest()[:32],
        }
        if self.options.secret is not None:
            headers[SIGNATURE_HEADER] = signature(self.options.secret.get_secret_value(), timestamp, body)
        try:
            response = await self._client.post(self.options.url.get_secret_value(), content=body, headers=headers)
        except httpx.TransportError as error:
            return Delivery(ok=False, retry=True, error=type(error).__name__)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Delivery(ok=False, error=type(error).__name__)
        if response.is_success:
            return Delivery(ok=True)
        again = response.is_server_error or response.status_code in _BUSY
        return Delivery(ok=False, retry=again, error=f"it answered {response.status_code}")
