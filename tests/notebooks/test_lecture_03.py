"""Lecture 3 runs, shows every claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture03(LectureChecks):
    stem = "03_rewards_to_go"
    claims: ClassVar = ["C36", "C75", "C76", "C77", *(f"C{number}" for number in range(80, 85))]
    errata: ClassVar = ["E7", "E8", "E19"]
    planted: ClassVar = {
        "C75": ("standard_errors_off(p) < 4.5", "standard_errors_off(p.sqrt() * 0.1) < 4.5"),
        "C76": (
            "assert same(over_all(weights, scores)",
            "assert same(over_all(weights, scores.clamp_min(0))",
        ),
        "C77": ("returns[:, None, None] * step_scores.sum(1)", "step_scores.sum(1)"),
        "C36": ("gamma * step_matrix.T, courier.start", "gamma * step_matrix, courier.start"),
        "C81": ("d = courier.occupancy(policy)", "d = (1 - gamma) * courier.occupancy(policy)"),
        "C82": ("over_occupancy = (d * f).sum()", "over_occupancy = (policy * f).sum()"),
        "C80": ('"msa,msa,msab->msb", occupancies, Q', '"msa,msa,msab->msb", policies, Q'),
        "C83": ("weighted(to_go)), exact)  # (6b)", "weighted(to_go / 2)), exact)  # (6b)"),
        "C84": ('"rewards-to-go G": weighted(to_go)', '"rewards-to-go G": weighted(to_go / 2)'),
        # The same for checks that stand in a second cell of their claim.
        "C75 E19": ("chosen * moves.prod(1)", "chosen * moves[:, 1]"),
        "C77 wrong way": ("along(whole_form) < 0", "along(whole_form) > 0"),
        "C36 series": ("many.gammas[:, None] ** t", "many.gammas[:, None] ** (t + 1)"),
        "C81 E19": (
            '"h,hsa->sa", gamma ** torch.arange(100)',
            '"h,hsa->sa", gamma * torch.ones(100)',
        ),
        "C80 advantages": (
            "same(occupancies * A, judge)",
            "same(occupancies * V[:, :, None], judge)",
        ),
        "C83 Q is the mean of G": ("later) / discounts", "later)"),
        "C83 E19": ("    long_ride.rewards[H]\n", "    long_ride.rewards[H - 1]\n"),
        "C83 E8": ("ferry.sum() / (discounts @ ferry)", "ferry.sum() / discounts.sum()"),
        "C83 E8 twins": ("climb(lambda policy: torch.ones(4))", "climb(twins.visitation)"),
        "C84 random worlds": ("both_variances(paid)", "both_variances(2 * paid - 1)"),
        "C84 E7": ("whole.abs()", "ahead.abs()"),
    }
