"""hw2: the backtracking line search that keeps the true KL."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.line_search import line_search


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    start = torch.tensor(case["theta"])
    theta, step = start.clone(), torch.tensor(case["step"])
    slope = torch.tensor(case["slope"])
    bend, stiffness = float(case["bend"]), float(case["stiffness"])

    # Smooth stand-ins, exact and cheap; the height of the gain is arbitrary, as it is in theory.
    def gain(point: torch.Tensor) -> torch.Tensor:
        moved = torch.as_tensor(point).double() - start
        return float(case["height"]) + slope @ moved - bend * (moved @ moved)

    def divergence(point: torch.Tensor) -> torch.Tensor:
        moved = torch.as_tensor(point).double() - start
        return stiffness * (moved @ moved)

    settings = float(case["delta"]), float(case["shrink"]), int(case["tries"])
    last = frozen(function(gain, divergence, theta, step, *settings))
    kept = untouched(theta, case["theta"])
    kept = kept and untouched(step, case["step"])
    again = same_again(lambda: function(gain, divergence, theta, step, *settings), last)
    return {"theta": last, "inputs_unchanged": kept, "second_call_agrees": again}


def _case(**changes: Any) -> Case:
    """The full step is safe and better; then what `changes` say."""
    case: Case = {
        "theta": np.array([-5.0, 4.0]),
        "step": np.array([1.0, 2.0]),  # squared length 5
        "slope": np.array([1.0, 0.5]),  # slope along the step 2
        "bend": 0.0,
        "stiffness": 0.1,
        "height": 1.5,
        "delta": 1.0,
        "shrink": 0.5,
        "tries": 10,
    }
    return {**case, **changes}


def public_cases() -> list[Case]:
    flat = np.zeros(2)
    return [
        _case(),
        _case(delta=0.1),  # the divergence is 0.5, 0.125, 0.03125: i = 2
        _case(bend=1.0, height=-2.0),  # the gain of 1, 1/2, 1/4: -3, -0.25, 0.19: i = 2
        _case(bend=0.39, delta=2.0),  # the full step gains 0.05, half of it more
        _case(slope=np.array([-1.0, -0.5])),  # never better
        _case(shrink=0.7, delta=0.1),  # 0.5 * 0.49^i: i = 3
        _case(delta=0.02, tries=3),  # safe only from i = 3 on
        _case(delta=0.02, tries=2),
        _case(delta=0.4),  # the full step has 0.5: i = 1
        _case(bend=0.6, delta=0.1),  # neither safe nor better, then better alone: i = 2
        _case(delta=0.025, tries=4),  # the last try is the one
        _case(theta=np.array([-0.3, 0.2]), delta=0.02),  # the same from elsewhere: i = 3
        _case(slope=flat),  # as good everywhere, better nowhere
        _case(
            theta=np.array([0.4]), step=np.array([-1.0]), slope=np.array([-1.0]), delta=0.03
        ),  # one number: i = 1
        _case(bend=1.0, shrink=0.6),  # the gain of 1, 0.6, 0.36: -3, -0.6, 0.07: i = 2
    ]


def _safe(case: Arrays, shrunk: float = 1.0) -> bool:
    step = shrunk * case["step"]
    return bool(case["stiffness"] * (step @ step) <= case["delta"])


def _moves(case: Arrays) -> bool:
    """Whether any try is good."""
    for i in range(int(case["tries"])):
        step = float(case["shrink"]) ** i * case["step"]
        better = case["slope"] @ step - case["bend"] * (step @ step) > 0
        if better and _safe(case, float(case["shrink"]) ** i):
            return True
    return False


def _shows(case: Arrays) -> str:
    """What a case is for."""
    if case["tries"] != 10:
        return "tries"
    if not _moves(case):
        return "none"
    if case["shrink"] != 0.5:
        return "shrink"
    return "better" if _safe(case) else "safe"


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for what in rng.permutation(
        [
            "safe",
            "one number",
            "late",
            "little",
            "below",
            "shrink",
            "by gain",
            "short",
            "last",
            "no",
        ]
    ):
        size = 1 if what == "one number" else int(rng.integers(2, 6))
        step, theta = rng.normal(size=(2, size))
        theta *= rng.uniform(3, 5) * np.sqrt((step @ step) / (theta @ theta))  # far from the step
        squared = float(step @ step)
        slope = rng.normal(size=size)
        slope = slope * np.sign(slope @ step)
        shrink = 0.5
        if what in ("shrink", "by gain"):
            shrink = float(rng.choice([rng.uniform(0.35, 0.42), rng.uniform(0.6, 0.75)]))
        # The try that the divergence lets through first, well between two powers of shrink.
        first_safe = int(rng.integers(2, 5))
        between = 0.3 if what == "short" else 1.6
        case = _case(
            theta=theta,
            step=step,
            slope=slope,
            stiffness=0.5 / squared,
            height=float(rng.uniform(2, 4)),
            delta=0.5 * shrink ** (2 * first_safe - between),
            shrink=shrink,
        )
        along = float(slope @ step)
        if what == "short":  # of tries: never safe
            case |= {"tries": first_safe}
        elif what == "last":
            case |= {"tries": first_safe + 1}
        elif what == "no":
            case |= {"slope": -slope}
        elif what in ("late", "below", "by gain"):  # better from i = 2 on, and safe at once
            case |= {"bend": along / squared / shrink**1.5, "delta": 1.0}
        elif what == "little":  # the full step is better by little
            case |= {"bend": 0.95 * along / squared, "delta": 1.0}
        if what == "below":
            case |= {"height": -case["height"]}
        cases.append(case)
    return cases


# Right by other means.


def with_while(
    surrogate: Any, kl: Any, theta: Any, step: Any, delta: Any, shrink: Any = 0.5, tries: Any = 10
) -> Tensor:
    scale, used = 1.0, 0
    while used < tries:
        new = theta + scale * step
        if float(kl(new)) < delta and float(surrogate(new)) > float(surrogate(theta)):
            break
        scale, used = scale * shrink, used + 1
    else:
        return theta.clone()
    return new


def all_at_once(
    surrogate: Any, kl: Any, theta: Any, step: Any, delta: Any, shrink: Any = 0.5, tries: Any = 10
) -> Tensor:
    scales = shrink ** torch.arange(tries)  # single precision
    candidates = theta + scales[:, None] * step
    good = [bool(kl(c) <= delta) and bool(surrogate(c) - surrogate(theta) > 0) for c in candidates]
    return candidates[good.index(True)] if True in good else theta


def in_numpy(
    surrogate: Any, kl: Any, theta: Any, step: Any, delta: Any, shrink: Any = 0.5, tries: Any = 10
) -> Any:
    old = surrogate(theta).item()
    for scale in np.power(shrink, np.arange(tries)):
        new = theta.numpy() + scale * step.numpy()
        if kl(torch.tensor(new)) <= delta and surrogate(torch.tensor(new)) > old:
            return new
    return theta.numpy()


# What students write instead.

slip = partial(slip_of, line_search, see="06_trpo#C61")

CHECK = Check(
    title="Line search",
    reference=line_search,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "The answer is right, but the caller's step was overwritten while it shrank. Keep the "
            "step as it came and scale a copy.",
            candidate="theta + step",
            good="""
                good = safe and surrogate(candidate) > old_surrogate
                if not good:
                    step *= shrink
            """,
        ),
        slip(
            "accepts without a gain",
            "A step is accepted as soon as its KL is small enough, even where the surrogate falls. "
            "The step came from a linear model: has it to be believed far away from theta?",
            good="safe",
        ),
        slip(
            "accepts any KL",
            "A step is accepted as soon as the surrogate rises, however far it goes. The step "
            "meets the constraint only in the quadratic model; the search is there to check the "
            "true KL.",
            safe="True",
        ),
        slip(
            "one condition is enough",
            "A step passes if either condition holds. It has to be both safe and better.",
            good="safe or surrogate(candidate) > old_surrogate",
        ),
        slip(
            "compares the surrogate with zero",
            "The new surrogate is held against 0. What counts is a gain over its value at theta, "
            "which is zero only in some versions of the surrogate.",
            old_surrogate="0.0",
        ),
        slip(
            "wants a smaller surrogate",
            "A step is accepted where the surrogate falls, as if it were a loss. It is the "
            "objective and should rise.",
            good="safe and surrogate(candidate) < old_surrogate",
        ),
        slip(
            "half as much again",
            "Steps with a KL of up to 1.5 delta are accepted, as some programs have it. Here the "
            "limit is delta itself.",
            safe="kl(candidate) <= 1.5 * delta",
        ),
        slip(
            "wants a large KL",
            "A step is accepted when its KL is at least delta. delta is the most that the policy "
            "may move.",
            safe="kl(candidate) >= delta",
        ),
        slip(
            "last try if none is good",
            "When no try is good, the smallest one is taken all the same. Then the right answer is "
            "not to move at all.",
            answer_2="candidate",
        ),
        slip(
            "full step if none is good",
            "When no try is good, the full step is taken, the most dangerous of all. Then the "
            "right answer is not to move at all.",
            answer_2="theta + step",
        ),
        slip(
            "no shorter step is reached",
            "After the full step no shorter one is reached: either it is the only one tried, or "
            "each try starts from the one before, so that the steps add up. Every try starts from "
            "theta.",
            before="candidate = theta",
            candidate="candidate + shrink**i * step",
        ),
        slip(
            "shrinks theta as well",
            "The whole of theta + step is shrunk, so the tries run towards zero and not back to "
            "theta. Only the step gets smaller.",
            candidate="shrink**i * (theta + step)",
        ),
        slip(
            "asks the KL about the step",
            "kl is given the step alone. It is a function of the parameters, like the surrogate: "
            "ask it about theta plus the step.",
            safe="kl(shrink**i * step) <= delta",
        ),
        slip(
            "skips the full step",
            "The first try is already shrunk. The powers of shrink start at i = 0, with the whole "
            "step.",
            i="range(1, tries + 1)",
        ),
        slip(
            "one try short",
            "One try is missing at the end: with tries = 4 the smallest step is shrink^3 of the "
            "whole.",
            i="range(tries - 1)",
        ),
        slip(
            "one try too many",
            "One try more than allowed is made: with tries = 3 the powers are 0, 1 and 2.",
            i="range(tries + 1)",
        ),
        slip(
            "best instead of first",
            "The safe try with the largest surrogate is taken. The search stops at the first that "
            "is good: that is cheaper, and the surrogate is only a model anyway.",
            before="best = theta",
            good="""
                if safe and surrogate(candidate) > surrogate(best):
                    best = candidate
                good = False
            """,
            answer_2="best",
        ),
        slip(
            "tries has no effect",
            "The search goes on after `tries` tries. Is the argument used?",
            i="range(100)",
        ),
        slip(
            "no search",
            "The full step comes back, whatever its gain and its KL are.",
            answer_1="theta + step",
            answer_2="theta + step",
        ),
        slip(
            "always halves",
            "The step is halved each time, whatever `shrink` says. Is the argument used?",
            candidate="theta + 0.5**i * step",
        ),
        slip(
            "shrinks by what is left of 1",
            "Each try is the one before times 1 - shrink. `shrink` is the factor itself: at 0.9 "
            "the step gets shorter by a tenth.",
            candidate="theta + (1 - shrink) ** i * step",
        ),
        slip(
            "shrinks only once",
            "After the first try the step no longer gets smaller. Try i has shrunk i times.",
            candidate="theta + shrink ** min(i, 1) * step",
        ),
        slip(
            "returns the step",
            "What comes back is the accepted step. Asked for are the new parameters.",
            answer="answer - theta",
        ),
        slip(
            "steps the wrong way",
            "The step is subtracted from theta. It already points to where the surrogate rises: "
            "this is a search for a large value, no descent on a loss.",
            candidate="theta - shrink**i * step",
        ),
        slip(
            "shrink times i instead of a power",
            "Try i goes shrink * i of the way, so the tries begin at theta and get longer. They "
            "begin with the whole step and shrink: the power, not the product.",
            candidate="theta + shrink * i * step",
        ),
        slip(
            "compares with the last try",
            "Each try is held against the one before. What counts is a gain over the surrogate at "
            "theta.",
            good="""
                new_surrogate = surrogate(candidate)
                good = safe and new_surrogate > old_surrogate
                old_surrogate = new_surrogate
            """,
        ),
        slip(
            "last good instead of first",
            "The last try that is safe and better is taken, the smallest step of them. The search "
            "stops at the first.",
            before="last = theta",
            good="""
                if safe and surrogate(candidate) > old_surrogate:
                    last = candidate
                good = False
            """,
            answer_2="last",
        ),
        slip(
            "returns the fraction",
            "What comes back is the power of shrink. Asked for are the new parameters.",
            answer_1="torch.tensor(shrink**i)",
            answer_2="torch.tensor(0.0)",
        ),
        slip(
            "as good is good enough",
            "A step is accepted where the surrogate is as large as at theta. It has to be larger: "
            "what does a step without a gain do?",
            good="safe and surrogate(candidate) >= old_surrogate",
        ),
        slip(
            "equal parts instead of powers",
            "The tries get shorter by equal parts of the step. Try i goes shrink^i of the way.",
            candidate="theta + (1 - i / tries) * step",
        ),
        slip(
            "shrinks what was shrunk",
            "A step that is already shrunk is multiplied by shrink^i again. Either the power of "
            "the whole step, or one more factor a try.",
            candidate="theta + shrink ** (i * (i + 1) / 2) * step",
        ),
    ),
    parts=(
        Property("shrinks until it is safe", cases=lambda case: _shows(case) == "safe"),
        Property("shrinks until it is better", cases=lambda case: _shows(case) == "better"),
        Property("any shrink", cases=lambda case: _shows(case) == "shrink"),
        Property("as many tries as asked for", cases=lambda case: _shows(case) == "tries"),
        Property(
            "theta if no step is good", cases=lambda case: _shows(case) == "none", beside=True
        ),
    ),
    accepted=(with_while, all_at_once, in_numpy),
)
