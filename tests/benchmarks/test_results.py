"""The results table evaluates what it says it does, goes on where it stopped, and is not stale."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest

from course_lib.reference.agents.settings import Settings
from course_lib.training import History, PPOConfig

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "results"
SMALL = Settings("ppo", "CartPole-v1", PPOConfig(envs=4, rollout_steps=16, total_steps=200))


def test_curve_is_the_mean_of_the_episodes_that_ended_in_each_span(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    ends = np.sort(rng.integers(1, 1001, 60))
    returns = rng.normal(size=60)
    history = History(returns.tolist(), ends.tolist())
    curve = script.curve(history, 1000)
    assert len(curve) == script.POINTS
    for span, mean in enumerate(curve):
        width = 1001 / script.POINTS
        inside = returns[(ends >= span * width) & (ends < (span + 1) * width)]
        if len(inside):
            assert mean == pytest.approx(inside.mean(), abs=0.005)
        else:
            assert mean is None


def test_a_hole_in_a_curve_is_filled_by_what_came_before(script: ModuleType) -> None:
    assert script.carried([1.0, None, None, 2.0, None]) == [1.0, 1.0, 1.0, 2.0, 2.0]
    assert np.isnan(script.carried([None, 3.0])[0])


def test_runs_that_are_there_are_kept_and_other_settings_are_run_anew(
    script: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "results.json"
    first = script.measure({"small": SMALL}, range(1), 3, 1, file)
    assert json.loads(file.read_text()) == first
    first["rows"]["small"]["runs"][0]["greedy"] = 12345.0  # known again if it is kept
    file.write_text(json.dumps(first))
    more = script.measure({"small": SMALL}, range(2), 3, 1, file)
    kept, fresh = more["rows"]["small"]["runs"]
    assert (kept["seed"], kept["greedy"], fresh["seed"]) == (0, 12345.0, 1)
    other = Settings("ppo", "CartPole-v1", replace(SMALL.config, gamma=0.5))
    (anew,) = script.measure({"small": other}, range(1), 3, 1, file)["rows"]["small"]["runs"]
    assert anew["greedy"] != 12345.0


def test_again_forgets_the_rows_asked_for_and_no_others(script: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    both = {"small": SMALL, "long": SMALL}
    script.measure(both, range(1), 3, 1, file)
    report = json.loads(file.read_text())
    for row in report["rows"].values():
        row["runs"][0]["greedy"] = 12345.0
    file.write_text(json.dumps(report))
    script.forget(file, ["small", "never run"])
    after = script.measure(both, range(1), 3, 1, file)["rows"]
    assert after["small"]["runs"][0]["greedy"] != 12345.0
    assert after["long"]["runs"][0]["greedy"] == 12345.0


def test_same_seed_same_result(script: ModuleType) -> None:
    one, two = (script.one_run(SMALL, 5, 3) for _ in range(2))
    assert one | {"cpu_s": 0} == two | {"cpu_s": 0}


def test_every_settings_file_is_named_for_what_it_holds(script: ModuleType) -> None:
    rows = script.rows()
    assert {path.stem for path in (ROOT / "benchmarks" / "settings").iterdir()} == set(rows)
    for name, settings in rows.items():
        assert name == f"{settings.algorithm}-{settings.env}"
        assert settings.env in gymnasium.registry
        assert settings.config.stop_return is None  # the last policy counts, not the luckiest


def test_a_detail_is_a_row_with_something_changed(script: ModuleType) -> None:
    every = script.rows()
    for name, changed in script.details().items():
        row = name.partition(", ")[0]
        assert changed != every[row]
        assert replace(changed, config=every[row].config) == every[row]
    whole = every["trpo-Pendulum-v1"].config
    shorter = script.details()["trpo-Pendulum-v1, 25 environments for 128 steps each"].config
    # What the page says: episodes of 200 steps, and batches of the same size.
    assert whole.rollout_steps == gymnasium.spec("Pendulum-v1").max_episode_steps
    assert whole.envs * whole.rollout_steps == shorter.envs * shorter.rollout_steps


def test_page_and_figures_are_of_these_settings_and_these_runs(
    script: ModuleType, tmp_path: Path
) -> None:
    report = json.loads((ROOT / "docs" / "results.json").read_text())
    every = script.rows()
    asked = every | script.details()
    for name, row in report["rows"].items():
        assert script.same(row["settings"], asked[name]), f"{name} changed since it was run"
    script.write_page(report, every, tmp_path)
    assert (tmp_path / "results.md").read_text() == (ROOT / "docs" / "results.md").read_text()
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {path.name for path in (ROOT / "docs").glob("results-*.png")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "at_least"), [("ppo-MountainCar-v0", -125.0), ("ppo-Pendulum-v1", -200.0)]
)
def test_a_row_comes_out_again_from_another_seed(
    script: ModuleType, row: str, at_least: float
) -> None:
    assert script.one_run(script.rows()[row], 400, 50)["greedy"] >= at_least


@pytest.mark.slow
def test_mountain_car_is_driven_worse_with_observations_as_they_come(script: ModuleType) -> None:
    whole = script.rows()["ppo-MountainCar-v0"]
    without = script.details()["ppo-MountainCar-v0, observations as they come"]
    # The same starts for both. Of five seeds the worst of the whole is -109, the mean without -123.
    assert script.one_run(without, 400, 50)["greedy"] < script.one_run(whole, 400, 50)["greedy"] - 3
