"""Episodes of tabular MDPs follow the MDP, the policy and the generator."""

import pytest
import torch

from course_lib.episodes import Episode, sample_episodes
from course_lib.mdp import cliff_walk, random_layered_mdp, random_mdp, three_state_chain
from course_lib.policies import softmax_policy


def new_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_sampled_episodes_follow_the_mdp_and_stop_at_its_end():
    mdp = cliff_walk(0.3)
    policy = softmax_policy(torch.zeros((12, 4), dtype=torch.float64))
    episodes = sample_episodes(mdp, policy, 300, new_generator())
    assert len(episodes) == 300
    assert len({len(episode) for episode in episodes}) > 10
    for episode in episodes:
        assert isinstance(episode, Episode)
        states, actions = episode.states, episode.actions
        assert states[0] == 8
        assert not mdp.terminal[states].any()
        assert (mdp.transitions[states[:-1], actions[:-1], states[1:]] > 0).all()
        ends = mdp.transitions[states[-1], actions[-1]] * mdp.terminal
        assert ends.sum() > 0 or len(episode) == 1000
        assert torch.equal(episode.rewards, mdp.rewards[states, actions])


@pytest.mark.parametrize("mdp", [three_state_chain(), random_mdp(4, 3, 0.8, new_generator(2))])
def test_sampled_returns_average_to_the_exact_return(mdp):
    policy = softmax_policy(
        torch.randn((mdp.states, mdp.actions), dtype=torch.float64, generator=new_generator(4))
    )
    episodes = sample_episodes(mdp, policy, 4000, new_generator(), max_steps=100)
    discounts = mdp.gamma ** torch.arange(100, dtype=torch.float64)
    returns = torch.stack([(e.rewards * discounts[: len(e)]).sum() for e in episodes])
    error = returns.std() / len(returns) ** 0.5
    assert error > 0
    assert (returns.mean() - mdp.expected_return(policy)).abs() < 4 * error


def test_actions_never_chosen_are_never_sampled():
    mdp = random_mdp(3, 3, 0.9, new_generator())
    policy = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64)
    for episode in sample_episodes(mdp, policy, 50, new_generator(), max_steps=100):
        assert len(episode) == 100
        assert (policy[episode.states, episode.actions] > 0).all()


def test_episodes_depend_on_the_generators_state_alone():
    mdp = random_layered_mdp(3, 2, 2, 1.0, new_generator())
    policy = torch.full((mdp.states, 2), 0.5, dtype=torch.float64)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = sample_episodes(mdp, policy, 20, new_generator(5))
    assert torch.equal(before, torch.get_rng_state())
    second = sample_episodes(mdp, policy, 20, new_generator(5))
    other = sample_episodes(mdp, policy, 20, new_generator(6))
    same = [
        torch.equal(a.states, b.states) and torch.equal(a.actions, b.actions)
        for a, b in zip(first, second, strict=True)
    ]
    assert all(same)
    assert any(not torch.equal(a.actions, b.actions) for a, b in zip(first, other, strict=True))


def test_sampling_nothing_is_refused():
    chain = three_state_chain()
    policy = torch.full((3, 2), 0.5, dtype=torch.float64)
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 1000"):
        sample_episodes(chain, policy, 0, new_generator())
    with pytest.raises(ValueError, match="rows sum to 1"):
        sample_episodes(chain, 2 * policy, 3, new_generator())
