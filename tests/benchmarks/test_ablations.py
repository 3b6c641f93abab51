"""The ablations' table says what the runs say."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from course_lib.reference.agents.ablations import ABLATIONS
from course_lib.reference.agents.settings import Settings
from course_lib.training import PPOConfig, TRPOConfig

SCRIPT = "ablations"


def runs_of(finals):
    return [
        {"seed": seed, "training": 7.0, "final": final, "curve": [final / 2, final]}
        for seed, final in enumerate(finals)
    ]


def test_a_detail_matters_if_its_differences_seed_by_seed_are_told_apart_from_nothing(script):
    runs = {
        script.UNCHANGED: runs_of([100.0, 300.0, 500.0]),
        "clip": runs_of([90.0, 291.0, 489.0]),  # -10, -9, -11
        "gae": runs_of([130.0, 250.0, 505.0]),  # 30, -50, 5
    }
    rows = script.summary(runs)
    clip = rows["clip"]["final"]
    assert clip["difference"] == pytest.approx(-10)
    # Student's t with 2 degrees of freedom, by hand: 4.303 * 1 / sqrt(3).
    assert clip["half_width"] == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert rows["clip"]["matters"]
    assert not rows["gae"]["matters"]
    assert rows["clip"]["training"]["difference"] == 0
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(script.screen(script.CARTPOLE, runs))
    page = script.page([(script.CARTPOLE, runs)])
    for text in (console.export_text(), page):
        assert "-10 +- 2" in text
        assert "unseen" in text
    assert "| clip | 7 | +0 +- 0 | 290 | -10 +- 2 | yes |" in page
    assert "--without gae`" in page
    assert "--without epochs`" not in page  # was not among the runs


def test_every_detail_is_in_use_where_the_table_starts_from_and_only_those_are_left_out(script):
    assert script.in_use(script.CARTPOLE) == list(ABLATIONS["ppo"])
    assert script.in_use(script.PENDULUM) == [
        name for name in ABLATIONS["ppo"] if name != "entropy"
    ]
    assert "entropy" not in script.in_use(Settings("ppo", "CartPole-v1", PPOConfig()))
    assert "decay" not in script.in_use(Settings("trpo", "CartPole-v1", TRPOConfig()))


def test_runs_are_measured_and_drawn(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "EPISODES", 4)
    config = replace(script.CARTPOLE.config, envs=8, rollout_steps=16, total_steps=256)
    settings = replace(script.CARTPOLE, config=config)
    runs = {
        name: [script.one_run(settings, name, seed) for seed in (0, 1)]
        for name in (script.UNCHANGED, "epochs")
    }
    first = runs["epochs"][0]
    assert repr(first) == repr(script.one_run(settings, "epochs", 0))
    assert repr(first) != repr(runs[script.UNCHANGED][0])
    assert 5 < first["final"] < 200
    script.draw(settings, runs, tmp_path / "some.png")
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
