"""The log: every line from every logger in one form, with what is bound to it and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from config.logging import setup
from config.settings import LoggingSettings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The JSON lines written so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_context_from_both_worlds() -> None:
    """Structlog and the standard library alike: time in UTC, level, logger, bound context, demo."""
    out = io.StringIO()
    setup(LoggingSettings(), demo=True, stream=out)
    structlog.contextvars.bind_contextvars(agent="schema-drift")
    structlog.get_logger("ours").info("incident opened", incident=7)
    logging.getLogger("theirs").warning("%s of %s", 1, 2)
    logging.getLogger("theirs").debug("unheard")
    logging.getLogger("httpx").info("GET https://example/?token=x")
    ours, theirs = lines(out)
    assert ours.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "incident opened", "incident": 7, "agent": "schema-drift", "level": "info", "logger": "ours",
        "demo": True,
    }  # fmt: skip
    assert (theirs["event"], theirs["level"], theirs["demo"]) == ("1 of 2", "warning", True)


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_reaches_the_log(form: str) -> None:
    """Not by key, in the text, in arguments, bound, in an exception, its cause, or a traceback's locals."""
    out = io.StringIO()
    setup(LoggingSettings.model_validate({"format": form}), stream=out)
    log = structlog.get_logger()
    structlog.contextvars.bind_contextvars(url="postgresql://u:hunter2@h/d")
    log.info("connected to postgresql://u:hunter2@h/d", password="hunter2", options={"token": "hunter2"})
    log.info("to %s", "postgresql://u:hunter2@h/d")
    logging.getLogger("theirs").warning("password=%s", "hunter2")
    for logger in (log, logging.getLogger("theirs")):
        secret = "hunter2"
        try:
            try:
                raise OSError(f"postgresql://u:{secret}@h/d")  # noqa: TRY301
            except OSError as error:
                raise ValueError(f"password={secret}") from error
        except ValueError:
            logger.exception("failed")
    text = out.getvalue()
    assert "hunter2" not in text.replace('hunter2@h/d")', "").replace("{secret}", "")
    assert text.count("ValueError") >= 2
    assert text.count("OSError") >= 2


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    """The format follows the stream unless it is set."""
    for stream, form, is_json in (
        (Terminal(), "auto", False), (io.StringIO(), "auto", True), (Terminal(), "json", True),
        (io.StringIO(), "console", False),
    ):  # fmt: skip
        setup(LoggingSettings.model_validate({"format": form}), stream=stream)
        structlog.get_logger().info("hello")
        assert stream.getvalue().startswith("{") is is_json
        assert ("\x1b" in stream.getvalue()) is (stream.isatty() and not is_json)


def test_what_the_standard_library_is_given_beside_the_text_is_in_the_line() -> None:
    """`extra=` of the memory room reaches the log, masked like everything else."""
    out = io.StringIO()
    setup(LoggingSettings(format="json"), stream=out)
    logging.getLogger("memory.queue.worker").info("a lease was lost", extra={"task": 7, "password": "hunter2"})
    [line] = lines(out)
    assert (line["event"], line["task"]) == ("a lease was lost", 7)
    assert "hunter2" not in out.getvalue()


def test_setting_up_again_replaces_what_was_set_up() -> None:
    """Another level takes effect on loggers already used, without doubled lines; handlers of others stay."""
    first, second, foreign = io.StringIO(), io.StringIO(), logging.NullHandler()
    logging.getLogger().addHandler(foreign)
    setup(LoggingSettings(level="error"), stream=first)
    log = structlog.get_logger("ours")
    log.info("unheard")
    setup(LoggingSettings(level="debug"), stream=second)
    log.debug("heard", odd=object, when={1, 2})
    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["heard"]
    assert foreign in logging.getLogger().handlers
