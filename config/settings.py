"""The configuration: one frozen tree of settings, from a YAML file, secret files and the environment.

What is said later wins: defaults, the YAML file, secret files, environment variables. Everything wrong is reported
at once, with file and line and the nearest known name; a secret never appears in what is reported or shown.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from config import positions, problems, secret_files
from config.catalogue import Catalogue, OptionsOf, Validator, check
from config.draft import Draft
from config.environment import overlay_environment, overlay_secrets
from config.errors import ConfigError, Problem
from config.masking import scrub
from config.members import AgentSettings, ChannelSettings, Name, PlaybookSettings, SourceSettings
from config.policy import AssetRule, Autonomy, BudgetSettings, FreezeWindow, PolicySettings
from config.section import FlatSection, Section, entries_in
from config.sections import (
    DatabaseSettings,
    EmbeddingSettings,
    HttpSettings,
    KeySettings,
    LoggingSettings,
    MemorySettings,
    ModelSettings,
    RetentionSettings,
    RuntimeSettings,
    TokenSettings,
)
from config.showing import schema_of, shown, to_yaml

__all__ = [
    "AgentSettings",
    "AssetRule",
    "Autonomy",
    "BudgetSettings",
    "Catalogue",
    "ChannelSettings",
    "DatabaseSettings",
    "EmbeddingSettings",
    "FreezeWindow",
    "HttpSettings",
    "KeySettings",
    "LoggingSettings",
    "MemorySettings",
    "ModelSettings",
    "OptionsOf",
    "PlaybookSettings",
    "PolicySettings",
    "RetentionSettings",
    "RuntimeSettings",
    "Settings",
    "SourceSettings",
    "TokenSettings",
    "Validator",
    "dump",
    "find",
    "load",
    "schema",
]

DEFAULT_FILE = Path("dataswarm.yaml")


class Settings(Section):
    """Everything that can be configured. `Settings()` is what runs where nothing is configured.

    `agents` and `playbooks` hold what the file names, and, once loaded with a catalogue, all that is installed;
    what is not named is on, with defaults.
    """

    database: DatabaseSettings = DatabaseSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    http: HttpSettings = HttpSettings()
    logging: LoggingSettings = LoggingSettings()
    model: ModelSettings = ModelSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    memory: MemorySettings = MemorySettings()
    policy: PolicySettings = PolicySettings()
    retention: RetentionSettings = RetentionSettings()
    agents: dict[Name, AgentSettings] = Field(default_factory=dict)
    sources: dict[Name, SourceSettings] = Field(default_factory=dict)
    playbooks: dict[Name, PlaybookSettings] = Field(default_factory=dict)
    channels: dict[Name, ChannelSettings] = Field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that are equal where the settings are, secrets apart."""
        text = json.dumps(shown(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def agent(self, name: str) -> AgentSettings:
        """An agent's settings; the defaults where it is not named."""
        return self.agents.get(name) or AgentSettings()

    def playbook(self, name: str) -> PlaybookSettings:
        """A playbook's settings; the defaults where it is not named."""
        return self.playbooks.get(name) or PlaybookSettings()


def find(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """The file that `load` reads: the one given, else $DATASWARM_CONFIG, else ./dataswarm.yaml if there is one."""
    if path is not None:
        return path
    if named := (os.environ if environ is None else environ).get("DATASWARM_CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load(
    path: Path | None = None, *, catalogue: Catalogue | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the configuration.

    Args:
        path: the YAML file; None searches (see `find`), and finding none is fine.
        catalogue: what is installed; without it names and options of agents, sources and so on are not checked.
        environ: the variables to use, the process's own by default.

    Raises:
        ConfigError: with every problem found.
    """
    environ = os.environ if environ is None else environ
    known = catalogue or Catalogue()
    file = find(path, environ)
    draft = _read(file, environ, "DATASWARM_CONFIG" if path is None and file != DEFAULT_FILE else str(file))
    _settle(draft)
    secret_files.resolve(draft, Settings, known, file.parent if file is not None else Path())
    if directory := environ.get("DATASWARM_SECRETS_DIR"):
        overlay_secrets(draft, Settings, known, directory)
    overlay_environment(draft, Settings, known, environ)
    if catalogue is not None:
        check(draft, catalogue, _LOOSE)
        for section in ("agents", "playbooks"):
            entries = draft.data.setdefault(section, {})
            if isinstance(entries, dict):
                draft.data[section] = {**{name: {} for name in catalogue.of(section)}, **entries}
    settings = None
    try:
        settings = Settings.model_validate(draft.data)
    except ValidationError as error:
        problems.report(draft, Settings, error)
    if draft.problems or settings is None:
        # Once more over all: a problem may have been noted before the secret it holds was known to be one.
        raise ConfigError([Problem(p.where, scrub(p.message, draft.secrets), p.suggestion) for p in draft.problems])
    return settings


def dump(settings: Settings) -> str:
    """The settings as YAML, secrets as asterisks."""
    return to_yaml(shown(settings))


def schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors."""
    return schema_of(Settings)


_LOOSE: Mapping[str, tuple[str, ...]] = {
    name: tuple(key for key in entry.model_fields if key != "options")
    for name, field in Settings.model_fields.items()
    if (entry := entries_in(field.annotation)) is not None and issubclass(entry, FlatSection)
}


def _read(file: Path | None, environ: Mapping[str, str], named_by: str) -> Draft:
    if file is None:
        return Draft("the defaults")
    draft = Draft(str(file))
    try:
        return positions.read(file.read_text(encoding="utf-8-sig"), str(file), environ)
    except UnicodeDecodeError:
        draft.complain(str(file), "is not UTF-8 text")
    except FileNotFoundError:
        draft.complain(named_by, f"there is no file called {str(file)!r}")
    except OSError as error:
        draft.complain(named_by, f"the file cannot be read ({error.strerror})")
    return draft


def _settle(draft: Draft) -> None:
    """Bring what a file may write in several ways into one: empty parts, and options written flat."""
    for section in [name for name in Settings.model_fields if draft.data.get(name, ...) is None]:
        del draft.data[section]  # `agents:` with everything under it commented out
    for section, field in Settings.model_fields.items():
        entries = draft.data.get(section)
        if entries_in(field.annotation) is None or not isinstance(entries, dict):
            continue
        for name in entries:
            if entries[name] is None:
                entries[name] = {}
            if section in _LOOSE and isinstance(entries[name], dict):
                _fold(draft, section, name, entries[name])


def _fold(draft: Draft, section: str, name: str, entry: dict[str, Any]) -> None:
    nested = entry.get("options") or {}
    if not isinstance(nested, dict):
        return  # reported by the model
    for key in [key for key in entry if key not in (*_LOOSE[section], "options")]:
        flat, inner = (section, name, key), (section, name, "options", key)
        if key in nested:
            draft.complain(draft.where(flat), f"{section}.{name}.{key} is given twice; also on {draft.where(inner)}")
        nested[key] = entry.pop(key)
        for path in [p for p in draft.origins if p[:3] == flat]:
            draft.origins[*inner, *path[3:]] = draft.origins.pop(path)
        draft.faulty = {(*inner, *p[3:]) if p[:3] == flat else p for p in draft.faulty}
    entry["options"] = nested
