"""Every lecture runs, shows the claims it makes, and each of its checks can fail.

A class for each file in notebooks/src/lectures, so that `--dist loadscope` runs lectures side by
side and each once. One alone: -k 03_rewards_to_go.
"""

from lecture_checks import PLANTED, STEMS, LectureChecks

for stem in STEMS:
    name = f"Test_{stem}"
    globals()[name] = type(name, (LectureChecks,), {"stem": stem, "__module__": __name__})


def test_every_file_of_planted_mistakes_belongs_to_a_lecture() -> None:
    assert {path.name for path in PLANTED.iterdir()} <= {f"{stem}.toml" for stem in STEMS}
