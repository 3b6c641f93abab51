"""Whether the website can show a formula: KaTeX knows its commands, and its braces are closed.

KaTeX itself runs in browsers only. Its program holds every name it knows as a text.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

KATEX = Path(__file__).with_name("website") / "static" / "katex" / "katex.min.js"


def complaint(formula: str) -> str:
    """What KaTeX cannot read in a formula, "" if nothing is seen. A finer fault passes unseen."""
    commands, texts = _known()
    for command in re.findall(r"\\(?:[A-Za-z]+|.)", formula, re.S):
        if command not in commands:
            return f"it does not know {command}"
    for name in re.findall(r"\\begin\s*\{([^}]*)\}", formula):
        if name not in texts:
            return f"it does not know \\begin{{{name}}}"
    plain = re.sub(r"\\[^A-Za-z]", "", formula)
    if "%" in plain:
        return "what follows a % is a comment to it: write \\%"
    depth = 0
    for sign in plain:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            break
    if depth:
        return "its braces do not close" if depth > 0 else "it has a brace too many"
    for opens, closes in (("left", "right"), ("begin", "end")):
        if len(re.findall(rf"\\{opens}\b", plain)) != len(re.findall(rf"\\{closes}\b", plain)):
            return f"\\{opens} and \\{closes} do not come in pairs"
    return ""


@cache
def _known() -> tuple[frozenset[str], frozenset[str]]:
    """The commands in KaTeX's program, and all its words: names of environments are among them."""
    program = KATEX.read_text(encoding="utf-8")
    commands = re.findall(r"""["']\\(\\(?:[A-Za-z]+|[^A-Za-z]))["']""", program)
    ends = {"\\\\", "\\\n"}  # of a line, which are read letter by letter
    return frozenset(commands) | ends, frozenset(re.findall(r'"(\w+\*?)"', program))
