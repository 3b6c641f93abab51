"""`course train` as its users call it: what it writes and prints, and its exit status."""

import json
import os
import signal
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

from autograder import cli
from course_lib.reference.agents import launch
from course_lib.reference.agents.run_folder import read_run

SMALL = ("--set", "envs=4", "--set", "hidden=[8]", "--set", "rollout_steps=40", "--steps", "640")


@pytest.fixture
def course(monkeypatch, capsys):
    """Call `course ARGUMENTS`; returns (exit status, stdout, stderr)."""
    threads = torch.get_num_threads()

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["course", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, " ".join(printed.err.split())

    yield call
    torch.set_num_threads(threads)


def test_json_says_what_was_trained_and_where_everything_lies(course, tmp_path):
    folder = tmp_path / "run"
    status, out, err = course(
        "train", "ppo", "--env", "CartPole-v1", *SMALL, "--seed", 3, "--folder", folder, "--json",
        "--without", "clip",
    )  # fmt: skip
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert (found["algorithm"], found["env"], found["seed"]) == ("ppo", "CartPole-v1", 3)
    assert (found["without"], found["steps"]) == (["clip"], 640)
    assert {"checkpoint.safetensors", "updates.csv", "learning_curve.png"} <= set(found["files"])
    assert all((folder / name).is_file() for name in found["files"])
    about = read_run(folder)
    assert about.settings.config.hidden == (8,)
    assert (about.seed, about.without) == (3, ("clip",))


def test_a_settings_file_is_taken_and_one_setting_changed_on_top(course, tmp_path):
    file = tmp_path / "some.toml"
    file.write_text(
        'algorithm = "reinforce"\nenv = "CartPole-v1"\nenvs = 4\nhidden = [8]\ngamma = 0.9\n'
        "total_steps = 200\nlearning_rate = 0.5\n"
    )
    folder = tmp_path / "run"
    status, out, err = course(
        "train", "--settings", file, "--set", "learning_rate=1e-3", "--folder", folder
    )
    assert status == 0
    assert "return" in err  # the bar
    assert f"wrote {folder / 'checkpoint.safetensors'}" in out
    config = read_run(folder).settings.config
    assert (config.gamma, config.learning_rate, config.envs) == (0.9, 1e-3, 4)


def test_ctrl_c_exits_with_130_and_the_sentence_it_prints_goes_on(course, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    agent = launch.train_ppo

    def interrupted(*arguments, watch, **keywords):
        def and_then(run):
            watch(run)
            if len(run.history.updates) == 1:
                os.kill(os.getpid(), signal.SIGINT)

        return agent(*arguments, watch=and_then, **keywords)

    monkeypatch.setitem(launch.AGENTS, "ppo", interrupted)
    status, _, err = course("train", "ppo", "--env", "CartPole-v1", *SMALL, "--folder", folder)
    assert status == 130
    sentence = f"course: stopped at step 320: course train --resume {folder}"
    assert err.endswith(sentence)
    monkeypatch.undo()
    status, out, _ = course(*sentence.rpartition("course ")[2].split(), "--json")
    assert status == 0
    assert json.loads(out)["steps"] == 640


def test_nan_is_work_that_failed(course, tmp_path):
    status, _, err = course(
        "train", "ppo", "--env", "CartPole-v1", *SMALL, "--folder", tmp_path / "run",
        "--set", "learning_rate=1e30",
    )  # fmt: skip
    assert status == 1
    assert "after step" in err
    assert "The last good checkpoint is of step 0" in err
    assert "Traceback" not in err


class Breaks(gymnasium.Env):
    """Raises in the 50th step of its life what a wrong call would."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 50:
            raise ValueError("the motor burned")
        return np.zeros(1, np.float32), 1.0, False, False, {}


def test_an_environment_that_raises_is_work_that_failed(course, tmp_path, monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Breaks-v0", EnvSpec("Breaks-v0", Breaks))
    status, _, err = course(
        "train", "ppo", "--env", "Breaks-v0", *SMALL, "--folder", tmp_path / "run"
    )
    assert status == 1
    assert "the environment raised ValueError: the motor burned" in err
    assert "The last good checkpoint is of step" in err
    assert "Traceback" not in err


WRONG = {
    "which algorithm, on which environment": ["ppo"],
    "there is no algorithm 'dqn'": ["dqn", "--env", "CartPole-v1"],
    "environment CartPol-v1 cannot be made": ["ppo", "--env", "CartPol-v1"],
    "--set gamma is not understood": ["ppo", "--env", "CartPole-v1", "--set", "gamma"],
    "--set a b=1 is not understood": ["ppo", "--env", "CartPole-v1", "--set", "a b=1"],
    "ppo has no setting 'delta'": ["ppo", "--env", "CartPole-v1", "--set", "delta=0.1"],
    "gamma must be": ["ppo", "--env", "CartPole-v1", "--set", "gamma=2.0"],
    "ppo has no detail 'ratio' to leave out": [
        *["ppo", "--env", "CartPole-v1", "--without", "ratio"],
    ],
    "without entropy already": [
        *["ppo", "--env", "CartPole-v1", "--without", "entropy", "--set", "entropy_weight=0.0"],
    ],
    "no-such-run/checkpoint.safetensors is not there": ["--resume", "no-such-run"],
    "a run that goes on has its algorithm": ["ppo", "--resume", "no-such-run"],
    "no-such.toml cannot be read": ["--settings", "no-such.toml"],
    "device must be 'cpu' or 'cuda', got 'tpu'": [
        *["ppo", "--env", "CartPole-v1", "--device", "tpu"],
    ],
    "device cuda:7 is wanted": ["ppo", "--env", "CartPole-v1", "--device", "cuda:7"],
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_call_is_a_sentence(course, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = course("train", *WRONG[sentence])
    assert status == 2
    assert sentence in err
    assert "Traceback" not in err + out
    assert list(tmp_path.iterdir()) == []
