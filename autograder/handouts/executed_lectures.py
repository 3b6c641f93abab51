"""Lectures with their outputs: executed as a student would, and only when something changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.notebooknode import NotebookNode

from autograder.handouts.bundle import bundle_files, copy_packages
from autograder.handouts.freshness import fresh_files, remember
from autograder.handouts.sources import lecture_notebook, notebook_bytes
from autograder.percent import Cell
from autograder.project import ROOT, HandoutError, Progress, replace, unseen

EXECUTED = "build/executed"
SIDE_BY_SIDE = 2
CELL_SECONDS = 180  # an endless loop ends; what is merely slow is for the tests to say
# What the kernel is told beside the lecture. Students have no answers, so neither has a lecture;
# twice the pixels, for print.
KERNEL = (
    "--IPKernelApp.exec_lines=import sys; sys.modules['course_lib.reference'] = None",
    "--InlineBackend.figure_formats=retina",
    "--HistoryManager.hist_file=:memory:",
)
# One thread each: two lectures run side by side, and sums come out the same on any machine.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


@dataclass
class _Lecture:
    """A lecture on its way: its notebook, the fingerprint of what its outputs depend on."""

    file: str
    notebook: NotebookNode
    key: str

    @property
    def note(self) -> str:
        """The name under which it is remembered."""
        return f"executed-{Path(self.file).stem}"

    @property
    def code(self) -> list[tuple[int, NotebookNode]]:
        """The code cells and their numbers, from 1 among all cells."""
        cells = enumerate(self.notebook.cells, start=1)
        return [(number, cell) for number, cell in cells if cell.cell_type == "code"]


def executed_lectures(root: Path = ROOT, progress: Progress = unseen) -> dict[str, Any]:
    """Every lecture by stem, as a notebook with outputs.

    They are kept in build/executed/ too; outputs stand until a code cell of the lecture, a file of
    course_lib that students have, a pinned version or Python itself changes. What is left is run
    two at a time against course_lib as students have it.
    progress: counts code cells; not called if nothing is to be run.
    Raises HandoutError naming file, cell and error of every lecture that fails, after all have run.
    """
    paths = sorted(root.glob("notebooks/src/lectures/*.py"))
    common = _common_key(root)
    lectures = {}
    for path in paths:
        notebook = lecture_notebook(path)
        lectures[path.stem] = _Lecture(path.name, notebook, _key(notebook, common))
    stale = {stem: lecture for stem, lecture in lectures.items() if not _stands(root, lecture)}
    if stale:
        _run_all(root, stale, progress)
    for lecture in lectures.values():
        _keep(root, lecture)
    return {stem: lecture.notebook for stem, lecture in lectures.items()}


def _common_key(root: Path) -> str:
    """What all lectures depend on."""
    digest = hashlib.sha256()
    for name, content in bundle_files(root, built={}).items():
        if name.startswith("course_lib/") or name == "constraints.txt":
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    settings = [platform.python_version(), KERNEL, sorted(ENVIRONMENT.items())]
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()


def _key(notebook: NotebookNode, common: str) -> str:
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps([common, code]).encode()).hexdigest()


def _stands(root: Path, lecture: _Lecture) -> bool:
    """Put the kept outputs into the notebook, if they are still those of this lecture."""
    kept = fresh_files(root, lecture.note, lecture.key)
    if kept is None:
        return False
    notebook = nbformat.read(kept[0], as_version=4)
    executed = (cell for cell in notebook.cells if cell.cell_type == "code")
    for count, ((_, cell), old) in enumerate(zip(lecture.code, executed, strict=True), start=1):
        cell.execution_count, cell.outputs = count, old.outputs
    return True


def _keep(root: Path, lecture: _Lecture) -> None:
    path = root / EXECUTED / f"{Path(lecture.file).stem}.ipynb"
    if replace(path, notebook_bytes(lecture.notebook)):
        remember(root, lecture.note, lecture.key, [path])


def _run_all(root: Path, stale: Mapping[str, _Lecture], progress: Progress) -> None:
    total = sum(len(lecture.code) for lecture in stale.values())
    done = 0

    def step(stem: str) -> None:
        nonlocal done
        done += 1
        progress(stem, done, total)

    progress(next(iter(stale)), 0, total)

    async def run_all(folder: Path) -> list[HandoutError]:
        room = asyncio.Semaphore(SIDE_BY_SIDE)

        async def run(stem: str, lecture: _Lecture) -> HandoutError | None:
            async with room:
                try:
                    await _run(lecture, folder, lambda: step(stem))
                except HandoutError as error:
                    return error
            _keep(root, lecture)
            return None

        errors = await asyncio.gather(*(run(*item) for item in stale.items()))
        return [error for error in errors if error is not None]

    with tempfile.TemporaryDirectory(prefix="course-lectures-") as name:
        folder = Path(name).resolve()
        copy_packages(root, folder)
        _write_kernel(folder)
        errors = asyncio.run(run_all(folder))
    if errors:
        raise HandoutError("\n".join(str(error) for error in errors))


def _write_kernel(folder: Path) -> None:
    """This very Python as a kernel: whatever kernels or IPython profiles the user has."""
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *KERNEL]
    places = {"PYTHONPATH": str(folder), "IPYTHONDIR": str(folder / "ipython")}
    spec = {
        "argv": command,
        "display_name": "course",
        "language": "python",
        "env": ENVIRONMENT | places,
    }
    replace(folder / "kernels" / "course" / "kernel.json", json.dumps(spec).encode())
    (folder / "notebooks" / "lectures").mkdir(parents=True)


async def _run(lecture: _Lecture, folder: Path, step: Callable[[], None]) -> None:
    """Execute the lecture in place."""
    kernels = KernelSpecManager(kernel_dirs=[str(folder / "kernels")])
    manager = AsyncKernelManager(kernel_name="course", kernel_spec_manager=kernels)
    client = NotebookClient(
        lecture.notebook,
        km=manager,
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,
    )
    place = folder / "notebooks" / "lectures"
    await manager.start_kernel(cwd=str(place), stdout=DEVNULL, stderr=DEVNULL)
    try:
        await client.async_start_new_kernel_client()
        for count, (number, cell) in enumerate(lecture.code, start=1):
            try:
                await client.async_execute_cell(cell, number - 1, execution_count=count)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                failed = Cell(lecture.file, number, "code", cell.source)
                raise failed.error(_in_one_line(error)) from None
            step()
    finally:
        await manager.shutdown_kernel(now=True)
        if client.kc is not None:
            client.kc.stop_channels()


def _in_one_line(error: Exception) -> str:
    """What went wrong in a cell: the error's last line, and the line of the cell it came from."""
    if isinstance(error, CellTimeoutError):
        return f"it ran longer than {CELL_SECONDS} s: make it quicker, or look for an endless loop"
    if not isinstance(error, CellExecutionError):
        return "its process died, perhaps for lack of memory"
    message = f"{error.ename}: {error.evalue}".strip().rstrip(":")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
    where = re.search(r"^-+> (\d+) (.*)$", plain, flags=re.MULTILINE)
    at = f", at line {where[1]}: {where[2].strip()}" if where else ""
    return message.splitlines()[-1] + at
