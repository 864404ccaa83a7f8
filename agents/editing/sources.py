"""Pointing a declared source table at another relation in its YAML; comments and layout stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from agents.editing.names import Unclear

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_MEANT_OTHERWISE = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as the pipeline declares it: the source's name and the table's name there."""

    source: str
    table: str


def set_identifier(text: str, declared: SourceTable, identifier: str) -> str:
    """Give a declared table the relation name `identifier`; raises Unclear where it is not declared exactly once."""
    try:
        root = YAML(typ="rt").compose(text)
    except YAMLError as error:
        raise Unclear("the source's file is not valid YAML") from error
    found = list(_declared(root, declared))
    if len(found) != 1:
        raise Unclear(f"{declared.source}.{declared.table} is declared {len(found)} times in the source's file")
    table = found[0]
    if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in table.value):
        raise Unclear(f"{declared.source}.{declared.table} is declared by a YAML merge")
    written = _scalar(identifier)
    known = _value(table, "identifier")
    if known is not None:
        return text[: known.start_mark.index] + written + text[known.end_mark.index :]
    return _insert(text, table, written)


def _insert(text: str, table: MappingNode, written: str) -> str:
    key, value = next((k, v) for k, v in table.value if k.value == "name")
    if table.flow_style:
        at = value.end_mark.index
        return f"{text[:at]}, identifier: {written}{text[at:]}"
    line_end = text.find("\n", value.end_mark.index)
    at = len(text) if line_end < 0 else line_end
    newline = "\r\n" if text[at - 1 : at] == "\r" else "\n"
    at -= len(newline) - 1
    return f"{text[:at]}{newline}{' ' * key.start_mark.column}identifier: {written}{text[at:]}"


def _declared(root: Node | None, declared: SourceTable) -> Iterator[MappingNode]:
    for source in _named(_value(root, "sources"), declared.source):
        yield from _named(_value(source, "tables"), declared.table)


def _named(node: Node | None, name: str) -> Iterator[MappingNode]:
    if isinstance(node, SequenceNode):
        for item in node.value:
            called = _value(item, "name")
            if isinstance(item, MappingNode) and called is not None and called.value == name:
                yield item


def _value(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    return next((v for k, v in node.value if isinstance(k, ScalarNode) and k.value == key), None)


def _scalar(name: str) -> str:
    is_plain = _PLAIN.fullmatch(name) is not None and name not in _MEANT_OTHERWISE
    return name if is_plain else json.dumps(name, ensure_ascii=False)
