"""Lecture 1 runs, shows every claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture01(LectureChecks):
    stem = "01_objective"
    claims: ClassVar = [*(f"C{number:02}" for number in range(1, 14)), "C73", "C74"]
    errata: ClassVar = ["E1", "E19"]
    planted: ClassVar = {
        "C01": ("if tail in found}", "if head in found}"),
        "C02": ("backed_up = (uniform * one_step).sum(1)", "backed_up = one_step.max(1).values"),
        "C03": ("assert same((policy * Q).sum(1), V)", "assert same((policy * A).sum(1), V)"),
        "C04": ("is_policy(softmax_policy(wild)) and", "is_policy(wild.sigmoid()) and"),
        "C05": ("one_hot(Q.argmax(1), 2)", "one_hot(Q.argmin(1), 2)"),
        "C06": (
            "table = torch.stack([torch.stack([1 - p, p])",
            "table = torch.stack([torch.stack([p, 1 - p])",
        ),
        "C07": ("reward(throws) * density(theta), throws)", "reward(throws), throws)"),
        "C08": ("discounts[: len(e)] @ e.rewards", "e.rewards.sum()"),
        "C73": ("ice.gamma**t * where @ r", "ice.gamma**(t + 1) * where @ r"),
        "C09": ("actions, after]  # (N, T): p(s", "actions, states]  # (N, T): p(s"),
        "C10": ("policy[states, actions].prod(1)", "policy[states, actions][:, 1:].prod(1)"),
        "C11": ("rest = discounts[steps] * V[", "rest = V["),
        "C74": ('errors["both sides"][coarse]) - 2', 'errors["one side"][coarse]) - 2'),
        "C12": ("at + 0.01 * slope)", "at + 0.01 * slope.flip(2))"),
        # The same for checks that stand in a second cell of their claim.
        "C03 E1": ("((printed_policy * printed_Q)", "((uniform * printed_Q)"),
        "C05 slopes": ("gaps], 1)  # (801, A)", "2 * gaps], 1)  # (801, A)"),
        "C07 ascent": ("last = last + 0.5", "last = last - 0.5"),
        "C12 curves": ("at = at + rate *", "at = at - rate *"),
        "C74 E19": ("(J(theta + h) - J(theta)) / h", "one_sided(h)[0, 1]"),
        "C13": ("after_step = theta + 0.5 * ice.policy_gradient(theta)", "after_step = theta"),
    }
