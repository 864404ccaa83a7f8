"""The door with a real database behind it, and callers of every sort in front."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI

from config.settings import HttpSettings, RuntimeSettings, Settings, TokenSettings
from dataswarm.api import Doors, create
from dataswarm.metrics import Metrics
from memory.connection.database import Database

VIEWER, OPERATOR = "look-0123456789", "deed-0123456789"
TOKENS = (
    TokenSettings.model_validate({"name": "graphs", "token": VIEWER, "role": "viewer"}),
    TokenSettings.model_validate({"name": "nina", "token": OPERATOR, "role": "operator"}),
)


def settings(*, tokens: tuple[TokenSettings, ...] = (), demo: bool = False) -> Settings:
    """Settings with a door."""
    return Settings(http=HttpSettings(tokens=tokens), runtime=RuntimeSettings(demo=demo))


def doors(db: Database, chosen: Settings | None = None, **more: Any) -> Doors:
    """What the routes stand on, ready unless said otherwise."""
    known = chosen or settings()

    async def health() -> dict[str, Any]:
        return {"ready": True, "checks": {"database": True}}

    values = {"health": health, "metrics": Metrics(db), "version": "1.2.3", "settings": lambda: known, **more}
    return Doors(database=db, **values)


def application(db: Database, chosen: Settings | None = None, **more: Any) -> FastAPI:
    """The application."""
    return create(doors(db, chosen, **more))


def caller(
    app: FastAPI, *, peer: str = "127.0.0.1", host: str = "localhost:8321", token: str = "", **headers: str
) -> httpx.AsyncClient:
    """Somebody who calls from `peer`, with a Host header and perhaps a token."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(app, client=(peer, 40000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=sent)
