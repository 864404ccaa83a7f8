"""Which keys seal what is confidential, as the configuration has it."""

from __future__ import annotations

from config.settings import Settings
from memory.vault import keyring
from memory.vault.envelopes import Vault
from memory.vault.keyring import Keyring, KeySource

KEY_FILE = "sealing.key"


def vault_for(settings: Settings) -> Vault:
    """The vault of this configuration; its keys are fetched when they are first needed.

    Without a configured key an embedded database has one of its own, in a file beside its data that its owner alone
    may read. With an address there is none: nothing confidential is written then, and the refusal says why.
    """
    keys, current = settings.memory.keys, settings.memory.sealing_key
    if keys and current is not None:
        sources = [
            KeySource(key.name, key.secret.get_secret_value() if key.secret else None, key.command) for key in keys
        ]

        def configured() -> Keyring:
            return keyring.load(sources, current)

        return Vault(configured)
    if settings.database.url is None:
        return Vault(lambda: keyring.beside(settings.database.directory / KEY_FILE))
    return Vault(None)
