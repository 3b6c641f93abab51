"""Lecture 8 runs, shows the claims it makes, and each of its checks can fail.

C72 is the lecture's own; G1 to G8 are those of the section on language models.
"""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture08(LectureChecks):
    stem = "08_advantages"
    claims: ClassVar = ["C72", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8"]
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
        "G1": ("q, R, S), target)", "q, R / length, S), target)"),
        "G1 mask": ("q, R - 1, text_scores(filled, valid))", "q, R - 1, no_mask)"),
        "G2": ("(G - 1) / G * target)", "G / (G + 1) * target)"),
        "G2 others": (
            "over_all_groups(others_mean, G), target)",
            "group_mean(target) / G, target)",
        ),
        "G3": ("factor(J[None], G) * target)", "factor(J[None], G + 1) * target)"),
        "G3 limit": ("torch.tensor(15.0).sqrt()", "torch.tensor(16.0).sqrt()"),
        "G4": ("third = summed / 3", "third = averaged / 3"),
        "G4 growth": ("> growth @ summed / summed.norm()", "> growth.norm()"),
        "G5": ("kl_estimates(log_q, log_ref), log_q", "kl_estimates(log_ref, log_q), log_q"),
        "G5 slope": ("slope(ref @ (ref / pi).log())", "slope(pi @ (pi / ref).log())"),
        "G5 far off": ("log_now, log_then).mean()", "log_then, log_then).mean() + divergence"),
        "G6": ("texts.log_probs[texts.valid])", "texts.log_probs.roll(1, 0)[texts.valid])"),
        "G6 ahead": ("changed[:, 5] = ", "changed[:, 4] = "),
        "G7": ("share_after - error > 0.9", "share_before - error > 0.9"),
        "G8": ('curves["1 epoch"][1, :20]', 'curves["1 epoch"][0, :20]'),
        "G8 clip": ('needed["8 epochs, no clip"] >', 'needed["2 epochs"] >'),
    }
