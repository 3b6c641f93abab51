"""How far a mark can be trusted: right answers, guards, known mistakes, pairs, mutants.

    python benchmarks/validity.py [--seeds 1000] [--mistake-seeds 200] [--pair-seeds 200]
                                  [--question gae] [--workers 2] [--json FILE] [--docs docs]

Everything sits the exam as in grading, hidden cases of `--seeds` secrets included, but in this
process. A right answer that loses its mark under any secret is a false alarm; a mistake, a pair of
them or a mutant that gets the mark is a miss.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import numpy as np
import torch
from guards import guarded
from machine import facts
from mutants import mutants
from rich.console import Console
from rich.progress import track
from rich.table import Table

from autograder.questions import homeworks
from autograder.questions.check import Check, compile_exam
from autograder.questions.slips import compose
from autograder.questions.together import with_pairs
from autograder.student import probe
from autograder.student.check import public_exam
from autograder.student.exam import Exam, Verdict, judge
from autograder.student.run import read_answers

SECONDS = 5.0  # for one case, as in grading
MUTANT_SEEDS = (0, 1, 2)
GUARDS = (1e-8, 1e-7)
# Mutants that do what is right, and why nobody can tell.
ONLY = "It has one dimension"
ROWS = "The last dimension is number 1"
NOT_WRITTEN_TO = "Nothing writes to it, so that no copy is needed"
TO_THE_BIT = "It differs at equality to the last bit alone, which rounding decides"
EQUIVALENT = {
    ("returns_to_go", "for reward in rewards.flip(-1):"): ONLY,
    ("returns_to_go", "return torch.stack(returns).flip(-1)"): ONLY,
    ("returns_to_go", "following = torch.zeros_like(rewards[-1])"): "Its shape alone is used",
    ("reinforce_1", "log_probs = torch.log_softmax(theta, dim=1)[states, actions]"): ROWS,
    ("reinforce_2", "log_probs = torch.log_softmax(theta, dim=1)[states, actions]"): ROWS,
    ("reinforce", "theta = theta.detach()"): NOT_WRITTEN_TO,
    ("reinforce", "theta = theta.clone()"): "What comes in has no graph",
    ("kl", "old_log_probs = torch.log_softmax(old_logits, dim=1)"): ROWS,
    ("kl", "log_probs = torch.log_softmax(logits, dim=1)"): ROWS,
    ("kl", "return terms.sum(dim=1).mean()"): ROWS,
    ("conjugate_gradient", "residual = b"): NOT_WRITTEN_TO,
    ("conjugate_gradient", "direction = b"): NOT_WRITTEN_TO,
    ("conjugate_gradient", "converged = squared < tolerance"): TO_THE_BIT,
    ("line_search", "safe = kl(candidate) < delta"): TO_THE_BIT,
    ("gae", "following = torch.zeros_like(deltas[-1])"): "Its shape alone is used",
    (
        "clipped_surrogate",
        "terms = torch.minimum(clipped_ratio * advantages, ratio * advantages)",
    ): "A minimum does not go by the order",
    ("ppo_update", "theta = theta"): NOT_WRITTEN_TO,
    ("ppo_update", "old_log_probs = torch.log_softmax(theta, dim=1)[states, actions]"): ROWS,
    ("ppo_update", "log_probs = torch.log_softmax(leaf, dim=1)[states[rows], actions[rows]]"): ROWS,
}


def sit(exam: Exam, function: Callable[..., Any]) -> Verdict:
    """The verdict on a function that is asked in this process."""
    torch.manual_seed(0)
    np.random.seed(0)
    cases = [{name: array.copy() for name, array in case.items()} for case in exam.cases]
    return judge(
        exam,
        exam.measured(
            read_answers(probe.answer(function, exam.check, exam.recipe, cases, SECONDS))
        ),
    )


def exam_of(check: Check, seed: int) -> Exam:
    """The exam under one secret."""
    exam = compile_exam(check, np.random.default_rng(seed))
    return with_pairs(check, exam, public_exam(check.name))


def told_by(verdict: Verdict) -> str:
    """What an answer is told: a name, several, a relation, or numbers."""
    if verdict.outcome == "known mistake":
        return "pair" if " + " in verdict.mistake else "name"
    if verdict.outcome == "wrong":
        numbers = (" differs on ", " has shape ", "holds nan", " on others (")
        return "numbers" if any(words in verdict.sentence for words in numbers) else "relation"
    return "error"


def measure(check: Check, seeds: int, mistake_seeds: int, pair_seeds: int) -> dict[str, Any]:
    """All counts of one question."""
    most = max(seeds, mistake_seeds, pair_seeds, len(MUTANT_SEEDS))
    exams = [exam_of(check, seed) for seed in range(most)]
    right = (check.reference, *check.accepted)
    lost = sum(sit(e, f).outcome != "right" for e in exams[:seeds] for f in right)
    row: dict[str, Any] = {"right": len(right), "sittings": seeds * len(right), "lost": lost}
    for guard in GUARDS:
        function = guarded(guard).get(check.name)
        sat = [sit(exam, function).outcome for exam in exams[:seeds]] if function else []
        row |= {f"with {guard:g}": len(sat), f"lost by {guard:g}": len(sat) - sat.count("right")}
    passed = misnamed = 0
    for mistake in check.misconceptions:
        verdicts = [sit(exam, mistake.function) for exam in exams[:mistake_seeds]]
        passed += sum(verdict.outcome == "right" for verdict in verdicts)
        misnamed += sum(verdict.mistake not in ("", mistake.name) for verdict in verdicts)
    row |= {"mistakes": len(check.misconceptions), "passed": passed, "misnamed": misnamed}
    # Asked again and again: what the known mistakes answer is worked out once.
    few = [
        replace(e, known_wrong=tuple(e.known_wrong))
        for e in exams[: max(pair_seeds, len(MUTANT_SEEDS))]
    ]
    row |= _pairs(check, few[:pair_seeds])
    killed, told = 0, Counter[str]()
    alive: list[str] = []
    made = [m for m in mutants(check.reference) if (check.name, m.what) not in EQUIVALENT]
    for mutant in made:
        verdicts = [sit(few[seed], mutant.function) for seed in MUTANT_SEEDS]
        if verdict := next((one for one in verdicts if one.outcome != "right"), None):
            killed += 1
            told[told_by(verdict)] += 1
        else:
            alive.append(mutant.what)
    return row | {"mutants": len(made), "killed": killed, "told": dict(told), "alive": alive}


def measure_by_name(job: tuple[str, int, int, int]) -> tuple[str, dict[str, Any]]:
    """The same, for a process of its own."""
    name, *seeds = job
    warnings.simplefilter("ignore")
    (check,) = (check for row in homeworks().values() for check in row if check.name == name)
    return name, measure(check, *seeds)


def _pairs(check: Check, exams: Sequence[Exam]) -> dict[str, int]:
    """What the pairs of known mistakes are told, those that can be made at once and run.

    "both": their two names. "other": one or several that answer exactly the same. "words": a
    relation, or what is left behind. "bare": numbers alone.
    """
    counts = Counter[str](pairs=0, passed=0, both=0, other=0, words=0, bare=0)
    for two in itertools.combinations(check.misconceptions, 2):
        made = compose(check.reference, two)
        if made is None:
            continue
        names = {mistake.name for mistake in two}
        verdicts = [sit(exam, made.function) for exam in exams]
        if any(one.outcome not in ("right", "wrong", "known mistake") for one in verdicts):
            continue
        counts["pairs"] += 1
        for verdict in verdicts:
            named = set(verdict.mistake.split(" + "))
            if verdict.outcome == "right":
                counts["passed"] += 1
            elif verdict.mistake:
                counts["both" if named == names else "other"] += 1
            else:
                counts["bare" if told_by(verdict) == "numbers" else "words"] += 1
    return {f"pairs {key}" if key != "pairs" else key: n for key, n in counts.items()}


def page(found: dict[str, dict[str, Any]], seeds: int, mistake_seeds: int, pair_seeds: int) -> str:
    """docs/validity.md."""
    total: Counter[str] = Counter()
    for row in found.values():
        total.update({k: v for k, v in row.items() if isinstance(v, int)})
        total.update({f"told {k}": v for k, v in row["told"].items()})
    sat = total["pairs"] * pair_seeds or 1
    lines = [
        "# How far a mark can be trusted",
        "",
        f"Made by `python benchmarks/validity.py --seeds {seeds} --mistake-seeds {mistake_seeds} "
        f"--pair-seeds {pair_seeds} --docs docs`. Every answer sits the exam as "
        "in grading, hidden cases included, once for each secret.",
        "",
        f"- **Right answers** by different means lost their mark in **{total['lost']} of "
        f"{total['sittings']:,}** sittings ({seeds:,} secrets each; where none is lost, the rate "
        f"is below 3 in {total['sittings']:,} over all answers, with 95 % confidence).",
        *(
            f"- **With a guard of {guard:g}** below a fraction or in a logarithm, "
            f"{total[f'lost by {guard:g}']} of {total[f'with {guard:g}']:,} lost it."
            for guard in GUARDS
        ),
        f"- **Known mistakes** ({total['mistakes']}) got the mark in **{total['passed']}** and "
        f"were called another mistake in **{total['misnamed']}** of "
        f"{total['mistakes'] * mistake_seeds:,} sittings ({mistake_seeds} for each).",
        f"- **Two known mistakes at once** ({total['pairs']:,} pairs that can be made and run, "
        f"{pair_seeds} for each): "
        f"{total['pairs passed']} of {sat:,} sittings got the mark; "
        f"{total['pairs both'] / sat:.0%} are told both, "
        f"{total['pairs other'] / sat:.0%} a name or names that answer just the same, "
        f"{total['pairs words'] / sat:.0%} a relation, {total['pairs bare'] / sat:.0%} "
        "numbers.",
        f"- **Mutants** of the answers: **{total['killed']} of {total['mutants']}** lose the mark "
        f"({total['killed'] / total['mutants']:.1%}). Of them {total['told name']} are told a "
        f"name, {total['told pair']} two, {total['told relation']} a relation, "
        f"{total['told numbers']} numbers, {total['told error']} stop with an error.",
        "",
        "| question | right answers lost | mistakes that pass, misnamed | pairs named "
        "| mutants killed |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        lines.append(
            f"| {name} | {row['lost']} of {row['sittings']:,} | {row['passed']}, {row['misnamed']} "
            f"of {row['mistakes'] * mistake_seeds:,} "
            f"| {row['pairs both'] + row['pairs other']:,} of {row['pairs'] * pair_seeds:,} "
            f"| {row['killed']} of {row['mutants']} |"
        )
    alive = [f"- `{name}`: `{what}`" for name, row in found.items() for what in row["alive"]]
    lines += ["", "## Mutants that get the mark", "", *(alive or ["None."])]
    lines += ["", "## Left out, since they do what is right", ""]
    lines += [f"- `{name}`: `{what}`. {why}." for (name, what), why in EQUIVALENT.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all questions, or one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="secrets for each right answer")
    parser.add_argument("--mistake-seeds", type=int, default=200, help="for each known mistake")
    parser.add_argument("--pair-seeds", type=int, default=200, help="for each pair of them")
    parser.add_argument("--question", help="this one only")
    parser.add_argument("--workers", type=int, default=1, help="questions side by side")
    parser.add_argument("--json", type=Path, help="write the counts here, too")
    parser.add_argument("--docs", type=Path, help="write validity.md into this folder")
    asked = parser.parse_args(arguments)
    names = [check.name for row in homeworks().values() for check in row]
    seeds = asked.seeds, asked.mistake_seeds, asked.pair_seeds
    jobs = [(name, *seeds) for name in names if asked.question in (None, name)]
    with ProcessPoolExecutor(asked.workers) as pool:
        done = pool.map(measure_by_name, jobs)
        found = dict(track(done, description="questions", total=len(jobs)))
    table = Table(title="Validity", title_justify="left")
    columns = (
        "lost",
        "sittings",
        "passed",
        "misnamed",
        "pairs",
        "pairs passed",
        "mutants",
        "killed",
    )
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
        text = page(found, asked.seeds, asked.mistake_seeds, asked.pair_seeds)
        (asked.docs / "validity.md").write_text(text)


if __name__ == "__main__":
    main()
