"""The modules that homework may use, and which ones a program imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

# Beside Python's own and the course's. Each is pinned in pyproject.toml; `course handouts` writes
# the list into the homeworks and the students' README.
MODULES = ("numpy", "torch", "matplotlib", "gymnasium", "PIL", "IPython")
MAX_OWN = 50  # files of a student's own package that are looked into
OURS = ("course_lib", "autograder")
COMPANIONS = ("mpl_toolkits", "pylab")  # what matplotlib brings

# "import a.b as c, d" and "from a.b import c", whatever stands before: in JSON that may be "\\n".
_IMPORT = re.compile(r"import[ \t]+([\w.]+(?:[ \t]+as[ \t]+\w+)?(?:,[ \t]*[\w. \t]+)*)")
_OTHER_IMPORTS = re.compile(r"from[ \t]+(\w+)"), re.compile(r"import_(?:module)?_?\(\\?[\"'](\w+)")


def in_words(modules: Collection[str] = MODULES) -> str:
    """ "`numpy`, `torch` and `PIL`"."""
    *first, last = [f"`{name}`" for name in modules]
    return f"{', '.join(first)} and {last}" if first else last


def is_available(module: str) -> bool:
    """Whether homework may import a module (given by its first name), helper files aside."""
    known = (*MODULES, *OURS, *COMPANIONS)
    return module in known or module in sys.stdlib_module_names


def hides_a_module(name: str) -> bool:
    """Whether a file of this name, with / between folders, would stand before one of the course."""
    first, _, inside = name.partition("/")
    stem, _, kind = first.partition(".")
    return stem in (*MODULES, *OURS) and (bool(inside) or kind.endswith(("py", "pyc", "so", "pyd")))


def require_installed() -> None:
    """Raise ValueError if a module that students may use is not installed here."""
    if missing := [name for name in MODULES if find_spec(name) is None]:
        raise ValueError(
            f"Homework may import {in_words(missing)} (MODULES in autograder/student/modules.py), "
            "which is not installed here: run `pip install -c constraints.txt -e '.[grading]'`, "
            "or take it off that list."
        )


def imported(python: str) -> set[str]:
    """First names of the modules that a program imports, anywhere in it; none if it is not Python.

    Imports from the folder of a package (`from . import x`) are its own affair.
    """
    try:
        nodes = list(ast.walk(ast.parse(python)))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {
        node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }
    return {name.partition(".")[0] for name in names}


def modules_not_there(cells: Sequence[str], folder: Path) -> dict[str, list[int]]:
    """Modules that grading does not have, with the numbers (from 1) of the cells that import them.

    folder: where a file or package may be one of the student's own; what that imports counts too.
    """
    found: dict[str, list[int]] = {}
    for number, cell in enumerate(cells, start=1):
        todo, seen = [_plain_python(cell)], set[str]()
        while todo:
            for name in sorted(imported(todo.pop()) - seen):
                seen.add(name)
                if is_available(name):
                    continue
                own = [folder / f"{name}.py", *sorted((folder / name).rglob("*.py"))][:MAX_OWN]
                own = [path for path in own if path.is_file()]
                if own or (folder / name).is_dir():
                    todo += [path.read_text(encoding="utf-8", errors="replace") for path in own]
                else:
                    found.setdefault(name, []).append(number)
    return found


def _plain_python(cell: str) -> str:
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return TransformerManager().transform_cell(cell)
    except Exception:  # a cell can hold anything
        return cell


def mentioned(text: str) -> Iterator[str]:
    """First names of all that a text of any kind may import; some are only words after "from"."""
    for match in _IMPORT.finditer(text):
        for part in match.group(1).split(","):
            yield part.strip().partition(" ")[0].partition(".")[0]
    for pattern in _OTHER_IMPORTS:
        yield from pattern.findall(text)


def why_not(stopped: str) -> str:
    """What there is to say of an import that something stopped at, "" if nothing."""
    first = stopped.split()[1].partition(".")[0]
    if first in OURS:
        return "a name that the course does not have, or has no more"
    return "" if is_available(first) else "no module that homework may use, nor a file handed in"


def stopped_at(name: str, message: str) -> str:
    """The import that an error speaks of, such as "import seaborn"; "" if it is none.

    name: of the error, in nbformat's `ename` or at the head of the message.
    """
    if name not in ("ImportError", "ModuleNotFoundError"):
        return ""
    if match := re.search(r"No module named '([\w.]{1,80})'", message):
        return f"import {match.group(1)}"
    source = r"'([\w.]{1,80})'"
    if match := re.search(rf"cannot import name '(\w{{1,80}})' from (?:.* )?{source}", message):
        return f"from {match.group(2)} import {match.group(1)}"
    return ""
