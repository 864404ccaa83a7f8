"""Channels as they come in life: refusals, busy servers, URLs nobody knows, and signatures that must hold."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from config.errors import SetupError
from integrations.base import Message
from integrations.channels.apprise import AppriseChannel, AppriseOptions
from integrations.channels.webhook import WebhookChannel, WebhookOptions, signature

MESSAGE = Message("approval", "May I?", "Apply **patch**", 7)
IMGHDR = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")


@pytest.mark.parametrize(("status", "retry"), [(500, True), (503, True), (429, True), (400, False), (301, False)])
async def test_what_is_worth_another_try(loopback: Any, status: int, retry: bool) -> None:
    """A server in trouble or busy is tried again; a refusal or a redirect is not."""
    loopback.status = status
    channel = WebhookChannel("hook", WebhookOptions(url=SecretStr(loopback.url + "/token-hunter2")))
    delivery = await channel.send(MESSAGE)
    assert (delivery.ok, delivery.retry, str(status) in delivery.error) == (False, retry, True)
    assert "hunter2" not in delivery.error + repr(channel.options)
    await channel.close()


async def test_the_signature_covers_time_and_body(loopback: Any) -> None:
    """The other side can compute it from the shared secret, the timestamp and the bytes; another body breaks it."""
    options = WebhookOptions(
        url=SecretStr(loopback.url), secret=SecretStr("pepper"), headers={"X-Token": SecretStr("t")}
    )
    channel = WebhookChannel("hook", options, clock=lambda: 1_800_000_000.9)
    await channel.send(MESSAGE)
    await channel.send(MESSAGE)
    await channel.close()
    headers, body = loopback.headers[0], loopback.bodies[0]
    assert (headers["X-Dataswarm-Timestamp"], headers["X-Token"]) == ("1800000000", "t")
    expected = hmac.new(b"pepper", b"1800000000." + body, hashlib.sha256).hexdigest()
    assert headers["X-Dataswarm-Signature"] == f"sha256={expected}"
    assert signature("pepper", "1800000000", body + b" ") != headers["X-Dataswarm-Signature"]
    assert headers["X-Dataswarm-Delivery"] == loopback.headers[1]["X-Dataswarm-Delivery"]


async def test_topics_narrow_what_is_sent(loopback: Any) -> None:
    """A channel for escalations stays silent about approvals."""
    channel = WebhookChannel("hook", WebhookOptions(url=SecretStr(loopback.url), topics=("escalation",)))
    assert (await channel.send(MESSAGE)).ok
    assert loopback.bodies == []
    await channel.close()


def test_a_url_that_is_none() -> None:
    """Anything but http(s) is refused when configured, without being repeated."""
    with pytest.raises(ValidationError, match="must be an http") as caught:
        WebhookOptions(url=SecretStr("ftp://hunter2"))
    assert "hunter2" not in str(caught.value.errors(include_input=False))
    with pytest.raises(ValidationError):
        AppriseOptions(urls=())


@IMGHDR
async def test_an_apprise_url_nobody_knows() -> None:
    """It is named by its place, never by itself; sending is an answer all the same."""
    channel = AppriseChannel("many", AppriseOptions(urls=(SecretStr("json://h"), SecretStr("nonsense://hunter2"))))
    with pytest.raises(SetupError, match="URL 2 of 2") as caught:
        await channel.open()
    assert "hunter2" not in str(caught.value)
    assert [f.ok for f in await channel.examine()] == [False]
    assert not (await channel.send(MESSAGE)).ok


@IMGHDR
async def test_one_of_two_services_is_enough(loopback: Any, closed_port: int) -> None:
    """When one took it a human knows: delivered, with a word about the other, and not sent twice."""
    urls = (loopback.url.replace("http", "json"), f"json://127.0.0.1:{closed_port}")
    channel = AppriseChannel("many", AppriseOptions(urls=tuple(map(SecretStr, urls))))
    delivery = await channel.send(MESSAGE)
    assert (delivery.ok, delivery.retry, len(loopback.bodies)) == (True, False, 1)
    assert "1 of 2" in delivery.error
