"""A run leaves a folder from which it can be read, drawn and gone on with."""

import csv
import os
import re
import signal
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from course_lib.reference.agents import launch, run_folder
from course_lib.reference.agents.ablations import ABLATIONS, gae_to_the_limit, without
from course_lib.reference.agents.checkpoint import load_checkpoint
from course_lib.reference.agents.launch import resume_agent, train_agent
from course_lib.reference.agents.run_folder import (
    CHECKPOINT,
    Stopped,
    load_policy,
    new_folder,
    read_run,
)
from course_lib.reference.agents.settings import read_settings
from course_lib.training import PPOConfig, ReinforceConfig, TRPOConfig

SMALL = PPOConfig(envs=4, hidden=(8,), rollout_steps=40, total_steps=960, decay_to=0.5)


def train(folder, config=SMALL, **options):
    return train_agent("ppo", "CartPole-v1", config, folder=folder, bar=False, **options)


def interrupting(after, times=1):
    """An agent that gets Ctrl-C while the update after so many is made."""
    agent = launch.train_ppo

    def interrupted(*arguments, watch, **keywords):
        def and_then(run):
            watch(run)
            if len(run.history.updates) == after:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)

        return agent(*arguments, watch=and_then, **keywords)

    return interrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "whole", seed=4, without=["clip"])


def test_tables_picture_and_settings_say_what_happened(whole):
    history, folder = whole.history, whole.folder
    with (folder / "updates.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = [{name: float(value) for name, value in row.items()} for row in rows]
    assert repr(numbers) == repr(history.updates)
    assert len(rows) == len(history.updates) == 6
    assert {"steps", "mean_return", "kl", "share_outside_clip"} <= set(rows[0])
    with (folder / "episodes.csv").open() as file:
        episodes = [(float(row["steps"]), float(row["return"])) for row in csv.DictReader(file)]
    assert episodes == list(zip(history.episode_steps, history.episode_returns, strict=True))
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    text = (folder / "settings.toml").read_text()
    assert text.startswith("# ppo on CartPole-v1, seed 4, without clip\n")
    settings = read_settings(folder / "settings.toml")
    assert settings.config == SMALL
    assert read_run(folder) == whole.about
    assert whole.about.settings == settings
    assert whole.notes == ()


def test_tensorboard_reads_every_number_of_every_update(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole.folder)).Reload()
    for name in ("kl", "value_loss", "share_outside_clip"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        wanted = [(update["steps"], update[name]) for update in whole.history.updates]
        np.testing.assert_allclose(seen, wanted, rtol=1e-6)


def test_the_policy_of_a_folder_is_the_trained_one(whole):
    policy = load_policy(whole.folder)
    at = torch.randn((5, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(policy.logits(at), whole.policy.logits(at))


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_a_checkpoint_and_what_goes_on_is_the_run_that_was_not_stopped(
    times, whole, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setitem(launch.AGENTS, "ppo", interrupting(2, times))
    with pytest.raises(Stopped, match=rf"stopped at step \d+: course train --resume {folder}"):
        train(folder, seed=4, without=["clip"])
    assert signal.getsignal(signal.SIGINT) is before
    if times == 1:  # the update that ran came to its end
        assert len((folder / "updates.csv").read_text().splitlines()) == 1 + 3
    monkeypatch.undo()
    resumed = resume_agent(folder, bar=False)
    assert (folder / CHECKPOINT).read_bytes() == (whole.folder / CHECKPOINT).read_bytes()
    for name in ("updates.csv", "episodes.csv"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert repr(resumed.history) == repr(whole.history)
    longer = resume_agent(folder, {"total_steps": 1280}, bar=False)
    assert longer.history.steps == 1280
    assert repr(longer.history.updates[:6]) == repr(resumed.history.updates)
    with pytest.raises(ValueError, match="hidden cannot change in a run that goes on"):
        resume_agent(folder, {"hidden": (4,)}, bar=False)


class Breaks(gymnasium.Env):
    """Pays NaN in the 50th step of its life."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        reward = float("nan") if self.steps == 50 else 1.0
        return np.zeros(1, np.float32), reward, self.steps % 9 == 0, False, {}


@pytest.fixture
def breaks():
    gymnasium.register("Breaks-v0", Breaks)
    yield "Breaks-v0"
    del gymnasium.registry["Breaks-v0"]


def test_nan_stops_with_step_and_quantity_and_keeps_the_last_good_checkpoint(breaks, tmp_path):
    folder = tmp_path / "run"
    config = replace(SMALL, rollout_steps=10)
    # Steps of the environments' lives, resets left out: the 50th is row 55, of 4 environments.
    message = (
        r"rollout after step 200: the reward of environment 0 at step 220 is nan.*The last good "
        rf"checkpoint is of step (\d+), in {folder}"
    )
    with pytest.raises(FloatingPointError, match=message) as caught:
        train_agent("ppo", breaks, config, folder=folder, bar=False)
    saved = int(re.search(message, str(caught.value))[1])
    assert 40 <= saved <= 200  # how many of the five updates are saved depends on how fast they are
    loaded = []

    def watch(run):
        load_checkpoint(folder / CHECKPOINT, run)
        loaded.append(run.history.steps)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.train_ppo(breaks, config, generator=torch.Generator(), watch=watch)
    assert loaded == [saved]
    policy = load_policy(folder)
    assert all(torch.isfinite(parameter).all() for parameter in policy.parameters())
    assert len((folder / "updates.csv").read_text().splitlines()) == 1 + 5


def test_ctrl_c_while_the_picture_is_drawn_says_how_to_go_on(tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    monkeypatch.setattr(run_folder, "draw", stop)
    with pytest.raises(Stopped, match=f"stopped at step 960: course train --resume {folder}"):
        train(folder)
    monkeypatch.undo()
    assert resume_agent(folder, bar=False).history.steps == 960
    assert (folder / "learning_curve.png").exists()


def test_no_run_is_written_over(tmp_path):
    names = [new_folder(tmp_path, "ppo-ALE/Pong-v5").name for _ in range(3)]
    assert names == ["ppo-ALE-Pong-v5", "ppo-ALE-Pong-v5-2", "ppo-ALE-Pong-v5-3"]
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is there already: resume it, or name a new folder"):
        train(tmp_path)
    new = tmp_path / "new"
    with pytest.raises(ValueError, match="environment NoSuch-v0 cannot be made"):
        train_agent("ppo", "NoSuch-v0", SMALL, folder=new, bar=False)
    with pytest.raises(ValueError, match=r"no detail 'clipping' to leave out: choose from clip, "):
        train(new, without=["clipping"])
    assert not new.exists()
    with pytest.raises(ValueError, match=r"thesis\.tex/run cannot be made: Not a directory"):
        train(tmp_path / "thesis.tex" / "run")
    with pytest.raises(ValueError, match="ppo takes a PPOConfig, got a TRPOConfig"):
        train(tmp_path / "other", TRPOConfig())
    with pytest.raises(ValueError, match="there is no algorithm 'dqn': choose from ppo"):
        train_agent("dqn", "CartPole-v1")


def test_missing_packages_are_named_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "find_spec", lambda name: None if name == "safetensors" else name)
    with pytest.raises(
        ValueError, match=r"safetensors must be installed: pip install -e '.\[train"
    ):
        train(tmp_path / "run")
    with pytest.raises(ValueError, match="safetensors must be installed"):
        resume_agent(tmp_path / "run")
    assert not (tmp_path / "run").exists()


CONFIGS = {
    "ppo": PPOConfig(entropy_weight=0.01, decay_to=0.0, epochs=3, learning_rate=0.05),
    "trpo": TRPOConfig(decay_to=0.0),
    "reinforce": ReinforceConfig(decay_to=0.0),
}


@pytest.mark.parametrize(
    ("algorithm", "detail"), [(a, detail) for a, details in ABLATIONS.items() for detail in details]
)
def test_every_detail_changes_training_when_it_is_left_out(algorithm, detail):
    # lam = 1 and no time limit within reach would leave some details without effect.
    few = {"envs": 4, "hidden": (8,), "total_steps": 1200}
    few |= {"max_steps": 30} if algorithm == "reinforce" else {"rollout_steps": 100}
    config = replace(CONFIGS[algorithm], **few)
    changed, parts = without(algorithm, [detail], config)
    ends = [
        launch.AGENTS[algorithm](
            "TimeLimited-v0", each, generator=torch.Generator().manual_seed(0), **more
        )[0]
        for each, more in ((config, {}), (changed, parts))
    ]
    first, second = (torch.nn.utils.parameters_to_vector(policy.parameters()) for policy in ends)
    assert not torch.equal(first, second)


@pytest.fixture(autouse=True)
def time_limited():
    gymnasium.register(
        "TimeLimited-v0",
        "gymnasium.envs.classic_control.cartpole:CartPoleEnv",
        max_episode_steps=15,
        vector_entry_point="gymnasium.envs.classic_control.cartpole:CartPoleVectorEnv",
    )
    yield
    del gymnasium.registry["TimeLimited-v0"]


def test_details_that_are_not_in_use_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"without entropy already \(entropy_weight = 0.0\)"):
        without("ppo", ["entropy"], PPOConfig(entropy_weight=0.0))
    config, parts = without("ppo", ["epochs", "gae", "clip"], CONFIGS["ppo"])
    assert config == replace(CONFIGS["ppo"], epochs=1, lam=1.0)
    assert list(parts) == ["objective"]


def test_without_bootstrapping_nothing_is_earned_after_the_time_limit():
    rewards, values = torch.tensor([[1.0], [2.0]]), torch.tensor([[5.0], [7.0]])
    next_values = torch.tensor([[7.0], [100.0]])
    no, yes = torch.zeros(2, 1, dtype=torch.bool), torch.tensor([[False], [True]])
    got = gae_to_the_limit(rewards, values, next_values, no, yes, 0.5, 0.5)
    last = 2 - 7
    assert got[:, 0].tolist() == [1 + 0.5 * 7 - 5 + 0.25 * last, last]
