"""A run stopped and put back equals one that was not, to the last bit."""

import copy
import json
import os

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from safetensors import safe_open
from safetensors.torch import save_file

from course_lib.policies import CategoricalPolicy, policy_for
from course_lib.reference.agents.checkpoint import (
    load_checkpoint,
    load_part,
    read_about,
    save_checkpoint,
)
from course_lib.reference.agents.env_state import Unsaveable, env_state, put_env_state
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.trpo import train_trpo
from course_lib.rollout import make_envs
from course_lib.seeding import new_generator
from course_lib.training import History, PPOConfig, ReinforceConfig, Run, TRPOConfig

SCALED = {"scale_observations": True, "scale_rewards": True}
COMMON = {"envs": 4, "hidden": (8,), "decay_to": 0.1}
AGENTS = {
    "ppo": (train_ppo, PPOConfig(**COMMON, rollout_steps=24, total_steps=384)),
    "ppo scaled": (train_ppo, PPOConfig(**COMMON, **SCALED, rollout_steps=24, total_steps=384)),
    "trpo": (train_trpo, TRPOConfig(**COMMON, rollout_steps=24, total_steps=384)),
    "trpo scaled": (train_trpo, TRPOConfig(**COMMON, **SCALED, rollout_steps=24, total_steps=384)),
    "reinforce": (train_reinforce, ReinforceConfig(**COMMON, max_steps=24, total_steps=380)),
}


class Stop(Exception):
    """Raised by a watcher."""


def train_with_stops(train, env_id, config, stops, path):
    """Train with generators that only the first session's seed matters to; gives all that is."""
    last = {}
    for session in range(len(stops) + 1):

        def watch(run, session=session, updates=0):
            if run.history.steps == 0 and session > 0:
                assert load_checkpoint(path, run) == ""
            if session < len(stops) and len(run.history.updates) == stops[session]:
                assert save_checkpoint(path, run, {"session": session}) == ""
                raise Stop
            last["run"] = run

        try:
            train(env_id, config, generator=new_generator(7 + 100 * session), watch=watch)
        except Stop:
            continue
    return last["run"]


def everything(run):
    """All numbers of a run, as bytes."""
    found = {"history": repr(run.history)}
    for name, part in run.parts.items():
        if isinstance(part, torch.Generator):
            found[name] = part.get_state().numpy().tobytes()
        elif hasattr(part, "state_dict"):
            for key, value in part.state_dict().items():
                found[f"{name}.{key}"] = value.numpy().tobytes()
    return found


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_run_stopped_and_gone_on_with_is_the_run_that_was_not_stopped(name, env_id, tmp_path):
    train, config = AGENTS[name]
    path = tmp_path / "checkpoint.safetensors"
    whole = everything(train_with_stops(train, env_id, config, [], path))
    stopped = everything(train_with_stops(train, env_id, config, [1, 3], path))
    assert len(whole) > 8
    assert stopped == whole
    assert read_about(path) == {"session": 1}


@pytest.fixture(scope="module")
def scaled_ppo(tmp_path_factory):
    """A run of PPO, whole, and the checkpoint of it after two updates."""
    train, config = AGENTS["ppo scaled"]
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    whole = everything(train_with_stops(train, "Pendulum-v1", config, [2], path))
    return train, config, path, whole


@pytest.mark.parametrize(
    "missing", ["policy", "critic", "optimiser", "rewards", "envs", "generator", "cursor"]
)
def test_what_is_left_out_of_a_checkpoint_changes_what_follows(missing, scaled_ppo):
    """So the test above sees every part."""
    train, config, path, whole = scaled_ppo
    last = []

    def watch(run):
        last[:] = [run]
        if run.history.steps == 0:
            run.parts["envs"].reset(seed=5)
            kept = {name: copy.deepcopy(part) for name, part in run.parts.items()}
            load_checkpoint(path, run)
            if missing == "cursor":
                run.cursor = None
            elif missing == "generator":
                run.parts["generator"].manual_seed(8)
            elif missing == "envs":
                put_env_state(run.parts["envs"], *env_state(kept["envs"]))
            else:
                run.parts[missing].load_state_dict(kept[missing].state_dict())

    train("Pendulum-v1", config, generator=new_generator(8), watch=watch)
    assert everything(last[0]) != whole


@pytest.mark.parametrize(
    "env_id",
    [
        *["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-v1"],
        "Hopper-v5",
    ],
)
def test_environments_go_on_alike_from_the_middle_of_their_episodes(env_id):
    if env_id.endswith("-v5"):
        pytest.importorskip("mujoco")
    first, second = make_envs(env_id, 3), make_envs(env_id, 3)
    first.reset(seed=1)
    first.action_space.seed(2)
    actions = [first.action_space.sample() for _ in range(620)]  # past every time limit
    for action in actions[:310]:
        first.step(action)
    tree, content = env_state(first)
    tree = json.loads(json.dumps(tree))
    second.reset(seed=3)
    second.step(actions[0])
    put_env_state(second, tree, content)
    ends = 0
    for action in actions[310:]:
        seen, same = first.step(action)[:4], second.step(action)[:4]
        for mine, other in zip(seen, same, strict=True):
            assert np.asarray(mine).tobytes() == np.asarray(other).tobytes()
        ends += int((seen[2] | seen[3]).any())
    assert ends > 0


class Odd(gymnasium.Env):
    """Remembers things of every plain kind, one of them twice."""

    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, **more):
        self.table = {(1, 2): [3.5, None], "name": np.float32(0.1)}
        self.by_columns = np.arange(6.0).reshape(2, 3).T
        self.same = self.table
        self.draws = np.random.default_rng(3)
        vars(self).update(more)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.table["steps"] = self.table.get("steps", 0) + 1
        return np.zeros(1, np.float32), self.draws.normal(), False, False, {}


def test_plain_attributes_come_back_in_kind_and_what_was_one_thing_stays_one():
    first, second = (SyncVectorEnv([Odd]) for _ in range(2))
    first.reset(seed=0)
    first.step(np.array([0]))
    put_env_state(second, *env_state(first))
    (old,), (new,) = first.envs, second.envs
    assert new.table == old.table
    assert type(new.table["name"]) is np.float32
    assert new.same is new.table is not old.table
    assert new.by_columns.flags.f_contiguous
    assert np.array_equal(new.by_columns, old.by_columns)
    assert first.step(np.array([1]))[1] == second.step(np.array([1]))[1]


def test_what_cannot_be_saved_is_named():
    array = np.zeros(4)
    for more, where in [
        ({"world": object()}, r"SyncVectorEnv\.envs\[0\]\.world is a builtins\.object"),
        ({"deep": [{"x": object()}]}, r"envs\[0\]\.deep\[0\]\['x'\] is a"),
        ({"one": array, "part": array[1:]}, "two of its arrays are views of one"),
        ({"objects": np.array([object()])}, "objects is an array of object"),
    ]:
        with pytest.raises(Unsaveable, match=where):
            env_state(SyncVectorEnv([lambda more=more: Odd(**more)]))
    loop = []
    loop.append(loop)
    with pytest.raises(Unsaveable, match="holds itself"):
        env_state(SyncVectorEnv([lambda: Odd(loop=loop)]))


def test_where_environments_cannot_be_saved_all_else_is_and_episodes_begin_anew(tmp_path):
    gymnasium.register("Opaque-v0", lambda: Odd(world=object()), max_episode_steps=20)
    path = tmp_path / "checkpoint.safetensors"
    config = PPOConfig(**COMMON, **SCALED, rollout_steps=24, total_steps=384)
    seen = []

    def save(run):
        if len(run.history.updates) == 2:
            seen.append(save_checkpoint(path, run, {}))
            seen.append(everything(run))
            raise Stop

    def load(run):
        if not run.history.updates:
            seen.append(load_checkpoint(path, run))
            seen.append(everything(run))
            seen.append((run.cursor, run.parts["rewards"].returns.tolist()))

    try:
        with pytest.raises(Stop):
            train_ppo("Opaque-v0", config, generator=new_generator(0), watch=save)
        _, history = train_ppo("Opaque-v0", config, generator=new_generator(1), watch=load)
    finally:
        del gymnasium.registry["Opaque-v0"]
    problem, saved, same_problem, loaded, (cursor, returns) = seen
    assert "world is a builtins.object, which no checkpoint can hold" in problem == same_problem
    assert cursor is None
    assert returns == [0.0] * 4
    assert any(saved.pop("rewards.returns"))
    loaded.pop("rewards.returns")
    assert saved == loaded
    assert history.steps == 384


def test_a_checkpoint_of_another_run_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(ValueError, match="is not there"):
        read_about(path)
    path.write_bytes(b"no such format")
    with pytest.raises(ValueError, match="is no safetensors file"):
        read_about(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is no checkpoint of format 1"):
        read_about(path)
    policies = [CategoricalPolicy(4, 2, (n,), generator=new_generator(0)) for n in (3, 5)]
    save_checkpoint(path, Run({"policy": policies[0]}), {})
    with pytest.raises(ValueError, match=r"does not fit this run's policy .*go on with"):
        load_checkpoint(path, Run({"policy": policies[1]}))
    with pytest.raises(ValueError, match="holds policy, this run has critic, policy"):
        load_checkpoint(path, Run({"policy": policies[0], "critic": policies[1]}))
    with pytest.raises(ValueError, match="holds no such policy"):
        load_part(path, "policy", policies[1])


def test_what_stops_a_save_leaves_the_last_checkpoint_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, Run({"generator": new_generator(0)}), {})
    before = path.read_bytes()

    def stop(number):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, Run({"generator": new_generator(1)}), {})
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_policy_can_be_read_back_alone(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    saved, other = (
        policy_for(make_envs("CartPole-v1", 1), (4,), generator=new_generator(seed))
        for seed in (0, 1)
    )
    save_checkpoint(path, Run({"policy": saved}), {})
    load_part(path, "policy", other)
    at = torch.randn((5, 4), generator=new_generator(2))
    assert torch.equal(saved.logits(at), other.logits(at))


def test_a_history_comes_back_as_it_was_also_where_an_update_reported_nothing(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    nan = float("nan")
    for updates in [
        [],
        [{"steps": 8.0, "mean_return": nan, "kl": 0.1}, {"steps": 16.0, "mean_return": 3.0}],
    ]:
        run, other = Run(), Run(history=History([5.0], [1], [{"steps": 1.0}]))
        run.history.updates.extend(updates)
        save_checkpoint(path, run, {})
        load_checkpoint(path, other)
        assert repr(other.history) == repr(run.history)


def test_reading_a_checkpoint_runs_nothing(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, Run({"envs": make_envs("Pendulum-v1", 2)}), {})
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["course"])["format"] == 1
    assert b"pickle" not in path.read_bytes()
