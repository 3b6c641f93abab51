"""Agents as files, and what they earn."""

import math
import zipfile

import gymnasium
import numpy as np
import pytest
import torch

from course_lib.agents import (
    MAX_BYTES,
    finished_returns,
    first_states,
    load_agent,
    play,
    replay,
    save_agent,
)


@pytest.fixture(autouse=True)
def in_doubles():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def push_where_it_falls(observations):
    return (observations[:, 2] + observations[:, 3] > 0).long()


def swing(observations):
    return torch.sin(3 * observations[:, 2:] + observations[:, :1])


def in_gymnasium(env_id, start, act):
    """The return of one episode from a given first state, in gymnasium's own environment."""
    env = gymnasium.make(env_id)
    env.reset(seed=0)
    env.unwrapped.state = np.array(start)
    if env_id == "CartPole-v1":
        observation = np.array(start, np.float32)
    else:
        observation = np.array([math.cos(start[0]), math.sin(start[0]), start[1]], np.float32)
    earned, over = 0.0, False
    while not over:
        action = act(torch.tensor(observation, dtype=torch.float64)[None])[0]
        action = int(action) if env_id == "CartPole-v1" else action.numpy()
        observation, reward, terminated, truncated, _ = env.step(action)
        earned, over = earned + float(reward), terminated or truncated
    return earned


@pytest.mark.parametrize(
    ("env_id", "act"), [("CartPole-v1", push_where_it_falls), ("Pendulum-v1", swing)]
)
def test_an_agent_earns_what_it_earns_in_gymnasium(env_id, act):
    starts = first_states(env_id, 6, np.random.default_rng(0))
    played = play(env_id, act, torch.tensor(starts))
    expected = [in_gymnasium(env_id, start, act) for start in starts]
    np.testing.assert_allclose(played.returns.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("env_id", "act"), [("CartPole-v1", push_where_it_falls), ("Pendulum-v1", swing)]
)
def test_the_same_actions_earn_the_same_to_the_last_bit(env_id, act):
    starts = torch.tensor(first_states(env_id, 9, np.random.default_rng(1)))
    played = play(env_id, act, starts)
    assert torch.equal(replay(env_id, starts, played.actions), played.returns)


def test_first_states_are_those_of_gymnasium():
    """Each number uniform within the same bounds: mean within 5 standard errors, none outside."""
    for env_id, high in (("CartPole-v1", [0.05] * 4), ("Pendulum-v1", [math.pi, 1.0])):
        ours = first_states(env_id, 4000, np.random.default_rng(2))
        env = gymnasium.make(env_id).unwrapped
        theirs = []
        for seed in range(400):
            env.reset(seed=seed)
            theirs.append(np.array(env.state))
        for states in (ours, np.array(theirs)):
            bound = np.array(high)
            assert (np.abs(states) <= bound).all()
            error = bound / math.sqrt(3 * len(states))
            assert (np.abs(states.mean(0)) < 5 * error).all()
            assert (np.abs(states).max(0) > 0.9 * bound).all()


def test_actions_that_end_too_early_or_are_none_are_refused():
    starts = torch.tensor(first_states("CartPole-v1", 3, np.random.default_rng(0)))
    played = play("CartPole-v1", push_where_it_falls, starts)
    with pytest.raises(ValueError, match="go on after the 5 steps"):
        replay("CartPole-v1", starts, played.actions[:5])
    for act, said in (
        (lambda seen: torch.full((len(seen),), 2), "are 0 and 1"),
        (lambda seen: torch.zeros(len(seen), 2), r"must give actions \(3,\)"),
        (lambda seen: [0] * len(seen), "a tensor of actions, got list"),
    ):
        with pytest.raises(ValueError, match=said):
            play("CartPole-v1", act, starts)
    with pytest.raises(ValueError, match="nan or inf"):
        play("Pendulum-v1", lambda seen: seen[:, :1] / 0, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="choose from CartPole-v1, Pendulum-v1"):
        play("Acrobot-v1", swing, starts)


def test_a_file_gives_back_what_was_saved(tmp_path):
    net = torch.nn.Linear(4, 2)
    save_agent(tmp_path / "a.npz", net)
    for name, tensor in load_agent(tmp_path / "a.npz").items():
        assert torch.equal(tensor, net.state_dict()[name])


def bomb(path):
    np.savez_compressed(path, w=np.zeros(5_000_000))


def objects(path):
    np.savez(path, w=np.array([print], dtype=object))


def texts(path):
    np.savez(path, w=np.array(["a"]))


def infinite(path):
    np.savez(path, w=np.array([np.inf]))


def nothing(path):
    np.savez(path)


def not_a_zip(path):
    path.write_bytes(b"weights")


def cut(path):
    np.savez(path, w=np.zeros(1000))
    path.write_bytes(path.read_bytes()[:2000])


def no_array(path):
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("readme.txt", "weights")


def large(path):
    path.write_bytes(b"0" * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (bomb, "unpacks to"),
        (objects, "something other than arrays of numbers"),
        (texts, "holds no numbers but <U1"),
        (infinite, "nan or inf"),
        (nothing, "holds no numbers"),
        (not_a_zip, "cannot be read as an npz file"),
        (cut, "cannot be read as an npz file"),
        (no_array, "holds no numbers but"),
        (large, "may have 400,000"),
        (lambda path: None, "there is no file agent.npz beside the notebook"),
    ],
)
def test_a_file_that_holds_anything_else_is_a_sentence(write, said, tmp_path):
    path = tmp_path / "agent.npz"
    write(path)
    with pytest.raises(ValueError, match=said):
        load_agent(path)


def test_what_cannot_be_handed_in_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        save_agent(tmp_path / "agent.pt", {"w": torch.zeros(2)})
    with pytest.raises(ValueError, match="make its layers smaller"):
        save_agent(tmp_path / "agent.npz", {"w": torch.zeros(100_001)})


def test_returns_of_episodes_go_on_over_rollouts():
    rewards, ended = torch.ones(5, 2), torch.zeros(5, 2, dtype=torch.bool)
    ended[1, 0] = ended[4, 1] = True
    so_far = torch.zeros(2)
    assert finished_returns(rewards, ended, so_far) == [2.0, 5.0]
    assert so_far.tolist() == [3.0, 0.0]
    ended[:] = False
    ended[0] = True
    assert finished_returns(rewards, ended, so_far) == [4.0, 1.0]


def missed(true_mean, spread, bound, episodes=100):
    """The chance that a mean of so many episodes falls below a bound."""
    z = (true_mean - bound) / (spread / math.sqrt(episodes))
    return 0.5 * math.erfc(z / math.sqrt(2))


def test_the_chances_that_homework_3_states():
    assert 1 / missed(485, 40, 470) == pytest.approx(11_300, rel=0.02)
    assert 1 / missed(-185, 85, -215) == pytest.approx(4_800, rel=0.02)
    assert 1 / missed(-200, 85, -215) == pytest.approx(26, rel=0.02)
