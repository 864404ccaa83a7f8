"""Who may come in over HTTP, and what they may do.

With tokens configured, a token is needed, whoever asks. Without, only this machine is served: the peer must be
loopback, nothing may have been forwarded, and the Host header must name this machine, or a page of a stranger could
read along through a name that it points here (DNS rebinding).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from config.errors import UsageError
from config.sections import TokenSettings

Role = Literal["viewer", "operator"]
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class UnknownCallerError(UsageError):
    """No token, or one that nobody was given."""

    code: ClassVar[str] = "unauthorized"


class ForbiddenError(UsageError):
    """Known or not, this is not allowed from there."""

    code: ClassVar[str] = "forbidden"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `is_named`: by a token, so that the name is proven."""

    name: str
    role: Role
    is_named: bool


def admit(tokens: Sequence[TokenSettings], peer: str | None, headers: Mapping[str, str]) -> Caller:
    """Who is it?

    Args:
        tokens: as configured.
        peer: the address of the other end of the connection.
        headers: of the request, names in lower case.

    Raises:
        UnknownCallerError: tokens are configured, and this is none of them.
        ForbiddenError: no token is configured, and the request does not come from this machine.
    """
    if tokens:
        return _by_token(tokens, headers.get("authorization", ""))
    hint = "configure http.tokens to serve others than this machine"
    if peer is None or not _is_loopback(peer) or any(name in headers for name in FORWARDED):
        raise ForbiddenError("without tokens only this machine is served", hint=hint)
    if not _is_local_name(headers.get("host", "")):
        raise ForbiddenError("without tokens the Host header must name this machine", hint=hint)
    return Caller("local", "operator", is_named=False)


def permit(caller: Caller, method: str, headers: Mapping[str, str]) -> None:
    """May it change something? Reading is for everyone who was admitted.

    An unsafe request must be JSON: a form of a stranger's page cannot send that without being asked first, and its
    Origin, where the browser names one, must be ours.

    Raises:
        ForbiddenError: the role is too small, or the request comes from another site.
    """
    if method in SAFE:
        return
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise ForbiddenError("the request comes from another site", hint="use the console of this very address")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError("the request comes from another site", hint="use the console of this very address")
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise ForbiddenError("the body must be JSON", hint="send Content-Type: application/json, `{}` where empty")
    if caller.role != "operator":
        raise ForbiddenError(f"{caller.name} may look, not change anything", hint="use an operator's token")


def _by_token(tokens: Sequence[TokenSettings], authorization: str) -> Caller:
    given = _credential(authorization).encode()
    found: TokenSettings | None = None
    for token in tokens:  # all of them, and each in constant time
        if hmac.compare_digest(token.token.get_secret_value().encode(), given):
            found = token
    if found is None:
        raise UnknownCallerError(
            "a token is needed" if not given else "nobody was given this token",
            hint="send `Authorization: Bearer <token>`; a browser asks for it as the password, any user name will do",
        )
    return Caller(found.name, found.role, is_named=True)


def _credential(authorization: str) -> str:
    """The token of a Bearer header, or the password of a Basic one, which is what a browser can send by itself."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and (name in LOCAL_NAMES or _is_loopback(name))
