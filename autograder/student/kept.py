"""A fork that stays where a check cell stands, with all as it is there, until it is asked.

It is asked when the last cell has run, so that no cell ever sees a question. What a function does
when it is asked is done to a fork of the fork, which another one follows if it goes down.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

LOOK = 0.05  # seconds between two looks whether a silent fork still lives
MAX_REPLY = 24_000_000
LATE = 152  # a fork's end that says that it ran out of time, as of one that the kernel stopped

Reply = Callable[[bytes], bytes]


@dataclass
class Kept:
    """A fork that waits for questions on a line of its own. code: how it ended, as a shell says."""

    pid: int
    line: socket.socket
    gone: bool = False
    code: int | None = None

    def ask(self, question: bytes, patience: float) -> bytes:
        """The one line of its reply, b"" if it went down over it."""
        if self.gone:
            return b""
        until = time.monotonic() + patience
        reply = self._hear(question, until)
        if reply.endswith(b"\n"):
            return reply
        grace = min(until, time.monotonic() + 1)  # its line goes a moment before it does
        while not self._is_dead() and time.monotonic() < grace:
            time.sleep(0.005)
        late = not self._is_dead()
        self.end()
        self.code = LATE if late else self.code
        return b""

    def end(self) -> None:
        """Make an end of it, if it has not come to one."""
        self.line.close()
        self.gone = True
        try:
            os.kill(self.pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.code = code if code >= 0 else 128 - code
        except OSError:  # the notebook has reaped it
            pass

    def _hear(self, question: bytes, until: float) -> bytes:
        """What it says to a question, until it ends its line, dies or runs out of time."""
        said = b""
        try:
            self.line.settimeout(max(until - time.monotonic(), LOOK))
            self.line.sendall(question)
            self.line.settimeout(LOOK)
            while not said.endswith(b"\n") and len(said) < MAX_REPLY and time.monotonic() < until:
                try:
                    part = self.line.recv(1 << 20)
                except TimeoutError:
                    if self._is_dead():  # what it started may hold the line open
                        break
                    continue
                if not part:
                    break
                said += part
        except OSError:
            pass
        return said

    def _is_dead(self) -> bool:
        try:
            looked = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            return True
        return looked is not None


def keep(make_reply: Callable[[int], Reply], closed: Iterable[int]) -> Kept | None:
    """Fork; None where that cannot be: beyond Linux, torch is not made for it.

    make_reply(descriptor): in the fork, whose own line that is, what makes the one line that it
    says of each that it is told. closed: descriptors that it shall not have.
    """
    fork = getattr(os, "fork", None)
    if fork is None or sys.platform != "linux":
        return None
    try:
        ours, theirs = socket.socketpair()
    except OSError:  # as many open files as there may be
        return None
    try:
        pid = fork()
    except OSError:  # as many processes as there may be
        ours.close()
        theirs.close()
        return None
    if pid == 0:
        try:
            ours.close()
            for descriptor in closed:
                os.close(descriptor)
            reply = make_reply(theirs.fileno())
            with theirs.makefile("rb") as reader:
                while question := reader.readline():
                    theirs.sendall(reply(question))
        finally:
            os._exit(0)
    theirs.close()
    return Kept(pid, ours)


def asked_in(source: str) -> str:
    """The name of the function that a cell's text gives to `check` and nothing else, or ""."""
    match = re.fullmatch(r"\s*check\(\s*(\w+)\s*\)\s*", source)
    return match[1] if match else ""


def _bound(imported: ast.alias) -> str:
    """The name that an import binds."""
    return imported.asname or imported.name.partition(".")[0]


def _is_there(
    statement: ast.Import | ast.ImportFrom, imported: ast.alias, names: Mapping[str, Any]
) -> bool:
    """Whether an import binds a name to what it holds already."""
    if isinstance(statement, ast.Import):
        name = imported.name if imported.asname else _bound(imported)
        found = sys.modules.get(name)
    else:
        module = None if statement.level else sys.modules.get(statement.module or "")
        found = vars(module).get(imported.name) if isinstance(module, ModuleType) else None
    return found is not None and names.get(_bound(imported)) is found


def only_adds(source: str, names: Mapping[str, Any]) -> bool:
    """Whether a cell can change no function above it: it checks one, adds some, or imports.

    names: those that are taken, with their values; what is imported once more is no change. With
    such a cell ahead, a fork need not be made yet.
    """
    if asked_in(source):
        return True
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for statement in statements:
        if isinstance(statement, ast.FunctionDef):
            head = [statement.args, *([statement.returns] if statement.returns else [])]
            calls = any(isinstance(part, ast.Call) for node in head for part in ast.walk(node))
            new = ["*" if calls or statement.decorator_list else statement.name]
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            new = [_bound(one) for one in statement.names if not _is_there(statement, one, names)]
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            new = []
        else:
            return False
        if any(name == "*" or name in names or hasattr(builtins, name) for name in new):
            return False
    return True
