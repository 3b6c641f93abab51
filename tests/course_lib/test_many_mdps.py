"""Many MDPs at once are as many MDPs one by one."""

import pytest
import torch

from course_lib.many_mdps import ManyMDPs, random_mdps, random_policies
from course_lib.mdp import TabularMDP


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("quantity", ["values", "advantages", "visitation", "expected_return"])
def test_each_mdp_is_solved_as_if_alone(quantity: str) -> None:
    many = random_mdps(20, 4, 3, generator())
    policies = random_policies(20, 4, 3, generator())
    together = getattr(many, quantity)(policies)
    for m in range(20):
        alone = TabularMDP(
            many.transitions[m],
            many.rewards[m],
            float(many.gammas[m]),
            many.start[m],
            torch.zeros(4).bool(),
        )
        assert torch.allclose(together[m], getattr(alone, quantity)(policies[m]), atol=1e-12)


def test_random_mdps_differ_from_nearly_deterministic_to_mixed() -> None:
    many = random_mdps(500, 4, 3, generator(), gammas=(0.5, 0.9))
    surest = many.transitions.amax(-1).mean((1, 2))  # (M,)
    assert surest.min() < 0.6
    assert surest.max() > 0.9
    assert 0.5 <= many.gammas.min() < many.gammas.max() <= 0.9
    assert many.rewards.abs().max() <= 1


def test_the_generator_alone_decides() -> None:
    first, second = (random_mdps(3, 2, 2, generator()) for _ in range(2))
    assert torch.equal(first.transitions, second.transitions)
    assert not torch.equal(first.transitions[0], first.transitions[1])


def test_policies_of_spread_zero_are_uniform() -> None:
    assert torch.equal(
        random_policies(2, 3, 4, generator(), 0.0), torch.full((2, 3, 4), 0.25).double()
    )


def test_what_is_no_mdp_is_named() -> None:
    many = random_mdps(2, 3, 2, generator())
    with pytest.raises(ValueError, match=r"rewards must be \(M, S, A\)"):
        ManyMDPs(many.transitions, many.rewards[0], many.gammas, many.start)
    with pytest.raises(ValueError, match=r"gammas must be \(2,\)"):
        ManyMDPs(many.transitions, many.rewards, many.gammas[:1], many.start)
    with pytest.raises(ValueError, match="transitions must hold probabilities"):
        ManyMDPs(many.transitions * 2, many.rewards, many.gammas, many.start)
    with pytest.raises(ValueError, match="these MDPs never end"):
        ManyMDPs(many.transitions, many.rewards, many.gammas * 0 + 1, many.start)
    with pytest.raises(ValueError, match=r"policies must be \(M, S, A\) = \(2, 3, 2\)"):
        many.values(random_policies(1, 3, 2, generator()))
    with pytest.raises(ValueError, match="at least 1, got 0, 3 and 2"):
        random_mdps(0, 3, 2, generator())
    with pytest.raises(ValueError, match="range inside"):
        random_mdps(2, 3, 2, generator(), gammas=(0.5, 1.0))
