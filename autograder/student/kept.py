"""A fork that stays where a check cell stands, with all as it is there, until it is asked.

It is asked when the last cell has run, so that no cell ever sees a question. What a function does
when it is asked is done to the fork alone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LOOK = 0.05  # seconds between two looks whether a silent fork still lives
MAX_REPLY = 24_000_000
LATE = 152  # a fork's end that says that it ran out of time, as of one that the kernel stopped


@dataclass(frozen=True)
class Kept:
    """A fork that waits for its question on a line of its own."""

    pid: int
    line: socket.socket

    def ask(self, question: bytes, patience: float) -> tuple[bytes, int | None]:
        """The one line of its reply; else b"" and how it ended, as a shell says it.

        It is gone afterwards.
        """
        until = time.monotonic() + patience
        reply = self._hear(question, until)
        self.line.close()
        whole = reply.endswith(b"\n")
        grace = min(until, time.monotonic() + 1)  # its line goes a moment before it does
        while not whole and not self._is_dead() and time.monotonic() < grace:
            time.sleep(0.005)
        late = not whole and not self._is_dead()
        try:
            os.kill(self.pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except OSError:  # the notebook has reaped it
            return (reply, None) if whole else (b"", None)
        if whole:
            return reply, None
        return b"", LATE if late else code if code >= 0 else 128 - code

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


def keep(reply: Callable[[bytes], bytes], closed: Iterable[int]) -> Kept | None:
    """Fork; None where that cannot be: beyond Linux, torch is not made for it.

    reply: from the one line that the fork is asked to the one that it says. closed: descriptors
    that it shall not have.
    """
    if sys.platform != "linux":
        return None
    ours, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:  # as many processes as there may be
        ours.close()
        theirs.close()
        return None
    if pid == 0:
        try:
            ours.close()
            for descriptor in closed:
                os.close(descriptor)
            with theirs.makefile("rb") as reader:
                question = reader.readline()
            if question:
                theirs.sendall(reply(question))
        finally:
            os._exit(0)
    theirs.close()
    return Kept(pid, ours)
