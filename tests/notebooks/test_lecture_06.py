"""Lecture 6 runs, shows every claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture06(LectureChecks):
    stem = "06_trpo"
    claims: ClassVar = [*(f"C{n}" for n in range(46, 62)), "C86"]
    errata: ClassVar = ["E11", "E12", "E14", "E18"]
    planted: ClassVar = {
        "C46": ("return (p - q).abs().sum(-1) / 2", "return (p - q).abs().mean(-1)"),
        "C48": (
            "assert within_4_errors(a == a_new, 1 - tv)",
            "assert within_4_errors(a == a_new, tv)",
        ),
        "C47": ("C = 4 * advantages.abs()", "C = 0.4 * advantages.abs()"),
        "C47 square": (
            "assert (gaps <= C * alphas**2).all()",
            "assert (gaps <= C * alphas**4).all()",
        ),
        "C47 trap": ("penalty = 4 * 0.9", "penalty = 1 * 0.9"),
        "C49": ("return (p * (p / q).log()).sum(-1)", "return (p * (p / q).log()).mean(-1)"),
        "C49 sign": ("return (p * (p / q).log()).sum(-1)", "return (p * (q / p).log()).sum(-1)"),
        "C49 E11": ("pairs_kl / pairs_tv**2", "pairs_kl / pairs_tv"),
        "C50": (
            "assert (gaps <= C * largest_kl).all()",
            "assert (gaps <= C * largest_kl**2).all()",
        ),
        "C50 max": ("divergence(olds, new).amax(-1)", "divergence(olds, new).amin(-1) / 4"),
        "C52": (
            "minoriser = eta(near, x) + gain - C_near * kl_to",
            "minoriser = eta(near, x) + gain - C_near * kl_to / 50",
        ),
        "C52 touch": (
            "minoriser = eta(near, x) + gain - C_near * kl_to",
            "minoriser = eta(near, x) + gain - C_near * kl_to - 0.001",
        ),
        "C51": (
            "theory = climb(road, penalised, 600)",
            "theory = climb(road, lambda gain, kl_to, C: gain.argmax(), 20)",
        ),
        "C53": ("> 1000 * first_step(theory)", "> 1000 * first_step(looser)"),
        "C53 iterations": ("almost = best - 0.1", "almost = best + 0.1"),
        "C54": ("mean_kl = (weights * per_state).sum(-1)", "mean_kl = per_state.sum(-1)"),
        "C54 steps": ("0.01, combine))", "0.01 if combine is by_max else 1e-6, combine))"),
        "C55": ("exact_kl = w @ divergence(old, new)", "exact_kl = w @ divergence(new, old)"),
        "C56": ("ratio = (new / old)[states, actions]", "ratio = (old / new)[states, actions]"),
        "C56 log": (
            "ratio = (new / old)[states, actions]",
            "ratio = (new / old).log()[states, actions]",
        ),
        "C56 E14 E18": (
            "return w @ (old * (new / old) * A_old)",
            "return w @ ((new / old) * A_old)",
        ),
        "C86": ("L_at(to_edge(two_ways, delta))", "L_at(to_edge(two_ways.flip(0), delta))"),
        "C57": ("lambda change: g @ change)", "lambda change: 1.01 * (g @ change))"),
        "C57 half": ("change @ F @ change / 2)", "change @ F @ change / 2.02)"),
        "C58": ('"s,sa,sap,saq->pq", w, old', '"s,sa,sap,saq->pq", w, new'),
        "C58 E12": ("torch.tensor([1.0, 1.0, 0.0, 0.0])", "torch.tensor([1.0, 0.0, 1.0, 0.0])"),
        "C59": ("(two * delta / (g @ natural)) ** 0.5", "(two * delta / (g @ g)) ** 0.5"),
        "C60": ("distance(best_in_span(k))", "distance(best_in_span(1))"),
        "C60 product": ("same(product(v), F_big @ v + damping * v)", "same(product(v), F_big @ v)"),
        "C61": ("(kl_to <= delta) & (gain > 0)", "kl_to <= delta"),
        "C61 gain": ("(kl_to <= delta) & (gain > 0)", "gain > 0"),
    }
