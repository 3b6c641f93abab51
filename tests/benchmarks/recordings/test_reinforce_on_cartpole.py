"""The recording of REINFORCE on CartPole is whole, and its numbers are possible ones."""

import math

from course_lib.recorded import recorded


def test_every_run_of_every_arm_is_there() -> None:
    recording = recorded("reinforce_on_cartpole")
    updates = recording["settings"]["updates"]
    for entry in recording["arms"]:
        assert len(entry["runs"]) == len(recording["arms"][0]["runs"]) > 3
        for run in entry["runs"]:
            assert set(run) == {"mean_return", "entropy", "kl"}
            assert {len(numbers) for numbers in run.values()} == {updates}
            assert all(8 <= value <= 500 for value in run["mean_return"])
            assert all(0 <= value <= math.log(2) + 1e-4 for value in run["entropy"])
            assert all(value >= -1e-4 for value in run["kl"])
