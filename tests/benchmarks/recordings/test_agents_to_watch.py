"""What lectures play back is what happened: recordings fit the world, and can be made again."""

import math
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from course_lib.mdp import cliff_walk
from course_lib.policies import softmax_policy
from course_lib.recorded import FOLDER, recorded

SCRIPT = "grid_learners"
SMALL = 150_000  # bytes: what is handed out to everybody
NAMES = ["REINFORCE", "TRPO", "PPO"]


def policies_of(name: str) -> torch.Tensor:
    logits = recorded("grid_learners")["learners"][name]["milli_logits"]
    return torch.softmax(torch.tensor(logits, dtype=torch.float64) / 1000, -1)


@pytest.mark.parametrize("name", ["grid_learners", "agents_to_watch"])
def test_recording_is_small(name: str) -> None:
    assert (FOLDER / f"{name}.json").stat().st_size < SMALL


@pytest.mark.parametrize("name", NAMES)
def test_first_updates_can_be_recorded_again(script: ModuleType, name: str) -> None:
    film = recorded("grid_learners")
    size = film["learners"][name]["size"]
    again = script.record(name, size, film["settings"]["shown_seed"], updates=3)
    assert torch.allclose(softmax_policy(again[3]), policies_of(name)[3], atol=1e-3)
    other = script.record(name, size, film["settings"]["shown_seed"] + 1, updates=3)
    assert not torch.allclose(softmax_policy(other[3]), policies_of(name)[3], atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_returns_are_those_of_the_recorded_policies(name: str) -> None:
    film = recorded("grid_learners")
    mdp = cliff_walk(**film["settings"]["world"])
    shown = film["learners"][name]["returns"][film["settings"]["shown_seed"]]
    exact = [float(mdp.expected_return(policy)) for policy in policies_of(name)]
    assert exact == pytest.approx(shown, abs=0.01)
    ends = film["learners"][name]["ends"]
    chosen = str(film["learners"][name]["size"])
    assert np.median(ends[chosen]) == max(np.median(values) for values in ends.values())


def one_step(env_id: str, observation: list[float], action: list[float]) -> np.ndarray[Any, Any]:
    """What the environment itself shows after this action in this state."""
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=0)
    if env_id == "CartPole-v1":
        env.state = np.array(observation)  # type: ignore[attr-defined]
        after = env.step(int(action[0]))[0]
    else:
        cosine, sine, speed = observation
        env.state = np.array([math.atan2(sine, cosine), speed])  # type: ignore[attr-defined]
        after = env.step(np.array(action))[0]
    return np.asarray(after)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("moment", ["before", "halfway", "after"])
def test_recorded_states_follow_from_each_other(env_id: str, moment: str) -> None:
    seen = recorded("agents_to_watch")["agents"][env_id][moment]
    states, actions = seen["observations"], seen["actions"]
    assert len(states) == len(actions) + 1
    for row in range(0, len(actions), 7):
        after = one_step(env_id, states[row], actions[row])
        assert after == pytest.approx(states[row + 1], abs=0.01)
    still = one_step(env_id, states[0], actions[0])
    assert still != pytest.approx(states[0], abs=1e-4)  # a step does change the state


def test_episodes_to_watch_begin_alike_and_training_helped() -> None:
    for moments in recorded("agents_to_watch")["agents"].values():
        assert list(moments) == ["before", "halfway", "after"]
        assert len({str(seen["observations"][0]) for seen in moments.values()}) == 1
        assert moments["before"]["training_steps"] == 0
        before, halfway, after = (seen["return"] for seen in moments.values())
        assert before < halfway < after
