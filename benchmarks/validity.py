"""How far a mark can be trusted: right answers, guards, known mistakes, pairs, mutants.

    python benchmarks/validity.py [--seeds 1000] [--mistake-seeds 200] [--question gae]
                                  [--json FILE] [--docs docs]

Everything sits the exam as in grading, hidden cases of `--seeds` secrets included, but in this
process. A right answer that loses its mark under any secret is a false alarm; a mistake or a mutant
that gets the mark is a miss.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import numpy as np
import torch
from machine import facts
from mutants import mutants
from rich.console import Console
from rich.progress import track
from rich.table import Table

from autograder.questions import homeworks
from autograder.questions.check import Check, compile_exam
from autograder.questions.together import pairs_of, with_pairs
from autograder.student import probe
from autograder.student.exam import Exam, Verdict, judge
from autograder.student.run import read_answers

SECONDS = 5.0  # for one case, as in grading
MUTANT_SEEDS = (0, 1, 2)
# Mutants that do what is right, and why nobody can tell.
EQUIVALENT: dict[tuple[str, str], str] = {}


def sit(exam: Exam, function: Callable[..., Any]) -> Verdict:
    """The verdict on a function that is asked in this process."""
    torch.manual_seed(0)
    np.random.seed(0)
    cases = [{name: array.copy() for name, array in case.items()} for case in exam.cases]
    return judge(
        exam, read_answers(probe.answer(function, exam.check, exam.recipe, cases, SECONDS))
    )


def exam_of(check: Check, seed: int) -> Exam:
    """The exam under one secret."""
    return with_pairs(check, compile_exam(check, np.random.default_rng(seed)))


def told_by(verdict: Verdict) -> str:
    """What an answer is told: a name, several, a relation, or numbers."""
    if verdict.outcome == "known mistake":
        return "pair" if " + " in verdict.mistake else "name"
    if verdict.outcome == "wrong":
        numbers = (" differs on ", " has shape ", "holds nan", " on others (")
        return "numbers" if any(words in verdict.sentence for words in numbers) else "relation"
    return "error"


def measure(check: Check, seeds: int, mistake_seeds: int) -> dict[str, Any]:
    """All counts of one question."""
    exams = [exam_of(check, seed) for seed in range(max(seeds, mistake_seeds, len(MUTANT_SEEDS)))]
    right = (check.reference, *check.accepted)
    lost = sum(sit(e, f).outcome != "right" for e in exams[:seeds] for f in right)
    row: dict[str, Any] = {"right": len(right), "sittings": seeds * len(right), "lost": lost}
    passed = misnamed = 0
    for mistake in check.misconceptions:
        verdicts = [sit(exam, mistake.function) for exam in exams[:mistake_seeds]]
        passed += sum(verdict.outcome == "right" for verdict in verdicts)
        misnamed += sum(verdict.mistake not in ("", mistake.name) for verdict in verdicts)
    row |= {"mistakes": len(check.misconceptions), "passed": passed, "misnamed": misnamed}
    row["pairs told apart"] = len(pairs_of(check))
    killed, told = 0, Counter[str]()
    alive: list[str] = []
    made = [m for m in mutants(check.reference) if (check.name, m.what) not in EQUIVALENT]
    for mutant in made:
        verdicts = [sit(exams[seed], mutant.function) for seed in MUTANT_SEEDS]
        if verdict := next((one for one in verdicts if one.outcome != "right"), None):
            killed += 1
            told[told_by(verdict)] += 1
        else:
            alive.append(mutant.what)
    return row | {"mutants": len(made), "killed": killed, "told": dict(told), "alive": alive}


def page(found: dict[str, dict[str, Any]], seeds: int, mistake_seeds: int) -> str:
    """docs/validity.md."""
    total: Counter[str] = Counter()
    for row in found.values():
        total.update({k: v for k, v in row.items() if isinstance(v, int)})
        total.update({f"told {k}": v for k, v in row["told"].items()})
    lines = [
        "# How far a mark can be trusted",
        "",
        f"Made by `python benchmarks/validity.py --seeds {seeds} --mistake-seeds {mistake_seeds} "
        "--docs docs`. Every answer sits the exam as in grading, hidden cases included, once for "
        "each secret.",
        "",
        f"- **Right answers** by different means lost their mark in **{total['lost']} of "
        f"{total['sittings']:,}** sittings ({seeds:,} secrets each).",
        f"- **Known mistakes** ({total['mistakes']}) got the mark in **{total['passed']}** and "
        f"were called another mistake in **{total['misnamed']}** of "
        f"{total['mistakes'] * mistake_seeds:,} sittings.",
        f"- **Mutants** of the answers: **{total['killed']} of {total['mutants']}** lose the mark "
        f"({total['killed'] / total['mutants']:.1%}). Of them {total['told name']} are told a "
        f"name, {total['told pair']} two, {total['told relation']} a relation, "
        f"{total['told numbers']} numbers, {total['told error']} stop with an error.",
        "",
        "| question | right answers lost | mistakes that pass, misnamed | pairs told apart "
        "| mutants killed |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        lines.append(
            f"| {name} | {row['lost']} of {row['sittings']:,} | {row['passed']}, {row['misnamed']} "
            f"of {row['mistakes'] * mistake_seeds:,} | {row['pairs told apart']} "
            f"| {row['killed']} of {row['mutants']} |"
        )
    lines += ["", "## Mutants that get the mark", ""]
    lines += [f"- `{name}`: `{what}`" for name, row in found.items() for what in row["alive"]]
    if EQUIVALENT:
        lines += ["", "## Left out, since they do what is right", ""]
        lines += [f"- `{name}`: `{what}`. {why}" for (name, what), why in EQUIVALENT.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all questions, or one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="secrets for each right answer")
    parser.add_argument("--mistake-seeds", type=int, default=200, help="for each known mistake")
    parser.add_argument("--question", help="this one only")
    parser.add_argument("--json", type=Path, help="write the counts here, too")
    parser.add_argument("--docs", type=Path, help="write validity.md into this folder")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    checks = [check for row in homeworks().values() for check in row]
    checks = [check for check in checks if asked.question in (None, check.name)]
    found = {
        check.name: measure(check, asked.seeds, asked.mistake_seeds)
        for check in track(checks, description="questions")
    }
    table = Table(title="Validity", title_justify="left")
    columns = ("lost", "sittings", "passed", "misnamed", "mutants", "killed")
    for column in ("question", *columns):
        table.add_column(column)
    for name, row in found.items():
        table.add_row(name, *(f"{row[column]:,}" for column in columns))
    console = Console()
    console.print(table)
    for name, row in found.items():
        for what in row["alive"]:
            console.print(f"alive: {name}: {what}", markup=False, highlight=False)
    if asked.json:
        asked.json.write_text(json.dumps({"machine": facts(), "found": found}, indent=1) + "\n")
    if asked.docs:
        (asked.docs / "validity.md").write_text(page(found, asked.seeds, asked.mistake_seeds))


if __name__ == "__main__":
    main()
