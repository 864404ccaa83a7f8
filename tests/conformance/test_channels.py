"""Channels against the conformance suite."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from integrations.channels.apprise import AppriseChannel, AppriseOptions
from integrations.channels.webhook import WebhookChannel, WebhookOptions
from integrations.conformance import ChannelConformance

Inbox = Callable[[], Awaitable[list[str]]]


@pytest.fixture
def inbox(loopback: Any) -> Inbox:
    """What the loopback server was told."""

    async def read() -> list[str]:
        return [json.dumps(json.loads(body), ensure_ascii=False) for body in loopback.bodies]

    return read


class TestWebhook(ChannelConformance):
    """The signed webhook."""

    @pytest.fixture
    async def channel(self, loopback: Any) -> AsyncIterator[WebhookChannel]:
        """To the loopback server."""
        channel = WebhookChannel("hook", WebhookOptions(url=SecretStr(loopback.url), secret=SecretStr("pepper")))
        await channel.open()
        yield channel
        await channel.close()

    @pytest.fixture
    async def deaf(self, closed_port: int) -> AsyncIterator[WebhookChannel]:
        """To nobody."""
        channel = WebhookChannel("deaf", WebhookOptions(url=SecretStr(f"http://127.0.0.1:{closed_port}")))
        await channel.open()
        yield channel
        await channel.close()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise 2.2 looks for it
class TestApprise(ChannelConformance):
    """Apprise by its plain JSON service."""

    @pytest.fixture
    async def channel(self, loopback: Any) -> AsyncIterator[AppriseChannel]:
        """To the loopback server."""
        channel = AppriseChannel("many", AppriseOptions(urls=(SecretStr(loopback.url.replace("http://", "json://")),)))
        await channel.open()
        yield channel
        await channel.close()

    @pytest.fixture
    async def deaf(self, closed_port: int) -> AsyncIterator[AppriseChannel]:
        """To nobody."""
        channel = AppriseChannel("deaf", AppriseOptions(urls=(SecretStr(f"json://127.0.0.1:{closed_port}"),)))
        await channel.open()
        yield channel
        await channel.close()
