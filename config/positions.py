"""Reading the YAML file without losing where each value stands.

The file is composed into nodes, which carry their lines, and turned into plain values here: strings, numbers,
booleans, null, sequences and mappings, anchors and merge keys included, nothing else. `${VARIABLE}` in a string is
replaced by the environment's value, `${VARIABLE:-other}` gives another where it is not set, `$${` is a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from config.draft import Draft, KeyPath, dotted
from config.masking import Veiled

_TAG = "tag:yaml.org,2002:"
_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<other>[^}]*))?\}|\$\{(?P<odd>[^}]{0,40}\}?)"
)
MOST_VALUES = 50_000  # anchors that multiply one another would otherwise fill the memory


def read(text: str, name: str, environ: Mapping[str, str]) -> Draft:
    """Read a file's text into a draft whose origins are `name:line`; what is wrong is in its problems."""
    draft = Draft(name)
    # Taken from the text, so that a syntax error does not make the variables behind it unknown as well.
    draft.referenced = {found["name"] for found in _REFERENCE.finditer(text) if found["name"]}
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        draft.complain(f"{name}:{mark.line + 1 if mark else 1}", f"not valid YAML: {_what(error)}")
        return draft
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        draft.complain(f"{name}:{line}", "not valid YAML: a control character, which YAML does not allow")
        return draft
    except (YAMLError, RecursionError, ValueError):
        draft.complain(name, "not valid YAML")
        return draft
    if root is None or (isinstance(root, ScalarNode) and root.tag == _TAG + "null"):
        return draft  # an empty file is a file full of defaults
    if not isinstance(root, MappingNode):
        draft.complain(f"{name}:{_line(root)}", "the file should be a mapping of sections, such as `policy:`")
        return draft
    try:
        draft.data = _Reading(draft, environ).mapping(root, ())
    except RecursionError:
        draft.complain(name, "nested too deeply")
    return draft


class _Reading:
    """One pass over the nodes of a file, writing origins and problems into its draft."""

    def __init__(self, draft: Draft, environ: Mapping[str, str]) -> None:
        self._draft = draft
        self._environ = environ
        self._open: set[int] = set()
        self._count = 0

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        own: dict[str, Any] = {}
        inherited: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = _line(key)
            if not isinstance(key, ScalarNode):
                self._complain(line, f"{dotted(path) or 'the file'} has a key that is not a plain word")
            elif key.tag == _TAG + "merge":
                inherited = {**self._merged(value, path, line), **inherited}
            elif key.value in own:
                self._complain(line, f"{dotted((*path, key.value))} is given twice; first on line {lines[key.value]}")
            else:
                lines[key.value] = line
                self._draft.origins[*path, key.value] = f"{self._draft.name}:{line}"
                own[key.value] = self._value(value, (*path, key.value))
        return {**inherited, **own}

    def _merged(self, node: Node, path: KeyPath, line: int) -> dict[str, Any]:
        parts = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):  # of several the first wins
            found = self._value(part, path)
            if isinstance(found, dict):
                merged |= found
            else:
                self._complain(line, "`<<` should name a mapping")
        return merged

    def _value(self, node: Node, path: KeyPath) -> Any:
        self._draft.origins.setdefault(path, f"{self._draft.name}:{_line(node)}")
        self._count += 1
        if id(node) in self._open or self._count > MOST_VALUES:
            return self._fault(path, "an anchor refers to itself, or anchors multiply one another beyond measure")
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: Node, path: KeyPath) -> Any:  # noqa: PLR0911 - a line for each tag
        text: str = node.value
        kind = str(node.tag).removeprefix(_TAG)
        if kind in ("str", "timestamp"):
            return self._interpolated(text, path)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("true", "yes", "on", "y")  # the latter three in a file that says %YAML 1.1
        try:
            if kind == "int":
                return int(text, 10) if text.lstrip("+-").isdigit() else int(text, 0)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            return text  # `0b2`, `1_`: looks like a number and is none
        return self._fault(path, f"{dotted(path)} has a tag (a word after `!`), which means nothing here")

    def _interpolated(self, text: str, path: KeyPath) -> str:
        if "${" not in text:
            return text
        used: list[str] = []

        def put(found: re.Match[str]) -> str:
            if found[0] == "$${":
                return "${"
            if found["odd"] is not None:
                self._fault(path, f"{dotted(path)} has a `${{` without a variable's name; $${{ is a plain one")
                return ""
            name = found["name"]
            other: str | None = found["other"]
            value = self._environ.get(name, other) if other is not None else self._environ.get(name)
            if value is None:
                self._fault(path, f"{dotted(path)} refers to the environment variable {name}, which is not set")
                return ""
            used.append(value)
            return value

        result = _REFERENCE.sub(put, text)
        self._draft.secrets.update(used)
        return Veiled(result) if used else result

    def _fault(self, path: KeyPath, message: str) -> None:
        """Note that the value at a path could not be had."""
        self._draft.faulty.add(path)
        self._draft.complain(self._draft.where(path), message)

    def _complain(self, line: int, message: str) -> None:
        self._draft.complain(f"{self._draft.name}:{line}", message)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _what(error: MarkedYAMLError) -> str:
    # A password that begins with * or ! and stands without quotes is an alias or a tag to YAML: never quote those.
    problem = str(error.problem or "")
    if "alias" in problem:
        return "an alias (`*name`) without its anchor; put a text that begins with * in quotes"
    if "anchor" in problem or "tag" in problem:
        return "an anchor or tag is not right; put a text that begins with & or ! in quotes"
    return problem.replace("('}',) None", "a bracket too many")
