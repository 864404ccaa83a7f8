"""Are the packages `agents`, `config`, `integrations` and `memory` ours? Other distributions use these names too.

Looked at before anything of them is used; nothing here imports them, for a stranger's `agents` runs when imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path

OURS: Mapping[str, str] = {
    "agents": "playbook.py",
    "config": "interview.py",
    "integrations": "conformance.py",
    "memory": "records.py",
}
FIND = importlib.util.find_spec


def strangers(find: Callable[[str], ModuleSpec | None] = FIND) -> str:
    """What is wrong, with the file and what to do; empty where the packages are ours."""
    home = Path(__file__).resolve().parent.parent
    for name, landmark in OURS.items():
        spec = find(name)
        origin = spec.origin if spec is not None else None
        if spec is None:
            return f"the package {name!r} of dataswarm is missing\n  → reinstall dataswarm"
        if origin is None:  # a folder without __init__.py: what is left when another distribution was removed
            places = ", ".join(spec.submodule_search_locations or ())
            return f"the package {name!r} of dataswarm is damaged ({places})\n  → reinstall dataswarm"
        folder = Path(origin).resolve().parent
        if folder != home / name or not (folder / landmark).is_file() or not _is_blank(Path(origin)):
            return (
                f"the package {name!r} that Python finds here is not dataswarm's: {origin}\n"
                f"  → {_whose(name)} uses the same name; give dataswarm an environment of its own"
                " (`pipx install dataswarm`, or a fresh `python -m venv`), or uninstall the other one and reinstall"
                " dataswarm; a folder of that name in the current directory hides ours as well"
            )
    return ""


def _is_blank(file: Path) -> bool:
    """Is it our `__init__.py`? Ours hold no code; installed into the same place, another's would replace it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return not any(line.lstrip().startswith(("import ", "from ")) for line in text.splitlines())


def _whose(name: str) -> str:
    from importlib.metadata import packages_distributions  # noqa: PLC0415 - reads every distribution there is

    others = sorted({d for d in packages_distributions().get(name, ()) if d != "dataswarm"})
    return f"the distribution {', '.join(others)}" if others else "something else"
