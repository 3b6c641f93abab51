"""Lecture 2 runs, shows every claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture02(LectureChecks):
    stem = "02_policy_gradient"
    claims: ClassVar = [f"C{number}" for number in range(14, 24)]
    errata: ClassVar = ["E7", "E8", "E16"]
    planted: ClassVar = {
        "C14": (
            "softmax_policy(theta), T).rewards @ discounts",
            "softmax_policy(theta), T).probabilities",
        ),
        "C15": ('"n,nsa->sa", returns, slopes', '"n,nsa->sa", returns.square(), slopes'),
        "C16": ("probabilities[:, None, None] * scores)", "scores / probabilities[:, None, None])"),
        "C17": (
            "mean, error = mean_and_error(score_form)",
            "mean, error = mean_and_error(-score_form)",
        ),
        "C18": (
            "naive = returns[:, None, None] * slopes",
            "naive = returns[:, None, None] * scores",
        ),
        "C19": ("step_scores.sum(1), scores)", "step_scores.mean(1), scores)"),
        "C20": ("step_scores.sum(1)),", "step_scores[:, :1].sum(1)),"),
        "C21": (
            "probabilities, step_scores, discounted)  # (T, T",
            "probabilities, step_scores, paths.rewards)  # (T, T",
        ),
        "C22": ("tril(-1).bool()", "triu(1).bool()"),
        "C23": ("later = torch.ones(T, T).triu()", "later = torch.ones(T, T).tril()"),
        # Checks that stand in a second cell of their claim.
        "C15 E16": ("x = torch.logspace(-14, 0, 200_001)", "x = torch.linspace(0.1, 1, 200_001)"),
        "C17 rate": ("errors = errors_of(score_form)", "errors = errors_of(score_form + 0.1)"),
        "C22 E7": ("torch.full((6, 2), 0.5), T)", "softmax_policy(theta), T)"),
        "C23 variance": ("/ total_variance(whole_form)", "/ total_variance(to_go_form)"),
        "C23 E7": ("variances_with(-4.0)", "variances_with(+1.0)"),
        "C23 E8": ("afresh = later * discounts / discounts[:, None]", "afresh = later * discounts"),
    }
