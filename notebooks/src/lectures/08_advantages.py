# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Preview: advantages, baselines, and a language model
#
# **Lecture 8** of the policy-gradient course. Reading time: about 15 minutes. It runs in under a minute.
#
# Slide 70 is a title and a promise: advantage estimation, baselines, and from there to language models. How much noise can we subtract from a gradient estimate for nothing? How much more, if we accept a little bias? We list all episodes of a small world, so the answers are exact. Then the same ideas, with PPO's clip, become **GRPO**, and train a small language model while you watch.
#
# | | |
# |---|---|
# | **Covers** | slide 70 |
# | **Assumes** | REINFORCE-2, $V$, $Q$, $A$ ([lecture 3](03_rewards_to_go.ipynb)), weighted imitation ([lecture 4](04_reinforce.ipynb)); for the language model the ratio and the clip ([lecture 7](07_ppo.ipynb)) |
# | **Prepares** | [homework 1](../homework/hw1.ipynb): `baseline_loss`; [homework 2](../homework/hw2.ipynb): `gae`, and a use for `clipped_surrogate` |

# %%
import copy

import matplotlib.pyplot as plt
import torch

from course_lib import brackets, mdp as worlds
from course_lib.figures import advantages as figures, grpo as grpo_figures
from course_lib.figures.reinforce import plot_runs, plot_spread
from course_lib.figures.style import blank_panel, two_panels
from course_lib.grpo import GRPOConfig, grpo, kl_estimates, relative_advantages
from course_lib.language_model import complete, read_log_probs
from course_lib.policies import softmax_policy
from course_lib.recorded import recorded
from course_lib.sliders import Slider

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# Our world is **a tour of six days**: two towns a day, two ways to travel on, rewards between $-1$ and 1, $\gamma = 0.9$. There are 4,096 different tours, few enough to list, and each has a known probability.

# %%
generator = torch.Generator().manual_seed(1)
gamma, T = 0.9, 6
tour = worlds.random_layered_mdp(T, 2, 2, gamma, generator)
theta = torch.randn(tour.states, 2, generator=generator)  # (S, A)
policy = softmax_policy(theta)
V, A, exact = tour.values(policy), tour.advantages(policy), tour.policy_gradient(theta)

paths = worlds.trajectories(tour, policy, T)
p, states, actions = paths.probabilities, paths.states[:, :T], paths.actions
next_states, rewards = paths.states[:, 1:], paths.rewards  # (N, T)
discounts, later = gamma ** torch.arange(T), torch.ones(T, T).triu()
to_go = torch.einsum("nu,tu->nt", rewards * discounts, later) / discounts  # (N, T): G_t
print(f"{len(p)} tours, J = {tour.expected_return(policy):.3f}")

# %% [markdown]
# The estimate from one tour is $\sum_t\gamma^t\,w_t\,\nabla\log\pi_\theta(a_t\mid s_t)$. In a softmax table the score stands in row $s_t$: 1 for the action taken and 0 for the others, minus their probabilities. In this lecture only the **weight** $w_t$ changes.

# %%
scores = torch.zeros(len(p), T, tour.states, 2)  # (N, T, S, A)
here = (torch.arange(len(p))[:, None], torch.arange(T)[None], states)
scores[here] = torch.eye(2)[actions] - policy[states]


def estimates(weights):  # (N, T) -> (N, S, A), one for each tour
    return torch.einsum("t,nt,ntsa->nsa", discounts, weights, scores)


def mean(table):  # (S, A)
    return torch.einsum("n,nsa->sa", p, table)


def variance(table):  # in total, over all parameters
    return torch.einsum("n,nsa->", p, (table - mean(table)) ** 2)

# %%
assert same(mean(estimates(to_go)), exact)  # REINFORCE-2, our starting point
print(f"variance with G: {variance(estimates(to_go)):.2f}")

# %% [markdown]
# ## Better than what? (C72)
#
# *Slide 70.* A return of 7 is good where 5 is usual, and bad where 10 is. So weigh an action by how much *better than expected* it went: $w_t = G_t - b(s_t)$, with a **baseline** $b$. That adds $-b(s_t)\,\nabla\log\pi_\theta(a_t\mid s_t)$ to the estimate. Given $s_t$ it is a constant times a score, and a score has mean zero. So *any* function of the state will do.

# %% tags=["C72"]
for b in (V, torch.randn(tour.states, generator=generator), torch.full_like(V, 100.0)):
    assert same(mean(estimates(to_go - b[states])), exact)

Q = tour.action_values(policy)
with_action = mean(estimates(to_go - Q[states, actions]))  # this one looks at the action
assert with_action.abs().max() < 1e-10  # control: it takes the whole gradient away
plus = variance(estimates(to_go + V[states])) / variance(estimates(to_go - V[states]))
assert plus > 2  # added in place of subtracted: the same mean, and far more noise
print(f"added in place of subtracted, V makes the variance {plus:.1f} times as large")

# %% [markdown]
# ### Which one is best?
#
# The mean does not care, the variance does. Here no town is met twice, so each town's row of the estimate has a variance of its own, a parabola in its own $b(s)$. Its lowest point is
#
# $$b^*(s) = \frac{\mathbb{E}\big[\lVert\nabla\log\pi_\theta(a\mid s)\rVert^2\,G_t\mid s\big]}{\mathbb{E}\big[\lVert\nabla\log\pi_\theta(a\mid s)\rVert^2\mid s\big]},$$
#
# a mean of $G_t$ in which rare actions, whose scores are long, count for more. If all scores are of one length, it is $V(s)$.

# %% tags=["C72"]
def best_baseline(p, scores):  # (S,)
    lengths = scores.square().sum(3)  # (N, T, S): squared, 0 in all rows but s_t
    above = torch.einsum("n,nt,nts->s", p, to_go, lengths)
    return above / torch.einsum("n,nts->s", p, lengths).clamp_min(1e-300)


b_star = best_baseline(p, scores)
lowest = variance(estimates(to_go - b_star[states]))
for _ in range(200):
    nudge = 0.3 * torch.randn(tour.states, generator=generator)
    assert variance(estimates(to_go - (b_star + nudge)[states])) > lowest
assert variance(estimates(to_go - V[states])) > lowest + 1e-3  # control: V is not the minimum
print(f"best {lowest:.3f}, V {variance(estimates(to_go - V[states])):.3f}")

# %% tags=["C72"]
coin = torch.full_like(policy, 0.5)
even = worlds.trajectories(tour, coin, T).probabilities  # the same 4,096 rows
coin_scores = torch.zeros_like(scores)
coin_scores[here] = torch.eye(2)[actions] - 0.5  # all of one length
assert same(best_baseline(even, coin_scores), tour.values(coin))
assert not same(best_baseline(p, scores), V)  # control: here the lengths differ

# %% tags=["C72"]
constant = p @ to_go[:, 0]  # one number for all towns: the mean return
weights = {
    "G": to_go,
    "G - mean return": to_go - constant,
    "G - V(s)": to_go - V[states],
    "G - best b(s)": to_go - b_star[states],
    "A(s, a)": A[states, actions],
}
spread = {name: variance(estimates(w)).item() for name, w in weights.items()}
for w in weights.values():
    assert same(mean(estimates(w)), exact)  # only right means are compared
assert list(spread.values()) == sorted(spread.values(), reverse=True)
assert spread["G - V(s)"] < 0.35 * spread["G"]
shrunk = estimates(to_go / 2)  # control: small variance alone is no merit
assert variance(shrunk) < spread["G"] and not same(mean(shrunk), exact)

# %%
figure, ax = blank_panel(7.5, 3.2)
figures.plot_variances(ax, spread);

# %% [markdown]
# **What to notice.** One number for all towns helps a little: a baseline has to know the state. $V$ comes near the best, and is easy to learn, by regression of $G_t$ on $s_t$. So everyone uses it. Subtracting cannot reach the last bar: the true advantage knows nothing of the luck *after* the action, and $G_t$ has all of it.
#
# And on CartPole? Lecture 4's runs, recorded with and without a learned $V$ as baseline: same learning rate, same seeds (`benchmarks/recordings/reinforce_on_cartpole.py`).

# %% tags=["C72"]
arms = recorded("reinforce_on_cartpole")["arms"]
runs = {}
for arm in ("plain", "baseline"):
    [entry] = [e for e in arms if (e["arm"], e["learning_rate"]) == (arm, 0.01)]
    runs[arm] = torch.tensor([run["mean_return"] for run in entry["runs"]])  # (seeds, updates)

last = {arm: table[:, -20:].mean(1) for arm, table in runs.items()}
assert last["baseline"].quantile(0.5) > 1.8 * last["plain"].quantile(0.5)
first = [table[:, 0] for table in runs.values()]
assert torch.equal(*first)  # control: before the first update there is no difference
print({arm: ends.round().int().tolist() for arm, ends in last.items()})

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, facecolor="white",
                            layout="constrained")
for ax, (arm, title) in zip(axes, [("plain", "G"), ("baseline", "G - V(s), V learned")]):
    plot_runs(ax, runs[arm], f"weight {title}", "return of 16 episodes")
axes[1].set_ylabel("");

# %% [markdown]
# **What to notice.** Thin lines are seeds, the thick one is their median. The baseline changes only the noise, and that decides. It is no cure for everything: one seed of six fell all the same.
#
# ### The baseline is a constant
#
# $V$ often comes from a network, with a graph attached. In the policy's loss it must be cut off. The slope of $-\sum_t\gamma^t\,(G_t - v_t)\log\pi(a_t\mid s_t)$ in $v_t$ is $\gamma^t\log\pi(a_t\mid s_t)$: negative whatever was earned. So descent would raise every value without end. A critic has a loss of its own, the squared error.

# %% tags=["C72"]
critic = V.clone().requires_grad_()
log_pi = policy[states, actions].log()
surprise = torch.einsum("n,t,nt,nt->", p, discounts, critic[states] - to_go, log_pi)
(leak,) = torch.autograd.grad(surprise, critic)
squared = torch.einsum("n,nt->", p, (critic[states] - to_go) ** 2)
(lesson,) = torch.autograd.grad(squared, critic)

assert (leak[:-1] < 0).all()  # descent would raise every value, of good and bad towns alike
assert lesson.abs().max() < 1e-10  # control: regression is content with the true values
print("slope of the policy's loss in each value", leak[:4], "...")

# %% [markdown]
# ### Normalised advantages
#
# Much code shifts and scales the advantages of a batch to mean 0 and spread 1. The shift is one more baseline. The scale changes the *length* of the gradient: handy for choosing step sizes, but another quantity. Homework asks for the plain one.

# %% tags=["C72"]
plain = to_go - V[states]  # (N, T)
weight = p[:, None] / T  # all steps in one bag
centre = (weight * plain).sum()
width = ((weight * (plain - centre) ** 2).sum()).sqrt()
normalised = mean(estimates((plain - centre) / width))
assert same(normalised * width, exact)  # the same direction
assert not same(normalised, exact)  # control: not the same length
print(f"normalising makes the gradient {1 / width:.2f} times as long")

# %% [markdown]
# ## One step and a value: the TD error
#
# $G_t - V(s_t)$ still carries the luck of all later days. Stop after one step, and let $V$ stand in for the rest:
#
# $$\delta_t = r_t + \gamma V(s_{t+1}) - V(s_t), \qquad \mathbb{E}[\delta_t\mid s_t,a_t] = A(s_t,a_t).$$
#
# The mean is the advantage for the *true* $V$. With a critic $\hat V = V + e$ it is off by $\gamma\,\mathbb{E}[e(s_{t+1})\mid s_t,a_t] - e(s_t)$. The second part is a baseline and harmless. The first depends on the action and is a **bias**.

# %%
def td_errors(values):  # (N, T)
    return rewards + gamma * values[next_states] - values[states]


def given(weights):  # (S, A): mean of a weight, given where one was and what one did
    chance, total = torch.zeros(tour.states * 2), torch.zeros(tour.states * 2)
    rows, flat = (2 * states + actions).flatten(), p[:, None].expand(-1, T)
    chance.index_add_(0, rows, flat.flatten())
    total.index_add_(0, rows, (flat * weights).flatten())
    return (total / chance.clamp_min(1e-300)).view(-1, 2)

# %% tags=["C72"]
assert same(given(td_errors(V))[:-1], A[:-1])  # with the true V: the advantage
day_of = (torch.arange(tour.states) // 2).clamp_max(T)
by_day = torch.stack([V[day_of == day].mean() for day in range(T + 1)])
coarse = by_day[day_of]  # a critic that knows the day and not the town
e = coarse - V
off = gamma * tour.transitions @ e - e[:, None]  # (S, A)
assert same(given(td_errors(coarse))[:-1], (A + off)[:-1])
assert not same(given(td_errors(coarse))[:-1], A[:-1])  # control: a wrong critic, a wrong mean
print(f"the coarse critic is off by {e.abs().max():.2f} at most")

# %%
figure, ax = blank_panel(6.5, 3.2)
figures.plot_critic(ax, day_of[:-1] + 1, V[:-1], coarse[:-1]);

# %% [markdown]
# **What to notice.** A dash is what a critic says that knows the day and not the town. The grey lines between it and the true values are $e$.
#
# ### Two ways to stop
#
# After the sixth day the tour has **terminated**: nothing more is paid, the next value is 0. Now suppose our *record* is cut after the third day. The tour goes on, we merely stop looking. That is **truncated**, and there the next value counts. Who takes the cut for an end teaches the policy that the world stops on day three.

# %% tags=["C72"]
cut = 2  # the last step on record
at_cut, day_three = td_errors(V)[:, cut], states[:, cut].unique()
as_if_over = rewards[:, cut] - V[states[:, cut]]  # next value left out
rows = torch.zeros(len(p), T)
rows[:, cut] = at_cut
assert same(given(rows)[day_three], A[day_three])
rows[:, cut] = as_if_over
missing = gamma * (tour.transitions @ V)[day_three]
assert same(given(rows)[day_three], A[day_three] - missing)
assert missing.abs().max() > 0.2  # control: what was left out is not small
assert V[-1] == 0  # and after the last day there is nothing to leave out

# %% [markdown]
# In both cases the *sum* over later steps has to stop: the next row of the record belongs to another tour. So `terminated` has two effects, no next value and no later steps, and `truncated` only the second.
#
# ## Looking further ahead
#
# Between one step and all of them lie $n$ steps. The values in between cancel in pairs:
#
# $$A^{(n)}_t = \sum_{l=0}^{n-1}\gamma^l\,\delta_{t+l} = r_t + \gamma r_{t+1} + \dots + \gamma^{n-1}r_{t+n-1} + \gamma^n V(s_{t+n}) - V(s_t).$$

# %%
ahead = torch.arange(T)[None] - torch.arange(T)[:, None]  # (T, T): how far u lies after t


def n_step(values, n):  # (N, T)
    within = (ahead >= 0) & (ahead < n)
    return td_errors(values) @ (gamma ** ahead.clamp_min(0) * within).T

# %% tags=["C72"]
critic = torch.randn(tour.states, generator=generator) * ~tour.terminal  # any critic will do
everywhere = torch.cat([paths.states, paths.states[:, -1:].expand(-1, T)], 1)  # stay at the end
for n in range(1, T + 1):
    window = gamma ** ahead.clamp_min(0) * ((ahead >= 0) & (ahead < n))
    paid = rewards @ window.T
    reached = critic[everywhere[:, n : n + T]]  # (N, T): the value n steps on
    assert same(n_step(critic, n), paid + gamma**n * reached - critic[states])
assert same(n_step(critic, T), to_go - critic[states])  # all steps: G - V
assert not same(n_step(critic, 1), to_go - critic[states])  # control: one step is not all

# %% [markdown]
# **Generalised advantage estimation** (GAE) takes all $n$ at once, with weights that fall off by a factor $\lambda$: $(1-\lambda)\,(A^{(1)} + \lambda A^{(2)} + \lambda^2A^{(3)} + \dots)$. At the end of the episode, what is left of the weights goes to the last one. Collect the TD errors, and the mixture is a single sum:
#
# $$\hat A_t = \sum_{l\ge0}(\gamma\lambda)^l\,\delta_{t+l}.$$
#
# $\lambda = 0$ is the TD error, $\lambda = 1$ is $G_t - V(s_t)$. (We compute it as a matrix over time. Homework asks for another form: step by step, for several episodes in one array.)

# %%
def mixed(values, lam):  # (N, T), a whole tour at a time
    falling = (gamma * lam) ** ahead.clamp_min(0) * (ahead >= 0)
    return td_errors(values) @ falling.T

# %% tags=["C72"]
for lam in (0.0, 0.3, 0.8):
    parts = [(1 - lam) * lam ** (n - 1) * n_step(critic, n) for n in range(1, T)]
    parts.append(lam ** (T - 1) * n_step(critic, T))  # the rest of the weight
    assert same(sum(parts), mixed(critic, lam))
assert same(mixed(critic, 0.0), td_errors(critic))
assert same(mixed(critic, 1.0), to_go - critic[states])
no_gamma = td_errors(critic) @ torch.ones(T, T).triu().T  # lam = 1, discount forgotten
assert not same(no_gamma, to_go - critic[states])  # control: gamma belongs in the sum

# %%
figure, ax = blank_panel(6.5, 3.6)
lags = torch.arange(T)
figures.plot_weights(ax, {f"lam = {lam}": (gamma * lam) ** lags for lam in (0.0, 0.5, 0.9, 1.0)});

# %% [markdown]
# **What to notice.** $\lambda$ says how far ahead we trust what happened rather than the critic. Even at $\lambda = 1$ the weights fall, since the discount stays.
#
# ## Bias against variance
#
# For each $\lambda$ we compute, over all 4,096 tours, the exact bias and variance of the gradient estimate: with the true $V$, and with the critic that knows only the day.

# %%
lams = torch.linspace(0, 1, 21)


def bias_and_variance(values):  # squared bias (P,), variance of one tour's estimate (P,)
    tables = [estimates(mixed(values, lam)) for lam in lams.tolist()]
    bias = torch.stack([(mean(table) - exact).square().sum() for table in tables])
    return bias, torch.stack([variance(table) for table in tables])


true_bias, true_variance = bias_and_variance(V)
coarse_bias, coarse_variance = bias_and_variance(coarse)

# %% tags=["C72"]
assert true_bias.max() < 1e-20 and (true_variance.diff() > 0).all()
assert (coarse_bias.diff() < 0).all() and coarse_bias[-1] < 1e-20  # gone at lam = 1
assert coarse_bias[0] > 1e-4  # control: with a wrong critic there is bias to trade
assert coarse_variance[0] < 0.6 * coarse_variance[-1]
print(f"true V:  variance {true_variance[0]:.2f} to {true_variance[-1]:.2f}, no bias at any lam")
print(f"coarse:  variance {coarse_variance[0]:.2f} to {coarse_variance[-1]:.2f}, "
      f"bias {coarse_bias[0].sqrt():.3f} to 0 (the gradient is {exact.norm():.2f} long)")

# %% [markdown]
# With the true $V$ there is nothing to trade: $\lambda = 0$ is best. With a wrong critic small $\lambda$ means bias, large $\lambda$ means noise. A batch of $K$ tours divides the variance by $K$ and leaves the bias alone. So the best $\lambda$ depends on how much data an update has.

# %%
def trade(K):
    figure, ax = blank_panel(7.0, 3.8)
    figures.plot_trade(ax, lams, coarse_bias, coarse_variance / K)
    ax.set_title(f"{K:.0f} tours in an update")
    return figure


Slider(trade, [3, 10, 30, 100, 300, 1000], 30, "tours in an update")

# %% tags=["C72"]
best_lam = {K: lams[(coarse_bias + coarse_variance / K).argmin()].item() for K in (3, 100, 10_000)}
assert best_lam[3] < best_lam[100] < best_lam[10_000]  # more data: less bias wanted
assert 0 < best_lam[100] < 1
alone = lams[(true_bias + true_variance / 10_000).argmin()]
assert alone == 0  # control: with the true V more data change nothing
print({K: round(lam, 2) for K, lam in best_lam.items()})

# %% [markdown]
# **What to notice.** Slide to the right: the blue line sinks, the red one stays, and the star moves from left to right. The usual 0.9 to 0.97 says: critics are wrong, and batches are large.
#
# Now the other way round: 30 tours in an update, and *you* choose $\lambda$.

# %%
def choose(lam):
    figure, (left, right) = two_panels()
    figures.plot_weights(left, {f"lam = {lam:g}": (gamma * lam) ** lags})
    left.set_ylim(0, 1.1)
    figures.plot_trade(right, lams, coarse_bias, coarse_variance / 30)
    right.axvline(lam, color="black", linestyle=":")
    right.legend(frameon=False, loc="upper left", fontsize="small")
    return figure


Slider(choose, [0.0, 0.25, 0.5, 0.75, 0.9, 1.0], 0.9, "lam")

# %% [markdown]
# **What to notice.** Left, how far the estimate looks ahead. Right, what it costs, at the dotted line. At 0 a single TD error counts, and the critic's mistake with it. At 1 all later steps count, and their luck with them.
#
# ### What we have so far
#
# | weight $w_t$ | mean is the gradient | variance here |
# |---|---|---|
# | $G_t$ | yes | 2.09 |
# | $G_t - b$, one number | yes | 1.87 |
# | $G_t - V(s_t)$, that is $\lambda = 1$ | yes, with any critic | 0.60 |
# | $\delta_t$, that is $\lambda = 0$ | with the true $V$ only | 0.23 |
# | $A(s_t,a_t)$ | yes, if one knew it | 0.19 |

# %% [markdown]
# ## From here to a language model (G1)
#
# A language model is a policy. Everything in this course applies to it; only the names change.
#
# | in the course | for a language model | in the code below |
# |---|---|---|
# | state $s_t$ | the prompt and all tokens so far | `tokens` up to $t$ |
# | action $a_t$ | the next token | `tokens` at $t$ |
# | transition | write the token down: certain | `cat` |
# | terminated | the end token, or no room left | `valid` is `False` after it |
# | reward | 0, and at the end what a program says | `reward(text)` |
# | $\gamma$, $G_t$ | 1, so each token's return-to-go is the final reward | one number a text |
#
# First a language so tiny that we can list it: letters *a* and *b*, a full stop that ends, no more than three tokens. A program pays 1 for `ab.` and `ba.`, else 0. As an MDP it has a state for each beginning, and one for "over".

# %%
begun, over = ["", "a", "b", "aa", "ab", "ba", "bb"], 7
leads_to, pays = torch.zeros(8, 3, 8), torch.zeros(8, 3)
for s, text in enumerate(begun):
    for a, token in enumerate("ab."):
        ends = token == "." or len(text) == 2
        leads_to[s, a, over if ends else begun.index(text + token)] = 1.0
        pays[s, a] = float(text + token in ("ab.", "ba."))
leads_to[over, :, over] = 1.0
tiny = worlds.TabularMDP(leads_to, pays, 1.0, torch.eye(8)[0], torch.arange(8) == over)

theta = torch.randn(8, 3, generator=generator)
model = softmax_policy(theta)  # (S, A): a language model, as a table
target, J = tiny.policy_gradient(theta), tiny.expected_return(model)

# %% [markdown]
# Texts stand side by side in one array, short ones filled up. What stands after the end was never said: a **mask** takes it out. Without it, the sum would count actions that nobody took.

# %%
listed = worlds.trajectories(tiny, model, 3)
q, where, said = listed.probabilities, listed.states[:, :3], listed.actions
R, valid = listed.rewards.sum(1), where != over  # (N,), (N, 3)
length = valid.sum(1)


def text_scores(said, valid):  # (N, S, A): sum over the tokens that count
    one = torch.zeros(len(q), 3, 8, 3)
    one[torch.arange(len(q))[:, None], torch.arange(3)[None], where] = (
        torch.eye(3)[said] - model[where])
    return (one * valid[:, :, None, None]).sum(1)


S = text_scores(said, valid)
print(f"{len(q)} rows, {q[R > 0].sum():.3f} of the probability is right")

# %% tags=["G1"]
assert same(q @ R, J)
assert same(torch.einsum("n,n,nsa->sa", q, R, S), target)

filled = torch.where(valid, said, 2)  # the filling: full stops
no_mask = text_scores(filled, torch.ones_like(valid))
wrong = torch.einsum("n,n,nsa->sa", q, R - 1, no_mask)  # any constant is a baseline, here 1
right = torch.einsum("n,n,nsa->sa", q, R - 1, text_scores(filled, valid))
assert same(right, target)  # what is filled in does not matter if it is masked
assert not same(wrong, target)  # control: without the mask it does

# %% [markdown]
# ### The group is the baseline (G2)
#
# A critic for half-finished texts is hard to train. **GRPO** (group relative policy optimisation) does without. It answers the *same* prompt $G$ times and takes the mean reward of the group as the baseline:
#
# $$\hat A_i = R_i - \bar R,\qquad \bar R = \frac1G\sum_{j=1}^G R_j .$$
#
# A baseline must not look at the action, and $\bar R$ does: $R_i$ is in it, with weight $1/G$. Compare with the mean of the $G-1$ others, which is an honest baseline:
#
# $$R_i - \bar R = \tfrac{G-1}{G}\,\big(R_i - \text{mean of the others}\big).$$
#
# So the group's mean gives the right direction, shortened by exactly $(G-1)/G$. We list all groups.

# %%
def over_all_groups(weigh, G):  # exact mean over groups: (M, G) rewards -> (M, G) weights
    rows = torch.cartesian_prod(*[torch.arange(len(q))] * G)  # (M, G)
    chance, weights = q[rows].prod(1), weigh(R[rows])
    at_place = torch.einsum("m,mg,mgn->n", chance, weights, torch.eye(len(q))[rows])
    return torch.einsum("n,nsa->sa", at_place, S) / G


def group_mean(rewards):
    return rewards - rewards.mean(1, keepdim=True)


def others_mean(rewards):
    G = rewards.shape[1]
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / (G - 1)

# %% tags=["G2"]
for G in (2, 3):
    assert same(over_all_groups(others_mean, G), target)
    assert same(over_all_groups(group_mean, G), (G - 1) / G * target)
    assert not same(over_all_groups(group_mean, G), target)  # control: it is not unbiased
print("groups listed:", len(q) ** 2, "and", len(q) ** 3)

# %% [markdown]
# With $G = 16$ the factor is 0.94, the same for all prompts: a matter of step size.
#
# ### Divided by the spread (G3)
#
# GRPO goes on and divides by the group's standard deviation: $\hat A_i = (R_i - \bar R)/\text{std}$. In "Normalised advantages" *one* number was for the whole batch. Here every prompt has its own, and that changes how much the prompts count.
#
# For rewards 0 and 1 we can work it out. Let $p$ be the share of right answers to a prompt. In a group with $k$ right ones the right get weight $\sqrt{(G-k)/k}$ and the wrong $-\sqrt{k/(G-k)}$. Averaged over groups, the update is the prompt's gradient $\nabla p$, times
#
# $$c_G(p) = \frac{\mathbb{E}[\text{std}]}{p\,(1-p)} \;\to\; \frac{1}{\sqrt{p\,(1-p)}}\quad (G\to\infty).$$
#
# Without the division it is $(G-1)/G$ for all. (A group in which all are right, or all wrong, has spread 0. It teaches nothing.)

# %%
def factor(p, G):  # c_G(p); p: (P,)
    k = torch.arange(G + 1.0)
    ways = (torch.lgamma(torch.tensor(G + 1.0)) - torch.lgamma(k + 1) - torch.lgamma(G - k + 1)).exp()
    chance = ways * p[:, None] ** k * (1 - p[:, None]) ** (G - k)  # (P, G + 1)
    std = (k * (G - k)).sqrt() / G
    return (chance @ std) / (p * (1 - p))

# %% tags=["G3"]
for G in (2, 3):
    divided = over_all_groups(relative_advantages, G)
    assert same(divided, factor(J[None], G) * target)
    assert not same(divided, (G - 1) / G * target)  # control: the division changes the factor
rare, some = torch.tensor([1e-6]), torch.tensor([0.05, 0.5])
assert torch.allclose(factor(rare, 16), torch.tensor(15.0).sqrt(), rtol=1e-4)  # not infinite
assert torch.allclose(factor(some, 900), 1 / (some * (1 - some)).sqrt(), rtol=0.02)
few, half = factor(some, 16)
print(f"G = 16: a prompt with 5 % right counts {few / half:.1f} times as much as one with 50 %")

# %%
figure, ax = blank_panel(6.8, 3.6)
grid = torch.linspace(0.005, 0.995, 199)
lines = {f"divided, G = {G}": factor(grid, G) for G in (64, 16, 4)}
lines["not divided, G = 16"] = torch.full_like(grid, 15 / 16)
grpo_figures.plot_factors(ax, grid, lines);

# %% [markdown]
# **What to notice.** The division makes hopeless and nearly solved prompts count more. Since $1/\sqrt{p(1-p)}$ is the slope of $2\arcsin\sqrt p$, with large groups the mean of *that* is maximised, not the mean of $p$. *Dr. GRPO* ("GRPO done right") leaves the division out for this reason.
#
# ### Long answers and short ones (G4)
#
# The gradient has a **sum** over the tokens of a text. GRPO as first published divided each text by its own length. A wrong answer of three tokens is then blamed a third as much per token as a wrong one of a single token. So being wrong at length is cheap.

# %%
def two_directions(seed):  # gradient, the same with each text divided by its length, and how
    table = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))  # wrong texts grow
    found = worlds.trajectories(tiny, softmax_policy(table.requires_grad_()), 3)
    chance, paid = found.probabilities, found.rewards.sum(1)
    size = (found.states[:, :3] != over).sum(1)
    better = paid - (chance @ paid).detach()
    wrong = chance * (1 - paid)
    results = []
    for gain in (chance @ better, chance @ (better / size), wrong @ size.double() / wrong.sum()):
        results.append(torch.autograd.grad(gain, table, retain_graph=True)[0].flatten())
    return results

# %% tags=["G4"]
for seed in range(30):
    summed, averaged, growth = two_directions(seed)
    cosine = summed @ averaged / summed.norm() / averaged.norm()
    assert cosine < 0.999  # another direction, not another length
    assert growth @ averaged / averaged.norm() > growth @ summed / summed.norm()
    third = summed / 3  # control: divided by one number for all, the direction stays
    assert same(third / third.norm(), summed / summed.norm())

# %% [markdown]
# In 30 random models of 30, the mean over own tokens lengthens wrong answers faster than the gradient does. Cures: divide by a constant (Dr. GRPO), or by the number of tokens in the whole *batch*, as we do below.
#
# ### Not too far from where it began (G5)
#
# A reward that a program computes can be fooled. So one often holds the model near the one it started from, the **reference**, by a penalty on $\text{KL}(\pi\,\Vert\,\pi_\text{ref})$, estimated from samples of $\pi$. With $\text{ratio} = \pi_\text{ref}/\pi$ there are two ways:
#
# $$k_1 = -\log\text{ratio},\qquad k_3 = \text{ratio} - 1 - \log\text{ratio}.$$
#
# Both have the KL as their mean, since the ratio averages to 1. GRPO uses $k_3$, token by token.

# %% tags=["G5"]
anchor = softmax_policy(theta + 0.5 * torch.randn(8, 3, generator=generator))
log_q, log_ref = model.log()[where, said], anchor.log()[where, said]  # (N, 3)
k3, k1 = kl_estimates(log_q, log_ref), log_q - log_ref
of_texts = torch.einsum("n,n->", q, ((log_q - log_ref) * valid).sum(1))  # KL of whole texts
by_state = tiny.visitation(model) @ (model * (model / anchor).log()).sum(1)
assert same(of_texts, by_state)  # visits to each state times the KL there
for estimate in (k1, k3):
    assert same(torch.einsum("n,nt,nt->", q, valid.double(), estimate), of_texts)
assert k3.min() >= 0
assert k1.min() < -0.1  # control: k1 is right in the mean and can be negative
upside_down = kl_estimates(log_ref, log_q)
assert not same(torch.einsum("n,nt,nt->", q, valid.double(), upside_down), of_texts)

# %%
figure, ax = blank_panel(6.5, 3.2)
log_ratio = torch.linspace(0.1, 4.0, 118).log()
curves = {"k1": -log_ratio, "k3": kl_estimates(torch.zeros(118), log_ratio)}
grpo_figures.plot_estimates(ax, log_ratio.exp(), curves);

# %% [markdown]
# **What to notice.** $k_1$ can be negative; $k_3$ cannot, as $x - 1\ge\log x$. Near ratio 1 it is nearly flat, and to the right it soars.
#
# > **A trap.** An estimate whose *mean* is right need not have a *slope* whose mean is right. In the loss the drawn tokens stand still and only $\log\pi_\theta$ is differentiated. Then the mean slope of $k_3$ is that of the *other* divergence, $\text{KL}(\pi_\text{ref}\,\Vert\,\pi)$, and that of $k_1$ is zero. Near the reference the two divergences agree to second order, so in practice $k_3$ does the job: it pulls back.

# %% tags=["G5"]
logits, ref = theta[0].clone().requires_grad_(), anchor[0]  # one state, all three tokens
pi = logits.softmax(0)


def slope(quantity):
    return torch.autograd.grad(quantity, logits, retain_graph=True)[0]


of_k3 = slope(pi.detach() @ kl_estimates(pi.log(), ref.log()))
assert same(of_k3, slope(ref @ (ref / pi).log()))
assert not same(of_k3, slope(pi @ (pi / ref).log()))  # control: not of the KL it estimates
assert same(slope(pi.detach() @ (pi.log() - ref.log())), torch.zeros(3))

# %% [markdown]
# ## A model to train (G6)
#
# Now a real one, if small. The task: **close the brackets**. The prompt is three brackets, the answer at most five tokens. A program says whether each bracket is closed by its own kind, in the right order, before a full stop. A prompt has more than one right answer: after `([` both `]).` and `]<>).` will do.

# %%
for text in ("([{}]).", "([{]}).", "(()).", "((<>", "([]<>)."):
    print(f"{text:9} {brackets.reward(text):.0f}")
learn, test = brackets.prompts()
print(len(learn), "prompts to learn from,", len(test), "to be tested on, such as",
      *brackets.WORDS.decode(test[:6]))

# %% [markdown]
# The model is a **transformer**: each token is a vector; each place looks back at the places before it and gathers what it needs (attention), then thinks for itself (two layers); the last vector says what comes next. It first learns from texts by a *sloppy author*, who closes as many brackets as were opened, of whatever kind. This is **imitation** (lecture 4): make the next token of each text more likely. So it learns what a text looks like, and nothing about being right.

# %%
dice = torch.Generator().manual_seed(1)
sloppy_author = brackets.sloppy_texts(6, torch.Generator().manual_seed(2))
print(*(text.rstrip(".") + "." for text in sloppy_author))
writer = brackets.sloppy_model(dice)  # the dice go on from here when it learns
sloppy = copy.deepcopy(writer)  # to compare with, later
print(sum(parameter.numel() for parameter in writer.parameters()), "parameters")

# %% [markdown]
# The log-probabilities come up twice: token by token while the model *writes* (the old ones), and all at once when it *reads* the finished text (the new ones, with a graph). That works because no place can look ahead. Before any step the two are equal, and every ratio is 1.

# %% tags=["G6"]
other = torch.Generator().manual_seed(2)
texts = complete(writer, test, brackets.ANSWER, brackets.WORDS.end, other)
read = read_log_probs(writer, texts.tokens, brackets.ANSWER)  # (N, 5)
assert same(read[texts.valid], texts.log_probs[texts.valid])

changed = texts.tokens.clone()
changed[:, 5] = (changed[:, 5] + 1) % len(brackets.WORDS)  # another token at place 5
before, after = writer(texts.tokens), writer(changed)
assert same(before[:, :5], after[:, :5])  # what comes earlier cannot know
assert not same(before[:, 5:], after[:, 5:])  # control: what comes later does

# %%
def answers(model, rows=8, each=4):  # a few prompts, some answers to each, and which are right
    asked = test[:rows].repeat_interleave(each, 0)
    draws = torch.Generator().manual_seed(3)
    full = brackets.WORDS.decode(
        complete(model, asked, brackets.ANSWER, brackets.WORDS.end, draws).tokens)
    right = torch.tensor([brackets.reward(text) > 0 for text in full]).view(rows, each)
    cut = [text[brackets.PROMPT:] for text in full]
    return [cut[i : i + each] for i in range(0, len(cut), each)], right


share_before = brackets.share_right(writer, test, 50, other)
shown = {0: answers(writer)}
print(f"right answers to prompts of the test: {share_before:.1%}")

# %% [markdown]
# ### Let it learn (G7)
#
# One update: draw 16 prompts, answer each 16 times, let the program pay, take each reward relative to its group, and make one step. At that step all ratios are 1 and the clip is idle. So the clipped surrogate has the slope of $\frac1B\sum\hat A\log\pi_\theta$, and what follows **is** GRPO with one epoch (one pass over each batch). It takes a few seconds.

# %%
def objective(log_probs, old_log_probs, advantages, epsilon):
    return (log_probs * advantages).mean()


config = GRPOConfig()  # for your own clipped_surrogate: GRPOConfig(epochs=4)
training = grpo(writer, brackets.WORDS, learn, brackets.reward, objective, config, generator=dice)
curve = []


def train_until(update):
    while len(curve) < update:
        seen = next(training)
        curve.append(seen["reward"])
    shown[update] = answers(writer)
    print(f"update {update}: {seen['reward']:.0%} right, KL {seen['kl']:.2f} a token")

# %%
for update in (20, 40, 60):
    train_until(update)

# %%
for update in (80, 100, config.updates):
    train_until(update)

# %% tags=["G7"]
share_after = brackets.share_right(writer, test, 50, torch.Generator().manual_seed(1))
error = 3 * (0.25 / (50 * len(test))) ** 0.5  # three standard errors, at most
print(f"before {share_before:.1%}, after {share_after:.1%} (+- {error:.1%})")
assert share_after - error > 0.9
assert share_before + error < 0.2  # control: before it learned it fails the same check

# %%
def look(update):
    figure, ax = blank_panel(6.4, 3.8)
    asked = brackets.WORDS.decode(test[: len(shown[update][0])])
    grpo_figures.plot_completions(ax, asked, *shown[update])
    return figure


Slider(look, list(shown), list(shown)[-1], "update")

# %% [markdown]
# **What to notice.** Slide to 0 and back. These prompts were never trained on, and the model was never shown a right answer: it found some by chance, one in twelve, and did more of what had gone better than the rest of its group. At update 20 nothing shows yet. At 40 it answers the short prompts, where a lucky guess is likely, and then the long ones.
#
# The KL that was printed is the mean of $k_3$. Let us compare it with $k_1$ and with the divergence itself, a sum over all nine words at each place.

# %% tags=["G5"]
draws = torch.Generator().manual_seed(4)
texts = complete(writer, test.repeat_interleave(50, 0), brackets.ANSWER, brackets.WORDS.end, draws)
with torch.no_grad():
    now, then = (m(texts.tokens[:, :-1])[:, -brackets.ANSWER :].log_softmax(-1)
                 for m in (writer, sloppy))  # (N, 5, V)
divergence = (now.exp() * (now - then)).sum(-1)[texts.valid].mean()
said = texts.tokens[:, -brackets.ANSWER :, None]
log_now, log_then = (table.gather(2, said)[..., 0][texts.valid] for table in (now, then))
seen_k1, seen_k3 = (log_now - log_then).mean(), kl_estimates(log_now, log_then).mean()
print(f"KL {divergence:.2f}, k1 {seen_k1:.2f}, k3 {seen_k3:.2f}")
assert (seen_k1 - divergence).abs() < 0.1 * divergence
assert seen_k3 < 0.75 * divergence  # control: unbiased, and yet far off

# %% [markdown]
# $k_3$ is unbiased, and half of it is missing. The other half sits in words that the new model hardly ever says and the old one would: there the ratio is gigantic, and in this sample none came up. (When one does, the number jumps, as at the last update above.) So $k_3$ is a good estimate *near* the reference.
#
# ## More from each batch: here the clip comes in (G8)
#
# Writing texts costs more than learning from them, so one takes several steps on each batch. Then the ratios move away from 1, and the clip matters (lecture 7). `clipped_surrogate` is yours to write, so these runs were **recorded**: six seeds of each variant, all else as above (`benchmarks/recordings/grpo_on_brackets.py`). First the bridge: the recorded run with the clipped surrogate, one epoch and your seed *is* your run, to the last answer.

# %% tags=["G8"]
runs = recorded("grpo_on_brackets")["runs"]
curves = {name: torch.tensor([run["reward"] for run in found]) for name, found in runs.items()}
live = torch.tensor(curve[:20])
assert torch.allclose(live, curves["1 epoch"][1, :20], atol=1e-4)
for name in ("4 epochs", "not divided by the spread", "KL weight 0.2"):
    assert not torch.allclose(live, curves[name][1, :20], atol=1e-4)  # control: others are not

# %% tags=["G8"]
def updates_to_90(rewards):  # (seeds, updates) -> (seeds,): until five in a row are 90 % right
    there = rewards.unfold(1, 5, 1).mean(2) >= 0.9
    return torch.where(there.any(1), there.int().argmax(1) + 5, rewards.shape[1])


needed = {name: updates_to_90(table).double().quantile(0.5) for name, table in curves.items()}
right = {name: torch.tensor([run["after"] for run in found]) for name, found in runs.items()}
for name in runs:
    print(f"{name:26} nine in ten right after {needed[name]:3.0f} updates, in the end "
          f"{right[name].quantile(0.5):6.1%}, worst seed {right[name].min():6.1%}")

# %% tags=["G8"]
assert needed["4 epochs"] < 0.6 * needed["1 epoch"]  # fewer texts for the same
assert needed["4 epochs, no clip"] > 1.5 * needed["4 epochs"]
assert needed["8 epochs, no clip"] > 2 * needed["8 epochs"]
assert right["4 epochs, no ratio"].quantile(0.5) < 0.5  # old texts taken for fresh ones: ruin
assert needed["not divided by the spread"] > needed["1 epoch"]
assert right["KL weight 0.2"].quantile(0.5) < right["1 epoch"].quantile(0.5)  # held back
assert right["another reward"].quantile(0.5) < 0.2  # control: paid for something else

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.6), sharey=True, facecolor="white",
                            layout="constrained")
for ax, names in zip(axes, [("1 epoch", "2 epochs", "4 epochs"),
                            ("4 epochs", "4 epochs, no clip", "4 epochs, no ratio")]):
    plot_spread(ax, {name: curves[name].T for name in names}, 1.0, "share right", start=1)
axes[1].legend(frameon=False, loc="center right")
axes[1].set_ylabel("");

# %% [markdown]
# **What to notice.** Left: four passes over each batch halve the number of texts to be written. Right: without the clip it takes about twice as long and ends in worse places. Without the ratio the model is ruined, since old texts are taken for fresh ones. Of the other arms, not dividing by the spread was slower here (so the step size is another too), the KL penalty bought nearness with wrong answers, and a reward that has nothing to do with brackets taught no brackets.
#
# All in one line: $\text{ratio}\cdot\hat A$ from lecture 5, the clip from lecture 7, a baseline from above, with a group in place of the critic.
#
# ## Exercises
#
# 1. (C72) Show that $b$ may depend on all of the past, but not on $a_t$. What did the control with $Q(s_t,a_t)$ get wrong?
# 2. (C72) Derive $b^*(s)$. For which policies is it equal to $V(s)$?
# 3. (C72) In the bars, "mean return" was the exact one. Take the mean of the same $K$ tours that the gradient is estimated from. By which factor does it shorten the gradient? (Hint: G2.)
# 4. (C72) Write $\hat A_t$ in terms of $\hat A_{t+1}$. Where does an episode that ends enter, and where one that is cut?
# 5. (C72) Give the critic a constant error, $\hat V = V + 5$ in every town. Why is the bias at $\lambda = 0$ zero here? Let actions decide *when* the tour ends. What happens then?
# 6. (G3) Show that $c_G(p)\to\sqrt{G-1}$ as $p\to0$. Which share of the groups teaches anything then?
# 7. (G6) Why must the old log-probabilities be kept from the writing, and not be computed again at each step?
# 8. (G7) Pay `brackets.reward(text) + 0.1 * len(text)`. What does the model write now?
# 9. (G8) Put your own `clipped_surrogate` in the place of `objective`, with `GRPOConfig(epochs=4)`. After how many updates are nine answers in ten right? Then leave the clip out.
#
# ## To the homework
#
# - [hw1](../homework/hw1.ipynb), **`baseline_loss`** weighs each step by $G_t$ minus the value of *its own* state. The values are constants there, and not normalised.
# - [hw2](../homework/hw2.ipynb), **`gae`** is $\hat A_t$ for many episodes in one array. Think of "Two ways to stop" at each end: is there a next value, and is there a next step?
# - [hw2](../homework/hw2.ipynb), **`clipped_surrogate`** is the objective of a language model as it stands: one log-probability, one old log-probability and one advantage for each token. Exercise 9 trains with yours.
