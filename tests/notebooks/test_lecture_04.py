"""Lecture 4 runs, shows every claim it makes, and each of its checks can fail."""

from typing import ClassVar

from lecture_checks import LectureChecks


class TestLecture04(LectureChecks):
    stem = "04_reinforce"
    claims: ClassVar = [*(f"C{number}" for number in range(24, 32)), "C70", "C71", "C78"]
    errata: ClassVar = ["E9", "E17"]
    planted: ClassVar = {
        "C24": ("heights_16 = learn(K=16, rate=0.3)", "heights_16 = learn(K=16, rate=0.003)"),
        "C25": ("spread = {K: h[20].std()", "spread = {K: heights_1[20].std()"),
        "C26": ("loss = (weights * losses)", "loss = losses"),
        "C27": ("after = step_from(uniform, 0.1)", "after = step_from(uniform, -0.1)"),
        "C28": ("mean_push(off * (on / off))", "mean_push(off * (off / on))"),
        "C29": ("-mu + 0.5 * (mu @ mu + 2)", "-mu + 0.5 * (mu @ mu + 1)"),
        "C30": ("ends.quantile(0.1, dim=1)", "ends.quantile(0.95, dim=1)"),
        "C31": ("return logit - 2 * rate", "return logit + 2 * rate"),
        "C70": ("z.exp().sum(1, keepdim=True)", "z.exp().mean(1, keepdim=True)"),
        "C71": ("away @ covariance.inverse() * away", "away @ covariance * away"),
        "C78": ("theta.argmax(2), 2)", "theta.argmin(2), 2)"),
        # The same for checks that stand in a second cell of their claim.
        "C24 CartPole": ("peaks = runs(0.01)", "peaks = runs(0.1)"),
        "C25 CartPole": ("at_30 = runs(0.01)", "at_30 = runs(0.001)"),
        "C26 no weights": ("as_often = chances(some)[0,", "as_often = chances(some)[1,"),
        "C27 E9": ("poor = torch.tensor([0.0, 0.0, 0.0, 3.0, 0.0])", "poor = torch.zeros(5)"),
        "C28 old rides": ('"n,nsa->sa", paths.probabilities', '"n,nsa->sa", chances(target)[0]'),
        "C29 weights": ("return ratio * -0.5", "return -0.5"),
        "C31 E17": ("2 * (1 - p), -1 * p)", "2 * (1 - p), 1 * p)"),
        "C31 CartPole": ("fast.max(1).values < 10.5", "fast.max(1).values < 60"),
        "C31 baseline": ('runs(0.01, arm="baseline")', "runs(0.01)"),
        "C70 slopes": ("torch.eye(3) - p)", "torch.eye(3) + p)"),
        "C71 integral": ("arm.log_prob(one, grid).exp()", "arm.log_prob(one, grid)"),
        "C78 corridor": ("torch.stack(way[-20:])", "torch.stack(way[:20])"),
    }
