"""MariaDB with TLS: used where the server offers it, by one context for all connections, and as the URL says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from config.errors import SwarmError
from integrations.warehouses.sql import SqlOptions, SqlWarehouse
from tests.mariadb import PASSWORD, Server, serving
from tests.places import fresh_place

SETUP = f"""
create database shop;
create user reader identified by '{PASSWORD}';
create user strict identified by '{PASSWORD}' require ssl;
grant select on shop.* to reader, strict;
"""
CIPHER = "select variable_value as name from information_schema.session_status where variable_name = 'ssl_cipher'"


def signed_by_itself(place: Path, name: str) -> Path:
    """A certificate with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = place / name
    written = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(written + made.public_bytes(serialization.Encoding.PEM))
    path.chmod(0o644)
    return path


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Where the server, another user, may read."""
    made = fresh_place("dst")
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def secured(place: Path) -> Iterator[Server]:
    """A server that offers TLS."""
    own = signed_by_itself(place, "own.pem")
    with serving(SETUP, f"--ssl-cert={own}", f"--ssl-key={own}") as server:
        yield server


def ways(server: Server, role: str = "reader") -> list[str]:
    """A role's URLs by socket and by port."""
    return [server.url(role), f"mysql://{role}:{PASSWORD}@localhost:{server.port}/shop?connect_timeout=5"]


async def cipher(url: str) -> str:
    """What a session is encrypted with; nothing where it is not."""
    looking = SqlWarehouse("bakery", SqlOptions(url=SecretStr(url), schemas=("shop",)))
    return str((await looking.query(CIPHER))[0]["name"])


@pytest.mark.parametrize("role", ["reader", "strict"])
async def test_encrypted_where_the_server_offers_it(secured: Server, role: str) -> None:
    """Nothing said: every session is encrypted, by port and by socket, so one who must be is let in."""
    for url in ways(secured, role):
        assert await cipher(url)


async def test_plain_where_the_server_offers_none(mariadb: Server) -> None:
    """Nothing said, and a server without TLS: by port and by socket the session is plain."""
    assert [await cipher(url) for url in ways(mariadb)] == ["", ""]


async def test_what_the_url_says_holds(secured: Server, place: Path) -> None:
    """A URL that names whom to trust has the server checked, and one that wants no TLS has none."""
    own, other = place / "own.pem", signed_by_itself(place, "other.pem")
    for url in ways(secured):
        assert await cipher(f"{url}&ssl_ca={own}")
        with pytest.raises(SwarmError, match="warehouse bakery"):
            await cipher(f"{url}&ssl_ca={other}")
        assert await cipher(f"{url}&ssl_disabled=true") == ""
