"""Seconds a submission: `course grade` beside `nbgrader autograde`, on the same class.

    python benchmarks/grading.py [--students 20] [--stock 5] [--json FILE]

Makes up a class of honest submissions to hw1 and grades all of them with `course grade` (from a
cold start, sandbox and all) and the first few of them with nbgrader's own command, one call for all
of those. The two marks are compared on the way; the ratio is of seconds a submission, each side's
start-up shared out. nbgrader runs every cell; `course grade` leaves out those that only draw, which
`--with-pictures` puts back. The parts are medians of the journals, by the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from rich.console import Console
from rich.table import Table

from autograder.demo.made_up_class import make_draft, make_submission
from autograder.handouts.assignments import release_assignment

ROOT = Path(__file__).resolve().parents[1]
HOMEWORK = "hw1"


def make_class(course: Path, students: int) -> list[str]:
    """Honest submissions: right answers in several styles, known mistakes, some of each."""
    release_assignment(course, HOMEWORK)
    release = nbformat.read(course / "release" / HOMEWORK / f"{HOMEWORK}.ipynb", as_version=4)
    names = [f"student{number:03d}" for number in range(students)]
    kinds = ("right", "right by other means", "mixed", "mistaken")
    for number, name in enumerate(names):
        draft = make_draft(HOMEWORK, name, release)
        folder = course / "submitted" / name / HOMEWORK
        make_submission(kinds[number % len(kinds)], draft, folder)
    return names


def scores(course: Path) -> dict[str, float]:
    """Points of the checks by student."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {
            submission.student.id: sum(
                score.auto_score or 0
                for notebook in submission.notebooks
                for score in notebook.grades
            )
            for submission in gradebook.assignment_submissions(HOMEWORK)
        }


def put_pictures_back(course: Path) -> None:
    """Have the cells run that grading leaves out since they only draw."""
    for path in course.rglob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("# Picture: grading does not run", "# A picture: grading runs")
        )


PARTS = {
    "begin": "reading it, drawing and working out its hidden cases",
    "run": "starting a process",
    "cell": "its cells",
    "ran": "keeping what stands at a check",
    "ask": "asking its functions, at the end and at checks",
    "verdict": "judging",
}


def parts(course: Path) -> dict[str, float]:
    """Median seconds of a submission by what they are spent on."""
    spent = []
    for path in (course / ".course" / "journal" / HOMEWORK).glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        sums = dict.fromkeys(PARTS, 0.0)
        for line, after in itertools.pairwise(lines):
            if line["what"] in sums:
                sums[line["what"]] += after["seconds"] - line["seconds"]
        spent.append(sums)
    return {words: round(statistics.median(s[k] for s in spent), 3) for k, words in PARTS.items()}


def job_memory(command: list[str], course: Path) -> float:
    """The most megabytes that a process of a job had for itself while a command ran.

    Looked at every twentieth of a second; the first of these processes is the warm parent, which
    the others share the rest with.
    """
    peaks: dict[int, int] = {}
    environment = {**os.environ, "COURSE_CLASS": str(course)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            for entry in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError, StopIteration):
                    words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                    if b"autograder.grading.warm_parent" in words and b"python" in words[0]:
                        lines = Path(f"/proc/{entry}/smaps_rollup").read_text().splitlines()
                        dirty = next(line for line in lines if line.startswith("Private_Dirty:"))
                        kilobytes = int(dirty.split()[1])
                        peaks[int(entry)] = max(peaks.get(int(entry), 0), kilobytes)
            time.sleep(0.05)
    return max(peaks[pid] for pid in sorted(peaks)[1:]) / 1024


def timed(command: list[str], course: Path) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "COURSE_CLASS": str(course)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--stock", type=int, default=5, help="how many of them nbgrader grades")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--with-pictures", action="store_true", help="run the cells that draw, too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as name:
        ours, stock = Path(name) / "ours", Path(name) / "stock"
        students = make_class(ours, options.students)
        if options.with_pictures:
            put_pictures_back(ours)
        shutil.copytree(ours, stock)
        for student in students[options.stock :]:
            shutil.rmtree(stock / "submitted" / student)
        grade = [str(scripts / "course"), "grade", HOMEWORK, f"--workers={options.workers}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = timed([*grade, "--json"], ours)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        records = sorted((ours / ".course" / "records" / HOMEWORK).glob("*.json"))
        inside = [json.loads(path.read_text())["seconds"] for path in records]
        autograde = [str(scripts / "nbgrader"), "autograde", HOMEWORK, "--create"]
        each = timed(autograde, stock) / min(options.stock, len(students))
        spent = parts(ours)
        memory = job_memory(
            [*grade, "--again", "--json", *(f"--student={s}" for s in students[:4])], ours
        )
        folder = sum(path.stat().st_size for path in ours.rglob("*") if path.is_file())
        mine, theirs = scores(ours), scores(stock)
    result = {
        "submissions": len(students),
        "workers": options.workers,
        "course_grade_total_s": round(total, 2),
        "course_grade_s_per_submission": round(total / len(students), 3),
        "in_sandbox_median_s": round(statistics.median(inside), 3),
        "own_processor_s_per_submission": round(used / len(students), 3),
        "parts": spent,
        "grader_peak_MB": round(after.ru_maxrss / 1024),
        "job_peak_MB": round(memory),
        "class_folder_kB_per_submission": round(folder / len(students) / 1000),
        "nbgrader_autograde_s_per_submission": round(each, 3),
        "ratio": round(each / (total / len(students)), 1),
        "same_marks": {s: mine[s] == theirs[s] for s in students[: options.stock]},
    }
    table = Table(title=f"{len(students)} submissions to {HOMEWORK}", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    for key, value in result.items():
        if key == "same_marks":
            value = f"{sum(result['same_marks'].values())} of {options.stock}"
        if key == "parts":
            for words, seconds in spent.items():
                table.add_row(f"  {words}", str(seconds))
            continue
        table.add_row(key.replace("_", " "), str(value))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
        print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
