"""Over a hundred services by URL, through Apprise: Slack, Teams, mail, PagerDuty and more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from config.errors import SetupError, SwarmError
from integrations.base import Delivery, Finding, Message

_KINDS = {"escalation": "failure", "approval": "warning", "resolved": "success"}


class AppriseOptions(BaseModel):
    """Settings of an Apprise channel.

    Attributes:
        urls: Apprise URLs (`slack://…`, `mailto://…`); they hold tokens, so they are never shown.
        topics: which messages it takes; empty: all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: tuple[SecretStr, ...] = Field(min_length=1)
    topics: tuple[str, ...] = ()


class AppriseChannel:
    """Every URL is told; it counts as delivered when at least one of them took it, for then a human knows."""

    kind: ClassVar[str] = "apprise"
    Options: ClassVar[type[BaseModel]] = AppriseOptions

    def __init__(self, name: str, options: AppriseOptions) -> None:
        self.name = name
        self.options = options
        self._services: list[Any] = []

    async def open(self) -> None:
        """Read the URLs; SetupError names the place of one that no service knows."""
        if not self._services:
            self._services = await asyncio.to_thread(self._read)

    def _read(self) -> list[Any]:
        # Imported here: it loads a hundred plugins, for a channel that is perhaps not configured.
        from apprise import Apprise  # noqa: PLC0415

        services = []
        for place, url in enumerate(self.options.urls, start=1):
            service = Apprise()
            if not service.add(url.get_secret_value()):
                raise SetupError(
                    f"channel {self.name}: URL {place} of {len(self.options.urls)} is none that Apprise knows",
                    hint="see the Apprise documentation for how the service's URL is written",
                )
            services.append(service)
        return services

    async def close(self) -> None:
        """Nothing is held between messages."""

    async def examine(self) -> Sequence[Finding]:
        """Are the URLs understood? Sends nothing."""
        try:
            await self.open()
        except SwarmError as error:
            return [Finding(False, error.message, error.hint)]
        return [Finding(True, f"{len(self._services)} services by Apprise")]

    async def send(self, message: Message) -> Delivery:
        """Tell every service; see the class."""
        if self.options.topics and message.topic not in self.options.topics:
            return Delivery(ok=True)
        try:
            await self.open()
        except SwarmError as error:
            return Delivery(ok=False, error=error.message)
        body = f"{message.body}\n\n{message.link}".strip() if message.link else message.body
        title = f"[DEMO] {message.title}" if message.demo else message.title
        taken = await asyncio.gather(
            *(
                asyncio.to_thread(
                    service.notify,
                    body=body,
                    title=title,
                    body_format="markdown",
                    notify_type=_KINDS.get(message.topic, "info"),
                )
                for service in self._services
            ),
            return_exceptions=True,
        )
        failed = [str(place) for place, ok in enumerate(taken, start=1) if isinstance(ok, Exception) or not ok]
        if not failed:
            return Delivery(ok=True)
        said = f"{len(failed)} of {len(taken)} services did not take it (URL {', '.join(failed)})"
        # Trying again would tell those who took it twice.
        nobody = len(failed) == len(taken)
        return Delivery(ok=not nobody, retry=nobody, error=said)
