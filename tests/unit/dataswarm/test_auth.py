"""Who may come in."""

from __future__ import annotations

import base64

import pytest

from config.sections import TokenSettings
from dataswarm.auth import Caller, ForbiddenError, UnknownCallerError, admit, permit
from tests.unit.dataswarm.door import OPERATOR, TOKENS, VIEWER

JSON = {"content-type": "application/json", "host": "swarm.example"}


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"whoever:{password}".encode()).decode()


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "localhost:8321", "127.0.0.1:8321", "[::1]:8321", "LOCALHOST"])
def test_this_machine_needs_no_token(peer: str, host: str) -> None:
    """Without tokens, who sits at the machine may do everything."""
    assert admit((), peer, {"host": host}) == Caller("local", "operator", is_named=False)


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.168.1.2", "::2", "::ffff:10.0.0.7", "", "testclient", None])
def test_others_are_refused_without_tokens(peer: str | None) -> None:
    """Whoever is not loopback is told what to configure."""
    with pytest.raises(ForbiddenError) as refused:
        admit((), peer, {"host": "localhost"})
    assert "http.tokens" in refused.value.hint


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "10.0.0.7", "localhost.evil.example", "", "[::1", "127.0.0.1.nip.io"]
)
def test_a_strangers_name_for_this_machine_is_refused(host: str) -> None:
    """DNS rebinding: the peer is loopback, the name in the browser is not ours."""
    with pytest.raises(ForbiddenError):
        admit((), "127.0.0.1", {"host": host})


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip", "via"])
def test_what_a_proxy_forwards_is_not_this_machine(name: str) -> None:
    """A proxy on the machine would make the whole world loopback."""
    with pytest.raises(ForbiddenError):
        admit((), "127.0.0.1", {"host": "localhost", name: "8.8.8.8"})


def test_a_token_names_its_owner() -> None:
    """By Bearer, and by Basic as a browser sends it; from anywhere, under any name."""
    assert admit(TOKENS, "10.0.0.7", {"authorization": f"Bearer {VIEWER}"}) == Caller("graphs", "viewer", is_named=True)
    assert admit(TOKENS, None, {"authorization": f"bearer {OPERATOR}"}) == Caller("nina", "operator", is_named=True)
    assert admit(TOKENS, "::1", {"authorization": _basic(OPERATOR)}).name == "nina"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {VIEWER}x",
        f"Bearer {VIEWER[:-1]}",
        VIEWER,
        "Basic !!!",
        "Basic /w==",
        _basic(""),
        _basic("wrong"),
        "Bearer \xff\xfe",
    ],
)
def test_anything_else_is_unknown(header: str) -> None:
    """With tokens configured even this machine needs one, and nearly right is wrong."""
    with pytest.raises(UnknownCallerError) as refused:
        admit(TOKENS, "127.0.0.1", {"host": "localhost", "authorization": header})
    assert VIEWER not in str(refused.value)


def test_an_empty_token_cannot_be_configured() -> None:
    """It would let everybody in."""
    with pytest.raises(ValueError, match="token"):
        TokenSettings.model_validate({"name": "a", "token": ""})


def test_a_viewer_looks_and_an_operator_acts() -> None:
    """Reading is for both; changing for one."""
    viewer, operator = Caller("graphs", "viewer", is_named=True), Caller("nina", "operator", is_named=True)
    permit(viewer, "GET", {})
    permit(operator, "POST", JSON)
    with pytest.raises(ForbiddenError, match="graphs may look"):
        permit(viewer, "POST", JSON)
    with pytest.raises(ForbiddenError):
        permit(viewer, "DELETE", JSON)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/jsonp"},
        {"content-type": ""},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://swarm.example:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_page_cannot_act(headers: dict[str, str]) -> None:
    """What a browser can be made to send from elsewhere is refused, even with the operator's credentials."""
    with pytest.raises(ForbiddenError):
        permit(Caller("nina", "operator", is_named=True), "POST", {**JSON, **headers})


def test_the_console_itself_can_act() -> None:
    """Its own origin, JSON with a charset."""
    headers = {"host": "swarm.example:8321", "origin": "http://swarm.example:8321", "sec-fetch-site": "same-origin"}
    operator = Caller("nina", "operator", is_named=True)
    permit(operator, "POST", {**headers, "content-type": "application/json; charset=utf-8"})
