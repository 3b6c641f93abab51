"""Each agent's updates, worked out a second time in float64 from the rollouts it acted out.

Nothing of the agents is used here but their rollouts' columns: networks, scaling, returns,
advantages, losses and the optimiser's bookkeeping are written out, one environment at a time.
"""

from itertools import chain
from math import e, log, pi

import pytest
import torch

from course_lib import training
from course_lib.reference.agents import reinforce as reinforce_agent
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.trpo import train_trpo
from course_lib.seeding import new_generator
from course_lib.training import PPOConfig, ReinforceConfig, TRPOConfig


def trained(train, env_id, config, monkeypatch, module, name):
    """Its rollouts; policy and critic in float64, first and after each update; what it reported."""
    act, rollouts, moments = getattr(module, name), [], []

    def remember(*arguments):
        result = act(*arguments)
        rollouts.append(result[0] if isinstance(result, tuple) else result)
        return result

    def watch(run):
        moments.append(
            [
                [p.detach().double().clone() for p in run.parts[part].parameters()]
                for part in ("policy", "critic")
            ]
        )

    monkeypatch.setattr(module, name, remember)
    _, history = train(env_id, config, generator=new_generator(5), watch=watch)
    assert any(rollout.truncated.any() for rollout in rollouts)
    return rollouts, moments, history.updates


def network(layers, x):
    for k in range(0, len(layers), 2):
        x = x @ layers[k].T + layers[k + 1]
        x = x.tanh() if k + 2 < len(layers) else x
    return x


def gaussian_log_probs(policy, x, actions):
    log_std, *layers = policy
    z = (actions - network(layers, x)) / log_std.exp()
    return (-(z**2) / 2 - log_std - log(2 * pi) / 2).sum(-1)


def spread(numbers):
    return (sum((n - sum(numbers) / len(numbers)) ** 2 for n in numbers) / len(numbers)) ** 0.5


def at(column, steps):
    return column[tuple(torch.tensor(steps).T)]


def experience(rollouts, critic, config):
    """What the last rollout's update learns from: observations, actions, advantages, returns.

    Pendulum never terminates: each episode is cut after 200 steps, and the step after is a reset.
    """
    path = torch.cat([r.path[:-1] for r in rollouts] + [rollouts[-1].path[-1:]]).double()
    rewards = torch.cat([r.rewards for r in rollouts]).double().tolist()
    cut = torch.cat([r.truncated for r in rollouts]).tolist()
    actions = torch.cat([r.actions for r in rollouts]).double()
    first = len(rewards) - len(rollouts[-1].rewards)
    real = {(t, n) for t in range(len(rewards)) for n in range(config.envs)}
    real -= {(t + 1, n) for t, n in real if cut[t][n]}
    x, unit = path, 1.0
    if config.scale_observations:
        known = [(t, n) for t, n in real if t < first]
        std, mean = torch.std_mean(at(path, known), 0, correction=0) if known else (1, 0)
        x = ((path - mean) / std).clamp(-10, 10)
    if config.scale_rewards:
        discounted = {}
        for t, n in sorted(real):
            discounted[t, n] = rewards[t][n] + config.gamma * discounted.get((t - 1, n), 0)
        unit = spread(list(discounted.values()))
    values = network(critic, x)[..., 0].tolist()
    advantages = {}
    for t, n in sorted(real, reverse=True):
        if t < first:
            continue
        delta = rewards[t][n] / unit + config.gamma * values[t + 1][n] - values[t][n]
        following = 0 if cut[t][n] else advantages.get((t + 1, n), 0)
        advantages[t, n] = delta + config.gamma * config.lam * following
    steps = sorted(advantages)
    return (
        at(x, steps),
        at(actions, steps),
        torch.tensor([advantages[step] for step in steps], dtype=torch.float64),
        torch.tensor([advantages[t, n] + values[t][n] for t, n in steps], dtype=torch.float64),
    )


def falling(learning_rate, config, update):
    steps = update * config.envs * config.rollout_steps
    return learning_rate * (1 - (1 - config.decay_to) * steps / config.total_steps)


def set_to(parameters, numbers):
    with torch.no_grad():
        for parameter, number in zip(parameters, numbers, strict=True):
            parameter.copy_(number)


def close(mine, theirs, before, least=1e-3):
    """Equal but for float32's digits, and moved far enough to tell."""
    for mine_now, now, then in zip(mine, theirs, before, strict=True):
        assert (now - then).abs().max() > least
        torch.testing.assert_close(mine_now.detach(), now, rtol=0, atol=0.02 * least)


SETTINGS = {
    "envs": 3,
    "rollout_steps": 110,  # episodes of 200 steps: some are cut in a rollout's middle
    "gamma": 0.9,
    "lam": 0.8,
    "minibatches": 1,  # so that the order in which steps are drawn changes nothing
    "hidden": (5,),
    "decay_to": 0.2,
    "total_steps": 3 * 110 * 4,
}


@pytest.mark.parametrize(("scaled", "max_grad_norm"), [(True, 1.4), (False, 35.0)])
def test_ppos_updates_are_those_of_a_loop_written_out(scaled, max_grad_norm, monkeypatch):
    config = PPOConfig(
        **SETTINGS,
        scale_observations=scaled,
        scale_rewards=scaled,
        epsilon=0.05,
        learning_rate=2e-2,
        epochs=4,
        value_weight=0.7,
        entropy_weight=0.02,
        max_grad_norm=max_grad_norm,
    )
    rollouts, moments, reports = trained(
        train_ppo, "Pendulum-v1", config, monkeypatch, training, "collect"
    )
    assert len(rollouts) == 4
    policy, critic = ([p.clone().requires_grad_() for p in part] for part in moments[0])
    theta = [*policy, *critic]
    optimiser = torch.optim.Adam(theta)
    lengths, outside = [], []
    for k in range(4):
        x, actions, advantages, returns = experience(rollouts[: k + 1], critic, config)
        old = gaussian_log_probs(policy, x, actions).detach()
        advantages = (advantages - advantages.mean()) / advantages.std()
        for _ in range(config.epochs):
            ratio = (gaussian_log_probs(policy, x, actions) - old).exp()
            most = torch.where(advantages > 0, 1 + config.epsilon, 1 - config.epsilon)
            gain = torch.where(
                (ratio - most) * advantages > 0, most * advantages, ratio * advantages
            ).mean()
            error = ((network(critic, x)[:, 0] - returns) ** 2).mean()
            entropy = (policy[0] + log(2 * pi * e) / 2).sum()
            loss = -gain + config.value_weight * error - config.entropy_weight * entropy
            gradient = torch.autograd.grad(loss, theta)
            length = sum((piece**2).sum() for piece in gradient) ** 0.5
            lengths.append(length.item())
            outside.append(((ratio - 1).abs() > config.epsilon).double().mean().item())
            for parameter, piece in zip(theta, gradient, strict=True):
                parameter.grad = piece * min(1, config.max_grad_norm / length)
            optimiser.param_groups[0]["lr"] = falling(config.learning_rate, config, k)
            optimiser.step()
        close(theta, [*chain(*moments[k + 1])], [*chain(*moments[k])])
        set_to(theta, [*chain(*moments[k + 1])])
        with torch.no_grad():
            log_ratio = gaussian_log_probs(policy, x, actions) - old
        ratio = log_ratio.exp()
        report = {
            "objective": gain.item(),  # before the last step, as the critic's error
            "value_loss": error.item(),
            "kl": (ratio - 1 - log_ratio).mean().item(),
            "share_outside_clip": ((ratio - 1).abs() > config.epsilon).double().mean().item(),
        }
        for name, number in report.items():
            assert reports[k][name] == pytest.approx(number, rel=1e-3, abs=1e-6), name
    assert min(lengths) < max_grad_norm < max(lengths)
    assert max(outside) > 0.2


@pytest.mark.parametrize(("scaled", "damping"), [(True, 0.1), (False, 10.0)])
def test_trpos_updates_are_those_of_a_dense_solve_written_out(scaled, damping, monkeypatch):
    config = TRPOConfig(
        **SETTINGS,
        scale_observations=scaled,
        scale_rewards=scaled,
        delta=0.02,
        damping=damping,
        cg_iterations=60,
        fisher_every=3,
        critic_learning_rate=2e-2,
        critic_epochs=3,
    )
    rollouts, moments, _ = trained(
        train_trpo, "Pendulum-v1", config, monkeypatch, training, "collect"
    )
    critic = [p.clone().requires_grad_() for p in moments[0][1]]
    optimiser = torch.optim.Adam(critic)
    for k in range(4):
        policy, after = moments[k][0], moments[k + 1][0]
        x, actions, advantages, returns = experience(rollouts[: k + 1], critic, config)
        old = gaussian_log_probs(policy, x, actions)
        advantages = (advantages - advantages.mean()) / advantages.std()

        def parts(theta, like=policy):
            pieces = theta.split([p.numel() for p in like])
            return [piece.view_as(p) for piece, p in zip(pieces, like, strict=True)]

        def surrogate(theta, x=x, actions=actions, advantages=advantages, old=old):
            return ((gaussian_log_probs(parts(theta), x, actions) - old).exp() * advantages).mean()

        def mean_kl(theta, x=x, policy=policy):
            (log_std, *layers), (new_log_std, *new_layers) = policy, parts(theta)
            apart = (network(layers, x) - network(new_layers, x)) ** 2
            wide = ((2 * log_std).exp() + apart) / (2 * new_log_std).exp()
            return (new_log_std - log_std + wide / 2 - 0.5).sum(-1).mean()

        theta = torch.cat([p.flatten() for p in policy])
        gradient = torch.autograd.functional.jacobian(surrogate, theta)
        some = x[:: config.fisher_every]
        fisher = torch.autograd.functional.hessian(lambda t, some=some: mean_kl(t, some), theta)
        fisher += config.damping * torch.eye(len(theta), dtype=theta.dtype)
        direction = torch.linalg.solve(fisher, gradient)
        step = (2 * config.delta / (direction @ fisher @ direction)) ** 0.5 * direction
        if damping > 1:  # twice the step would be safe, too: no line search would shorten it
            assert mean_kl(theta + 2 * step) < config.delta
        while mean_kl(theta + step) > config.delta or surrogate(theta + step) <= surrogate(theta):
            step = step / 2
        moved = torch.cat([p.flatten() for p in after]) - theta
        torch.testing.assert_close(moved, step, rtol=0, atol=0.01 * step.norm().item())
        optimiser.param_groups[0]["lr"] = falling(config.critic_learning_rate, config, k)
        for _ in range(config.critic_epochs):
            optimiser.zero_grad()
            ((network(critic, x)[:, 0] - returns) ** 2).mean().backward()
            optimiser.step()
        close(critic, moments[k + 1][1], moments[k][1])
        set_to(critic, moments[k + 1][1])


def test_reinforces_updates_are_those_of_a_loop_written_out(monkeypatch):
    config = ReinforceConfig(
        envs=6,
        gamma=0.9,
        learning_rate=2e-2,
        critic_learning_rate=3e-2,
        critic_epochs=2,
        critic_batch=10_000,
        hidden=(5,),
        max_steps=20,
        total_steps=300,
    )
    rollouts, moments, _ = trained(
        train_reinforce, "CartPole-v1", config, monkeypatch, reinforce_agent, "collect_episodes"
    )
    assert len(rollouts) >= 3
    policy, critic = ([p.clone().requires_grad_() for p in part] for part in moments[0])
    optimisers = torch.optim.Adam(policy), torch.optim.Adam(critic)
    optimisers[0].param_groups[0]["lr"] = config.learning_rate
    optimisers[1].param_groups[0]["lr"] = config.critic_learning_rate
    for k, rollout in enumerate(rollouts):
        for optimiser in optimisers:
            optimiser.zero_grad()
        over = (rollout.terminated | rollout.truncated).tolist()
        loss, everything = 0.0, []
        for n in range(config.envs):
            length = [row[n] for row in over].index(True) + 1
            x = rollout.path[:length, n].double()
            scores = network(policy, x).log_softmax(-1)
            for t in range(length):
                paid = rollout.rewards[t:length, n].double().tolist()
                gain = sum(config.gamma**i * reward for i, reward in enumerate(paid))
                advantage = gain - network(critic, x[t])[0].item()
                score = scores[t, rollout.actions[t, n]]
                loss -= config.gamma**t * advantage * score / config.envs
                everything.append((x[t], torch.tensor(gain, dtype=x.dtype)))
        loss.backward()
        optimisers[0].step()
        states, wanted = (torch.stack(column) for column in zip(*everything, strict=True))
        for _ in range(config.critic_epochs):
            optimisers[1].zero_grad()
            ((network(critic, states)[:, 0] - wanted) ** 2).mean().backward()
            optimisers[1].step()
        close(policy, moments[k + 1][0], moments[k][0])
        close(critic, moments[k + 1][1], moments[k][1])
        set_to([*policy, *critic], [*chain(*moments[k + 1])])
