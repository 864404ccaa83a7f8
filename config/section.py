"""What every part of the configuration shares: strict, frozen, and readable by the loader.

The loader asks a part's fields what they are (a nested part, a mapping of named parts, a secret), so that
environment variables, secret files and the schema follow from the models alone.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationInfo, field_validator, model_validator


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        # bool is an int in Python: without this `workers: true` would quietly mean one worker.
        field = cls.model_fields.get(info.field_name or "")
        if isinstance(value, bool) and field is not None and _members(field.annotation) & {int, float}:
            raise ValueError("should be a number, not true or false")
        return value


class FlatSection(Section):
    """A part whose unknown keys are the options of what it names by `kind`, validated by that kind's own model."""

    flat: ClassVar[bool] = True
    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        loose = {key: value for key, value in data.items() if key not in cls.model_fields}
        if not loose or not isinstance(data.get("options", {}), Mapping):
            return data
        kept = {key: value for key, value in data.items() if key in cls.model_fields}
        return {**kept, "options": {**data.get("options", {}), **loose}}


def section_in(annotation: Any) -> type[Section] | None:
    """The part an annotation holds (`RuntimeSettings`, `X | None`), None where it holds another thing."""
    return next((m for m in _members(annotation) if isinstance(m, type) and issubclass(m, Section)), None)


def entries_in(annotation: Any) -> type[Section] | None:
    """The part a mapping or sequence of named parts holds (`dict[str, AgentSettings]`), None for another thing."""
    if get_origin(annotation) not in (dict, tuple):
        return None
    return next((found for a in get_args(annotation) if a is not ... and (found := section_in(a))), None)


def is_mapping(annotation: Any) -> bool:
    """Does the field hold a mapping?"""
    return get_origin(annotation) is dict


def is_sequence(annotation: Any) -> bool:
    """Does the field hold a sequence?"""
    return get_origin(annotation) is tuple


def is_secret(annotation: Any) -> bool:
    """Does the field hold a secret?"""
    return SecretStr in _members(annotation)


def secrets_of(model: type[Section]) -> tuple[str, ...]:
    """The names of the secret fields of a part."""
    return tuple(name for name, field in model.model_fields.items() if is_secret(field.annotation))


def _members(annotation: Any) -> set[Any]:
    """The types a value may have: the members of a union, the type itself otherwise; annotations peeled off."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return {inner for member in get_args(annotation) for inner in _members(member)}
    return {annotation}
