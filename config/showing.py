"""Showing the configuration: as plain values without secrets, as YAML, as a JSON schema."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr
from ruamel.yaml import YAML

from config.masking import MASK, Veiled, mask_value, may_hold_secret
from config.section import FlatSection

_BAGS = ("env", "headers")  # mappings under which anything may be a secret


def shown(value: Any, name: str = "") -> Any:  # noqa: PLR0911 - a line for each shape
    """Settings as mappings, sequences and scalars, every secret replaced; options of flat parts stand flat."""
    if isinstance(value, SecretStr | Veiled):
        return MASK
    if isinstance(value, BaseModel):
        fields = {key: shown(getattr(value, key), key) for key in type(value).model_fields}
        if isinstance(value, FlatSection):
            return {**{k: v for k, v in fields.items() if k != "options"}, **fields["options"]}
        return fields
    if name == "options":
        return _options(value)
    if isinstance(value, Mapping):
        return {key: shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [shown(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)  # paths, times, enumerations


def to_yaml(data: Mapping[str, Any]) -> str:
    """Plain values as YAML, in their order."""
    writer = YAML()
    writer.default_flow_style = False
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.width = 110
    out = io.StringIO()
    writer.dump(data, out)
    return out.getvalue()


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model, with the `x_file` that may stand in for every secret `x`."""
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        properties = part.get("properties", {})
        for key in [key for key, value in properties.items() if '"password"' in repr(value).replace("'", '"')]:
            text = {"type": "string", "description": f"A file that holds `{key}`."}
            properties[f"{key}_file"] = text
            if key in part.get("required", []):
                part["required"].remove(key)
                part.setdefault("anyOf", []).extend([{"required": [key]}, {"required": [f"{key}_file"]}])
    return schema


def _options(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return mask_value(value)
    return {
        key: _masked_whole(inner) if may_hold_secret(str(key)) or str(key).endswith(_BAGS) else _options_inside(inner)
        for key, inner in value.items()
    }


def _options_inside(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_options_inside(inner) for inner in value]
    return _options(value)


def _masked_whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked_whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked_whole(inner) for inner in value]
    return MASK if isinstance(value, str) and value else value
