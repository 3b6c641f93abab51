"""Lecture 8 runs, shows the claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture08(LectureChecks):
    stem = "08_advantages"
    claims: ClassVar = ["C72"]
    errata: ClassVar = []
    planted: ClassVar = {
        "C72": ("to_go - b[states])), exact)", "to_go - b[states] * actions)), exact)"),
        "C72 best": ('"n,nt,nts->s", p, to_go, lengths)', '"n,nt,nts->s", p, to_go**2, lengths)'),
        "C72 coin": ("- 0.5  # all of one length", "- policy[states]"),
        "C72 order": ('"A(s, a)": A[states, actions]', '"A(s, a)": Q[states, actions]'),
        "C72 CartPole": ("== (arm, 0.01)]", '== ("plain", 0.01)]'),
        "C72 constant": ("critic[states] - to_go, log_pi)", "critic[states] - to_go, -log_pi)"),
        "C72 normalised": ("same(normalised * width, exact)", "same(normalised, exact)"),
        "C72 TD error": ("@ e - e[:, None]", "@ e + e[:, None]"),
        "C72 cut": ("rows[:, cut] = at_cut", "rows[:, cut] = as_if_over"),
        "C72 n steps": ("everywhere[:, n : n + T]", "everywhere[:, 1 : 1 + T]"),
        "C72 mixture": ("parts.append(lam ** (T - 1)", "parts.append((1 - lam) * lam ** (T - 1)"),
        "C72 trade": ("coarse_bias[-1] < 1e-20", "coarse_bias[-2] < 1e-20"),
        "C72 best lam": ("coarse_variance / K).argmin()]", "coarse_variance * K).argmin()]"),
    }
