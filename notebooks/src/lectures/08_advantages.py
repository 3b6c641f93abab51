# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Preview: advantages and baselines
#
# **Lecture 8** of the policy-gradient course. Reading time: about 15 minutes. It runs in a few seconds.
#
# Slide 70 is a title and a promise: advantage estimation, baselines, and from there to language models. This lecture keeps the first half. How much of the noise in a gradient estimate can be subtracted for nothing? And how much more if we accept a little bias? Every answer below is exact: we list all episodes of a small world.
#
# | | |
# |---|---|
# | **Covers** | slide 70 |
# | **Assumes** | REINFORCE-2, $V$, $Q$, $A$ ([lecture 3](03_rewards_to_go.ipynb)), weighted imitation ([lecture 4](04_reinforce.ipynb)) |
# | **Prepares** | homework 1: `baseline_loss`; homework 2: `gae` |

# %%
import matplotlib.pyplot as plt
import torch

from course_lib.figures import advantages as figures
from course_lib import mdp as worlds
from course_lib.figures.reinforce import plot_runs
from course_lib.figures.style import blank_panel
from course_lib.policies import softmax_policy
from course_lib.recorded import recorded
from course_lib.sliders import Slider

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# ## A tour of six days
#
# Two towns a day, two ways to travel on, rewards between $-1$ and 1, $\gamma = 0.9$. After six days the tour is over. There are 4,096 different tours, few enough to list, and each has a known probability.

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
# The estimate from one tour is $\sum_t\gamma^t\,w_t\,\nabla\log\pi_\theta(a_t\mid s_t)$. The score of a softmax table stands in row $s_t$: taken minus expected. In this lecture only the **weight** $w_t$ changes.

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
# *Slide 70.* A return of 7 is good where 5 is usual and bad where 10 is. So weigh an action by how much *better than expected* it went: $w_t = G_t - b(s_t)$, with a **baseline** $b$. May one? A baseline adds $-b(s_t)\,\nabla\log\pi_\theta(a_t\mid s_t)$ to the estimate. Given $s_t$ it is a constant times a score, and a score has mean zero. So *any* function of the state will do.

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
# The mean does not care, the variance does. Here no town is met twice, so each town's row of the estimate has its own variance, a parabola in its own $b(s)$. Its lowest point is
#
# $$b^*(s) = \frac{\mathbb{E}\big[\lVert\nabla\log\pi_\theta(a\mid s)\rVert^2\,G_t\mid s\big]}{\mathbb{E}\big[\lVert\nabla\log\pi_\theta(a\mid s)\rVert^2\mid s\big]},$$
#
# a mean of $G_t$ in which rare actions, whose scores are long, count for more. If the scores are all of one length, it is $V(s)$.

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
# **What to notice.** One number for all towns helps a little: a baseline has to know the state. $V$ comes near the best and is what everyone uses, for it is easy to learn: a regression of $G_t$ on $s_t$. The last bar is out of reach by subtracting. The true advantage knows nothing of the luck *after* the action; $G_t$ has all of it.
#
# And on CartPole? The runs of lecture 4 were recorded (`benchmarks/reinforce_on_cartpole.py`) with and without a learned $V$ as baseline: same learning rate, same seeds.

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
# **What to notice.** Thin lines are seeds, the thick one is their median. The baseline changes no mean, only the noise, and that decides. It is no cure for everything: one seed of six fell all the same.
#
# ### The baseline is a constant
#
# $V$ often comes from a network, with a graph attached. In the loss it must be cut off. Otherwise the optimiser also moves the *critic*, to make the policy's loss small. The slope of $-\sum_t\gamma^t\,(G_t - v_t)\log\pi(a_t\mid s_t)$ in $v_t$ is $\gamma^t\log\pi(a_t\mid s_t)$: negative whatever was earned. So descent raises every value without end. A critic has a loss of its own, the squared error.

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
# Much code shifts and scales the advantages of a batch to mean 0 and spread 1. The shift is one more baseline. The scale changes the *length* of the gradient: a convenience for choosing step sizes, and another quantity. Homework asks for the plain one.

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
# That is by the definition of $A$, for the *true* $V$. With a critic $\hat V = V + e$ the mean is off by $\gamma\,\mathbb{E}[e(s_{t+1})\mid s_t,a_t] - e(s_t)$. The second part is a baseline and harmless. The first depends on the action and is a **bias**.

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

# %% [markdown]
# ### Two ways to stop
#
# After the sixth day the tour has **terminated**: nothing more is paid, the next value is 0. Now suppose our *record* is cut after the third day, for lack of time. The tour goes on, we merely stop looking. That is **truncated**, and there the next value counts. Who takes the cut for an end teaches the policy that the world stops on day three.

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
# **Generalised advantage estimation** takes all $n$ at once, with weights that fall off by a factor $\lambda$: $(1-\lambda)\,(A^{(1)} + \lambda A^{(2)} + \lambda^2A^{(3)} + \dots)$. What is left of the weights at the end of the episode goes to the last one. Collect the TD errors, and the mixture is a single sum:
#
# $$\hat A_t = \sum_{l\ge0}(\gamma\lambda)^l\,\delta_{t+l}.$$
#
# $\lambda = 0$ is the TD error, $\lambda = 1$ is $G_t - V(s_t)$. As a matrix over time it is upper triangular. (The homework asks for another form: step by step, over several episodes in one array, with both kinds of ends.)

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
# **What to notice.** $\lambda$ is how far ahead we trust what happened more than what the critic says. Even at $\lambda = 1$ the weights fall, since the discount stays.
#
# ## Bias against variance
#
# Now the point of it all. For each $\lambda$ we compute, over all 4,096 tours, the exact bias and the exact variance of the gradient estimate. First with the true $V$, then with the critic that knows only the day.

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
# **What to notice.** Slide to the right: the blue line sinks, the red one stays, and the star moves from left to right. No $\lambda$ is best for all. The usual 0.9 to 0.97 says: critics are wrong, and batches are large.
#
# ## What we have
#
# | weight $w_t$ | mean is the gradient | variance here |
# |---|---|---|
# | $G_t$ | yes | 2.09 |
# | $G_t - b$, one number | yes | 1.87 |
# | $G_t - V(s_t)$, that is $\lambda = 1$ | yes, with any critic | 0.60 |
# | $\delta_t$, that is $\lambda = 0$ | with the true $V$ only | 0.23 |
# | $A(s_t,a_t)$ | yes, if one knew it | 0.19 |
#
# ## Outlook: to language models
#
# A language model is a policy: the state is the text so far, the action the next token, and the reward often comes once, at the end, from a program or a judge. A critic for half-finished texts is hard to train. **GRPO** does without: it lets the model answer the same question several times and takes the mean reward of the *group* as baseline, divides by the group's spread (the scale of "Normalised advantages" above), gives each token of an answer that same advantage, and feeds it to the clipped surrogate of lecture 7. So nothing in it is new to you: a baseline that knows the question and not the state, and a ratio that is clipped.
#
# ## Exercises
#
# 1. Show that $b$ may depend on all of the past, but not on $a_t$. What did the control with $Q(s_t,a_t)$ get wrong?
# 2. Derive $b^*(s)$. For which policies is it equal to $V(s)$?
# 3. In a group of $m$ answers the mean reward contains the answer's own reward. Is that a baseline? By which factor does it shorten the gradient?
# 4. Write $\hat A_t$ in terms of $\hat A_{t+1}$. Where does an episode that ends enter, and where one that is cut?
# 5. Give the critic a constant error, $\hat V = V + 5$ in every town. Why is the bias at $\lambda = 0$ zero here? Change the world so that actions decide *when* the tour ends. What happens then?
# 6. With the true $V$ the variance at $\lambda = 0$ is still above that of the true advantage. What is left?
#
# ## To the homework
#
# - **hw1, `baseline_loss`** weighs each step by $G_t$ minus the value of *its own* state. The values are constants there: no gradient, no loss of their own, no normalising.
# - **hw2, `gae`** is $\hat A_t$ for many episodes in one array. Think of "Two ways to stop" at each end: is there a next value, and is there a next step?
