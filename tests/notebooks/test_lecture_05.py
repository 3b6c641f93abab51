"""Lecture 5 runs, shows every claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture05(LectureChecks):
    stem = "05_performance_difference"
    claims: ClassVar = [*(f"C{n}" for n in range(32, 46) if n != 36), "C85"]
    errata: ClassVar = ["E10", "E13", "E15", "E18", "E19"]
    planted: ClassVar = {
        "C32": ("policy_iteration(noise=0.0)", "policy_iteration(noise=0.5)"),
        "C33": ("total = total + gamma**t *", "total = total + gamma ** (t + 1) *"),
        "C33 E18": ("ratio = van(0.5, 0.5) / old", "ratio = old / van(0.5, 0.5)"),
        "C34": ("weighed(new_visits, news, advantages)", "weighed(new_visits, olds, advantages)"),
        "C34 visits": (
            "many.visitation(olds), many.visitation(news)",
            "many.visitation(news), many.visitation(olds)",
        ),
        "C35": ("means = (olds * advantages)", "means = (news * advantages)"),
        "C35 E13": ("torch.tensor([0.3, 0.5, 0.1, 0.1])", "torch.tensor([0.25, 0.25, 0.25, 0.25])"),
        "C37": ("(expected >= 0).all(-1)", "(expected >= 0).any(-1)"),
        "C37 E15": ("keen * world.advantages(lazy)", "keen * world.advantages(keen)"),
        "C38": (
            "greedy = one_hot(advantages.argmax(-1)",
            "greedy = one_hot(many.rewards.argmax(-1)",
        ),
        "C39": (
            "same(single.sum(), L(bold) - eta(old))",
            "same(single.mean(), L(bold) - eta(old))",
        ),
        "C85": ("4: (states_old * old", "4: (states_new * old"),
        "C85 line 3": ("3: (states_new * old * ratio", "3: (states_new * bold * ratio"),
        "C85 E19": ("almost = van(1e-6, 1e-6)", "almost = van(0.0, 0.0)"),
        "C40": ("return L(softmax_policy(theta))", "return L(softmax_policy(2 * theta))"),
        "C41": ("L_line.diff().min() > 0", "true_line.diff().min() > 0"),
        "C41 free": ("one_hot(A_old.argmax(1), 2)", "one_hot(A_old.argmin(1), 2)"),
        "C42": ("(1 - alphas[:, None, None]) * old", "(1 - alphas[:, None, None] ** 2) * old"),
        "C43": ("(1 - G) ** 2 * alpha**2", "(1 - G) ** 2 * alpha**3"),
        "C43 trap": (
            "charged = 2 * gamma / (1 - gamma) ** 2",
            "charged = gamma / (1 - gamma) ** 2",
        ),
        "C44": ("(eta(point) - L(point)).abs()", "(eta(point) - eta(old)).abs()"),
        "C45": ("return 2 * epsilon * gamma", "return 4 * epsilon * gamma"),
        "C45 E10": ("return alpha * epsilon / (1 - gamma)", "return epsilon / (1 - gamma)"),
        "C45 largest gain": ("epsilon / (1 - G)).all()", "epsilon).all()"),
    }
