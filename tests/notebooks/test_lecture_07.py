"""Lecture 7 runs, shows every claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture07(LectureChecks):
    stem = "07_ppo"
    claims: ClassVar = [*(f"C{number}" for number in range(62, 70)), "C87"]
    errata: ClassVar = ["E2", "E3", "E4", "E5", "E6", "E18", "E19"]
    planted: ClassVar = {
        "C62": ("return softmax_policy(theta) / old", "return old / softmax_policy(theta)"),
        "C62 log": (
            "return softmax_policy(theta) / old",
            "return (softmax_policy(theta) / old).log() + 1",
        ),
        "C62 frozen": (
            "frozen = softmax_policy(theta) / softmax_policy(theta)",
            "frozen = softmax_policy(theta) / old",
        ),
        "C62 E18 E19": ("((van(0.0, 0.0), 0.5)", "((van(0.0, 0.0), 1.0)"),
        "C63": ("(-1, 0.5): (-0.8, 0)", "(-1, 0.5): (-0.5, -1)"),
        "C63 max": ("plain, clipped, value, rise =", "plain, value, clipped, rise ="),
        "C63 E2": ("(A < 0) & (ratio < 1 - epsilon)", "(A < 0) & (ratio < 0)"),
        "C63 E4": (
            "spent = (A > 0) & (ratio > 1 + epsilon) | (A < 0) & (ratio < 1 - epsilon)",
            "spent = (ratio > 1 + epsilon) | (ratio < 1 - epsilon)",
        ),
        "C64": ("rows[1.0][:, 2], rows[-1.0][:, 2]", "rows[1.0][:, 2], -rows[1.0][:, 2]"),
        "C64 plain": ("rows[1.0][:, 2], rows[-1.0][:, 2]", "rows[1.0][:, 0], rows[-1.0][:, 0]"),
        "C64 E3": ("pushes(path[-1], gains)", "pushes(path[-1], gains).all()"),
        "C65": (
            "d * ratio * pushes(ratio, A_old) * A_old, policy",
            "d * (ratio - 1) * pushes(ratio, A_old) * A_old, policy",
        ),
        "C65 refreshed": ("ppo_direction(moved, old), plain", "ppo_direction(moved, moved), plain"),
        "C66": ('"clipped": clipped}', '"clipped": lambda r, A: A}'),
        "C66 E6": ('"clipped": of_clipped', '"clipped": lambda policy: d * policy / old * A_old'),
        "C66 E6 states": ("mean_of(w_old, news, f))", "mean_of(w_new, news, f))"),
        "C66 E5": ("counts.max(0)", "counts.min(0)"),
        "C66 E5 network": ('("zero_gradient", "smallest"', '("outside", "smallest"'),
        "C87": ("learn(clipped, 10, seed)", 'learn(kinds["vanilla"], 10, seed)'),
        "C87 E19": (
            "discounted = per_state @ twins.visitation(half)",
            "discounted = per_state @ torch.ones(4)",
        ),
        "C87 recorded": ("4 * curves[:, 0]", "40 * curves[:, 0]"),
        "C67": ('off["K = 1"][0] < -3', 'off["K = 10"][0] < -3'),
        "C67 cliff": ("learn(clipped, K, s,", "learn(clipped, 10, s,"),
        "C68": ("if errors < -3}", "if errors < -2}"),
        "C69": ("if errors < -4}", "if errors < -1.9}"),
    }
