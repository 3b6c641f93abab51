"""What is said of a wrong answer that nobody foresaw: what holds, and what nearly holds."""

import numpy as np
import pytest

from autograder.student import diagnosis, relations
from autograder.student.exam import Close, Exam

TIGHT = Close(rtol=1e-6, atol=1e-9)
LENGTHS = (3, 5, 4, 1)
ALL = "on all examples."


def drawn(*shapes):
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape) for shape in shapes]


RETURNS = [3 * array for array in drawn(*((n,) for n in LENGTHS))]
CASES = [
    {"rewards": rewards[: len(returns)].copy(), "gamma": np.array(gamma)}
    for rewards, returns, gamma in zip(
        drawn((9,), (8,), (7,), (6,)), RETURNS, (0.5, 0.9, 1.0, 0.8), strict=True
    )
]


def told(came, wanted=RETURNS, cases=CASES):
    """What is said of arrays, or of tables of them, one a case."""

    def tables(arrays):
        return [a if isinstance(a, dict) else {"returns": np.asarray(a)} for a in arrays]

    exam = Exam(
        check="f",
        title="",
        points=1,
        recipe="",
        cases=tuple(cases),
        expected=tuple(tables(wanted)),
        known_wrong=(),
        tolerance=TIGHT,
        public=2,
    )
    return diagnosis.relation(exam, tables(came))


def each(change):
    return [change(case, right.copy()) for case, right in zip(CASES, RETURNS, strict=True)]


def with_entry(place, number, least=1):
    def change(case, right):
        if len(right) >= least:
            right[place] = number
        return right

    return change


def standardised(right, correction=0, eps=1e-8):
    if len(right) == 1:
        return right * np.nan
    return (right - right.mean()) / (right.std(ddof=correction) + eps)


SAID = {
    "zero": (lambda c, g: 0 * g, f"`returns` came out as zero {ALL}"),
    "minus": (lambda c, g: -g, f"`returns` came out as minus what is right {ALL}"),
    "twice": (lambda c, g: 2 * g, "came out as twice what is right"),
    "half": (lambda c, g: g / 2, "came out as half of what is right"),
    "length": (lambda c, g: g / len(g), "what is right divided by the length of `rewards`"),
    "minus length": (lambda c, g: -g * len(g), "minus what is right times the length of `rewards`"),
    "gamma": (lambda c, g: g * c["gamma"], "what is right times `gamma`"),
    "constant factor": (lambda c, g: 1.37 * g, "1.37 times what is right"),
    "constant more": (lambda c, g: g + 0.25, "what is right plus 0.25"),
    "argument": (lambda c, g: c["rewards"], "as `rewards`, just as it came in,"),
    "argument more": (lambda c, g: g - c["rewards"], "what is right less `rewards`"),
    "reversed": (lambda c, g: g[::-1], "what is right in reverse order"),
    "late": (lambda c, g: np.append(0.0, g[:-1]), "what is right, one step late,"),
    "early": (lambda c, g: np.append(g[1:], 0.0), "what is right, one step early,"),
    "mean": (lambda c, g: g - g.mean(), "what is right less its mean"),
    "standardised": (lambda c, g: standardised(g), "shifted and scaled to mean 0 and spread 1"),
    "standardised by n - 1": (
        lambda c, g: standardised(g, 1, 1e-5),
        "shifted and scaled to mean 0 and spread 1",
    ),
    "sign": (lambda c, g: abs(g), "what is right without its sign"),
    "whole": (lambda c, g: np.trunc(g), "what is right cut to whole numbers"),
    "shape": (lambda c, g: g[:, None], "in another shape: (3, 1) where (3,) is wanted"),
    "last": (with_entry(-1, 0.0), "`returns` is right but for the last entry, which came out as"),
    "first": (with_entry(0, 7.0), "`returns` is right but for the first entry."),
    "one step": (
        lambda c, g: g if len(g) > 1 else g * np.nan,
        "right but where there is a single step, which gives nan",
    ),
    "digits": (lambda c, g: g * (1 + 3e-5), "right to three digits"),
}


@pytest.mark.parametrize("name", SAID)
def test_a_relation_is_said_if_it_holds_on_every_case(name):
    change, words = SAID[name]
    assert words in told(each(change))


NEARLY = {
    "minus, but for one case": lambda c, g: -g if len(g) < 5 else g + 1,
    "minus, on a single case": lambda c, g: -g if len(g) == 5 else g,
    "minus, but for one entry": lambda c, g: np.append(-g[:-1], g[-1] + 1),
    "divided by n - 1": lambda c, g: g / max(len(g) - 1, 2),
    "another factor on each case": lambda c, g: g * (1 + c["rewards"][0] ** 2),
    "another constant on each case": lambda c, g: g + c["rewards"].sum(),
    "nearly the argument": lambda c, g: c["rewards"] * np.linspace(1, 1.01, len(g)),
    "reversed, but for one entry": lambda c, g: np.append(g[::-1][:-1], 0.3),
    "two steps late": lambda c, g: np.append([0.1, 0.2], g)[: len(g)],
    "less its median": lambda c, g: g - np.median(g),
    "spread 1 without mean 0": lambda c, g: g / g.std() if len(g) > 1 else g,
    "mean 0 and spread 1 of its cubes": lambda c, g: standardised(g**3),
    "rounded to tenths": lambda c, g: np.round(g, 1),
    "the last entry on one case only": lambda c, g: with_entry(-1, 0.0, least=5)(c, g),
    "an entry in the middle": lambda c, g: with_entry(len(g) // 2, 9.0)(c, g),
    "one number throughout": lambda c, g: 0 * g + 2.0,
    "nan throughout": lambda c, g: g * np.nan,
    "nan on long cases": lambda c, g: g * np.nan if len(g) > 3 else g,
    "off by a hundredth": lambda c, g: g * np.linspace(1, 1.01, len(g)) + 1e-3,
}


@pytest.mark.parametrize("name", NEARLY)
def test_what_nearly_holds_is_not_said(name):
    assert told(each(NEARLY[name])) == ""


def test_a_matrix_with_rows_and_columns_exchanged():
    wanted = drawn((2, 3), (4, 2), (3, 3))
    cases = [{"theta": array + 1} for array in wanted]
    assert "with rows and columns exchanged" in told([a.T for a in wanted], wanted, cases)
    alike = [a + a.T for a in drawn((3, 3), (2, 2), (4, 4))]
    assert told([a.T + 1e-4 for a in alike], alike, cases) != ""
    assert "exchanged" not in told([a.T + 1e-4 for a in alike], alike, cases)


VALUES = [
    {
        "value": np.array(number),
        "gradient_of_x": array,
        "gradient_of_old": np.zeros(3),
    }
    for number, array in zip((0.4, -1.2, 0.7), drawn((3,), (3,), (3,)), strict=True)
]
GRADIENT_CASES = [{"x": array} for array in drawn((4,), (2,), (3,), (5,))[:3]]


def changed(**changes):
    return [
        {name: changes.get(name, lambda a: a)(array) for name, array in table.items()}
        for table in VALUES
    ]


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (changed(gradient_of_x=lambda a: 0 * a), "`value` is right, and `gradient_of_x` came out "),
        (changed(gradient_of_x=lambda a: -a), "`gradient_of_x` came out as minus what is right"),
        (
            changed(value=lambda a: -a, gradient_of_x=lambda a: -a),
            "`value` and `gradient_of_x` came out as minus what is right",
        ),
        (
            changed(gradient_of_old=lambda a: a + np.arange(3.0)),
            "`value` and `gradient_of_x` are right, and `gradient_of_old` should be zero",
        ),
        (changed(value=lambda a: -a, gradient_of_x=lambda a: 2 * a), ""),
        (changed(value=lambda a: -a, gradient_of_old=lambda a: a + 1), ""),
    ],
)
def test_a_relation_holds_for_all_that_is_off_together(came, words):
    said = told(came, VALUES, GRADIENT_CASES)
    assert words in said
    assert bool(words) == bool(said)


def test_no_number_of_a_case_is_said():
    """Beyond a factor or a constant, which the student chose."""
    numbers = {f"{abs(x):.3g}" for array in RETURNS for x in array}
    for change, _ in SAID.values():
        said = told(each(change))
        assert not [number for number in numbers if number in said]


def test_a_scale_is_a_number_for_each_case_and_for_all_names():
    def scale(came):
        return relations.scale(VALUES, came, TIGHT.agrees)

    assert scale(changed(value=lambda a: -a, gradient_of_x=lambda a: -a)) == [-1.0] * 3
    assert scale(changed(value=lambda a: -a)) is None
    assert scale(changed(value=lambda a: 0 * a, gradient_of_x=lambda a: 0 * a)) is None
