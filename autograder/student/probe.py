"""The few lines that run in the student's process: run the cells, then answer questions.

Nothing here is secret and nothing here judges: questions come in as arrays, answers go out as
arrays. Whoever rewrites this file from inside gains nothing but other numbers.
"""

from __future__ import annotations

import base64
import builtins
import functools
import importlib
import io
import math
import os
import re
import sys
import time
from typing import Any, BinaryIO

from autograder.student import wire
from autograder.student.kept import Kept, Reply, keep, only_adds
from autograder.student.limits import WALL, TimeLimit, time_limit, usual_settings
from autograder.student.recipes import load
from autograder.student.salvage import go_on

LATER_SECONDS = 1.0  # what a case gets after one that reached its limit
LAST_SECONDS = 1.0  # what a cell gets when the cells before it have used up the time of all
MAX_TEXT = 20_000
MAX_MESSAGE = 300
MAX_DISPLAYS = 20
MAX_PNG = 1_000_000


def answer(
    function: Any,
    name: str,
    recipe_source: str,
    cases: list[wire.Arrays],
    seconds: float = 0,
    last_resort: bool = True,
) -> list[dict[str, Any]]:
    """Run a recipe on every case: {"observations": ...} or {"failure": {kind, message, line}}.

    A case without an answer is followed by the others: one at its time limit by LATER_SECONDS for
    each, or by none if there is no answer yet; an interruption by none. last_resort: as in
    `time_limit`.
    """
    if not callable(function):
        return [_failure("missing", "")]
    recipe, process = load(recipe_source, "recipe"), os.getpid()
    answers: list[dict[str, Any]] = []
    for case in cases:
        try:
            with usual_settings(), time_limit(seconds, last_resort=last_resort):
                answers.append({"observations": wire.encode(recipe(function, case))})
        except wire.WireError as error:
            answers.append(_failure("not numbers", str(error)))
        except TimeLimit as error:
            answers.append(_failure("timed out", str(error)))
            if not any("observations" in one for one in answers):
                return answers
            seconds = min(seconds, LATER_SECONDS)
        except BaseException as error:
            answers.append(_raised(function, name, error))
            if isinstance(error, KeyboardInterrupt):
                return answers
        finally:
            if os.getpid() != process:  # a fork that the function left running: it has no say here
                os._exit(0)
    return answers


def _raised(function: Any, name: str, error: BaseException) -> dict[str, Any]:
    """What a function ended in: its own stub, another function's, or an error of any kind."""
    said = _said(error)
    if isinstance(error, NotImplementedError) and "your code here" in said:
        stub = re.match(r"(\w+): your code here", said)
        if stub and stub[1] != name:
            return _failure("part unwritten", stub[1])
        return _failure("unwritten", "")
    message = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return _failure("raised", message, _line(function, error))


def _failure(kind: str, message: str, line: int | None = None) -> dict[str, Any]:
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 3] + "..."
    return {"failure": {"kind": kind, "message": message, "line": line}}


def _said(error: BaseException) -> str:
    """An error's words; a student's own exception may fail to give any."""
    try:
        return str(error)
    except Exception:
        return ""


def _line(function: Any, error: BaseException) -> int | None:
    """The last line of the student's own cell on the way to the error."""
    filename = getattr(getattr(function, "__code__", None), "co_filename", None)
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == filename:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


class BoundedText(io.StringIO):
    """Standard output that keeps the first MAX_TEXT characters and counts the rest."""

    dropped = 0

    def write(self, text: str) -> int:
        """Keep what fits."""
        room = max(0, MAX_TEXT - self.tell())
        super().write(text[:room])
        self.dropped += max(0, len(text) - room)
        return len(text)

    def text(self) -> str:
        """What was kept, with a note on what was not."""
        note = f"\n[{self.dropped} more characters not kept]" if self.dropped else ""
        return self.getvalue() + note


@functools.cache
def make_shell() -> Any:
    """An IPython shell without kernel, history or colours, that records what cells show."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import RichOutput
    from traitlets.config import Config

    class Shell(InteractiveShell):
        """Runs one cell at a time into nbformat outputs."""

        error: dict[str, Any] | None = None
        error_line = 0  # of the cell, where it stopped

        def showtraceback(self, exc_tuple: Any = None, *rest: Any, **named: Any) -> None:
            """As IPython does, but for a time limit: its clock goes on meanwhile."""
            error = (exc_tuple or sys.exc_info())[1]
            if isinstance(error, TimeLimit):
                self._showtraceback(TimeLimit, error, _time_error(error)["traceback"])
            else:
                super().showtraceback(exc_tuple, *rest, **named)

        def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
            frame = getattr(evalue, "__traceback__", None)
            while frame is not None and frame.tb_frame.f_globals is not self.user_ns:
                frame = frame.tb_next
            self.error_line = 0 if frame is None else frame.tb_lineno
            self.error = {
                "output_type": "error",
                "ename": etype.__name__,
                "evalue": str(evalue)[:MAX_TEXT],
                "traceback": [str(line)[:MAX_TEXT] for line in stb][:50],
            }

        def enable_gui(self, gui: Any = None) -> None:
            """A shell without screen has no window system to run."""

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Context"
    shell: Any = Shell.instance(config=config)
    publisher = CapturingDisplayPublisher()
    shell.display_pub = publisher
    formatter: Any = shell.display_formatter
    results: list[Any] = []

    def keep_result(value: Any) -> None:
        if value is None:
            return
        builtins._ = value  # type: ignore[attr-defined]
        results.append(RichOutput(*formatter.format(value)))

    shell.display_trap.hook = keep_result
    shell.captured = (publisher, results)
    return shell


def run_cell(
    shell: Any, source: str, seconds: float, note: str = "", instead: str | None = None
) -> list[dict[str, Any]]:
    """Run one code cell; its outputs in nbformat's form, text and PNG only.

    instead: for the imports cell, see `salvage.go_on`.
    """
    publisher, results = shell.captured
    shell.error = None
    publisher.outputs.clear()
    results.clear()
    stdout, stderr = BoundedText(), BoundedText()
    old = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = stdout, stderr
    try:
        with time_limit(seconds, note):
            shell.run_cell(source, store_history=False)
            errors = go_on(shell, source, instead)
    except TimeLimit as error:  # arrived outside the cell's own code
        errors = [_time_error(error)]
    finally:
        sys.stdout, sys.stderr = old
    outputs: list[dict[str, Any]] = [
        {"output_type": "stream", "name": name, "text": stream.text()}
        for name, stream in (("stdout", stdout), ("stderr", stderr))
        if stream.getvalue()
    ]
    shown = [rich if isinstance(rich, dict) else {"data": rich.data} for rich in publisher.outputs]
    shown += [{"data": rich.data} for rich in results]
    for display in shown[:MAX_DISPLAYS]:
        if data := _safe_data(display.get("data") or {}):
            outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    return outputs + errors


def _time_error(error: BaseException) -> dict[str, Any]:
    text = str(error)
    return {
        "output_type": "error",
        "ename": "TimeLimit",
        "evalue": text,
        "traceback": [text],
    }


def _safe_data(data: dict[str, Any]) -> dict[str, str]:
    """Of what a cell shows, keep plain text and PNG."""
    kept = {}
    text, png = data.get("text/plain"), data.get("image/png")
    if isinstance(text, str):
        kept["text/plain"] = text[:MAX_TEXT]
    if isinstance(png, bytes):
        png = base64.b64encode(png).decode()
    if isinstance(png, str) and len(png) <= MAX_PNG:
        kept["image/png"] = png
    return kept


def seed_everything() -> None:
    """The same notebook gives the same numbers each time it is graded."""
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def serve(reader: BinaryIO, writer: BinaryIO) -> None:
    """Run a notebook's cells, then answer questions until the other side closes.

    In: {"cells": [source or null...], "cell_seconds", "answer_seconds"}, maybe with "cells_seconds"
    for all of them together, "files": {name: base64}, "imports": [cell, source] to run if that cell
    stops, and "keep": [cell...], ahead of which all is to be kept as it is there; then any number
    of {"check", "recipe", "cases"}, maybe with the "cell" where it is asked. Out: {"cell": k}
    before a cell, {"cell": k, "outputs": [...]} after it, {"ready": true, "kept": [cell...]}, then
    {"answers": [...]} a question, or {"down": status} if what was kept went down over it.
    """

    def say(message: dict[str, Any]) -> None:
        writer.write(wire.dumps(message))
        writer.flush()

    order = wire.loads(reader.readline())
    for name, content in order.get("files", {}).items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as file:
            file.write(base64.b64decode(content))
    seed_everything()
    importlib.import_module("course_lib")
    sys.path.insert(0, os.getcwd())  # now, when nothing there can stand before torch or us
    shell, process = make_shell(), os.getpid()
    builtins.input = _no_input
    seconds_to_answer = order["answer_seconds"]
    kept: dict[int, Kept] = {}
    waiting: list[int] = []  # for a cell that may change what stands there
    left = order.get("cells_seconds", math.inf)
    imports, instead = order.get("imports", (None, None))
    own = {name: value for name, value in vars(builtins).items() if name.isalpha()}
    for index, source in enumerate(order["cells"]):
        if index in order.get("keep", ()):
            waiting.append(index)
        if source is None:
            continue
        if waiting and not only_adds(source, shell.user_ns):
            lines = {one.line.fileno() for one in kept.values()}
            lines |= {reader.fileno(), writer.fileno()}
            if fork := keep(functools.partial(_through_a_fork, shell, seconds_to_answer), lines):
                kept |= dict.fromkeys(waiting, fork)
            waiting = []
        say({"cell": index})
        started, used = time.monotonic(), time.process_time()
        seconds = min(order["cell_seconds"], max(left, LAST_SECONDS))
        short = seconds < order["cell_seconds"]
        note = f": all cells together get {order['cells_seconds']:g} s" if short else ""
        outputs = run_cell(shell, source, seconds, note, instead if index == imports else None)
        left -= time.process_time() - used
        vars(builtins).update(own)  # what a cell put in place of len serves neither IPython nor us
        if os.getpid() != process:  # a fork that the cell left running: it has no say here
            os._exit(0)
        say({"cell": index, "outputs": outputs, "seconds": time.monotonic() - started})
    say({"ready": True, "kept": list(kept)})
    while line := reader.readline():
        question = wire.loads(line)
        if fork := kept.get(question.get("cell")):
            reply = fork.ask(line, _patience(question, seconds_to_answer) + 1)
            writer.write(reply or wire.dumps({"down": fork.code}))
            writer.flush()
        else:
            say({"answers": _answers(shell, question, seconds_to_answer)})


def _through_a_fork(shell: Any, seconds: float, own_line: int) -> Reply:
    """What a fork replies: what a fork of it does, or that it went down and how."""
    answering: list[Kept | None] = [None]

    def reply(line: bytes) -> bytes:
        question = wire.loads(line)
        fork = answering[0] = answering[0] or keep(lambda _: _answering(shell, seconds), [own_line])
        said = fork.ask(line, _patience(question, seconds)) if fork else b""
        if fork and said:
            try:
                if wire.loads(said)["check"] == question["check"]:
                    return said
            except (wire.WireError, KeyError, TypeError):
                pass
            fork.end()  # what else it would say would be taken for its next answer
        answering[0] = None
        return wire.dumps({"answers": None} if said else {"down": fork.code if fork else None})

    return reply


def _answering(shell: Any, seconds: float) -> Reply:
    import torch

    def reply(line: bytes) -> bytes:
        question = wire.loads(line)
        answers = _answers(shell, question, seconds)
        return wire.dumps({"check": question["check"], "answers": answers})

    torch.set_num_threads(1)  # whatever the notebook had: those are not in a fork
    return reply


def _patience(question: dict[str, Any], seconds: float) -> float:
    return len(question["cases"]) * WALL * seconds + 2


def _answers(shell: Any, question: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    seed_everything()
    cases = [wire.decode(case) for case in question["cases"]]
    function = shell.user_ns.get(question["check"])
    return answer(function, question["check"], question["recipe"], cases, seconds)


def _no_input(prompt: object = "") -> str:
    raise RuntimeError("input() has nobody to answer it here: put the value into the cell")


def main() -> None:
    """Serve over standard input and output, which the notebook itself does not get to see."""
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    serve(reader, writer)


if __name__ == "__main__":
    main()
