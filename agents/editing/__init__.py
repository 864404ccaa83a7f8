"""Pure edits of model text: what is not touched stays byte for byte, and what is not certain is not edited."""

from agents.editing.columns import Cast, Change, Edited, Rename, edit_columns
from agents.editing.names import Unclear, spell
from agents.editing.sources import SourceTable, set_identifier

__all__ = ["Cast", "Change", "Edited", "Rename", "SourceTable", "Unclear", "edit_columns", "set_identifier", "spell"]
