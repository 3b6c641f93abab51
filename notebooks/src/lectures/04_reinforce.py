# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # REINFORCE, and how it fails
#
# **Lecture 4** of the policy-gradient course. Reading time: about 20 minutes. It runs in half a minute.
#
# We have an estimator whose mean is the gradient. Put into a loop, it learns: that is REINFORCE. We run the loop two hundred times side by side, to see not only *that* it learns but how much is luck. Then we look for what breaks it: data from another policy, and steps that are too large.
#
# | | |
# |---|---|
# | **Covers** | slides 30 to 38, 68 and 69; note, Algorithm 1 |
# | **Assumes** | the score, REINFORCE-1 and -2 ([lecture 2](02_policy_gradient.ipynb)); occupancy and variance ([lecture 3](03_rewards_to_go.ipynb)) |
# | **Prepares** | [homework 1](../homework/hw1.ipynb): `reinforce`, `baseline_loss`, `reinforce_loss` |
#
# Headings carry the claim they establish, such as C24.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch.autograd.functional import jacobian
from torch.nn.functional import cross_entropy

from course_lib import mdp as worlds
from course_lib.episodes import sample_episodes
from course_lib.figures import agents, basic as basic_figures, grid as grids, reinforce as figures
from course_lib.figures.style import blank_panel, small_panels
from course_lib.policies import CategoricalPolicy, GaussianPolicy
from course_lib.recorded import recorded
from course_lib.sliders import Slider, Sliders

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# ## The courier once more
#
# This is the town of lecture 3: three decisions at most, each *steady* (0) or *hasty* (1), with a shortcut from the depot to the ferry. The best policy earns $J = 6.44$, a courier who tosses a coin 3.75.

# %%
spots = {"depot": (0, 0.5), "street": (1, 1), "park": (1.2, 0.5), "bridge": (2, 1)}
spots |= {"ferry": (2, 0), "home": (3, 0.5)}
roads = [("depot", "street"), ("depot", "park"), ("depot", "ferry"), ("street", "bridge")]
roads += [("street", "ferry"), ("park", "bridge"), ("park", "ferry")]
figure, ax = blank_panel(6.4, 2.1)
basic_figures.world_map(ax, spots, [*roads, ("bridge", "home"), ("ferry", "home")]);

# %%
gamma, T = 0.8, 3
transitions = torch.zeros(6, 2, 6)  # (S, A, S): depot, street, park, bridge, ferry, home
transitions[0, :, [1, 2, 4]] = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.4, 0.4]])
transitions[1, :, 3:5] = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
transitions[2, :, 3:5] = torch.tensor([[0.6, 0.4], [0.1, 0.9]])
transitions[3:, :, 5] = 1.0
rewards = torch.tensor([[1, 2], [0, 1], [3, -1], [2, 4], [0, 5], [0, 0]]).double()  # (S, A)
courier = worlds.TabularMDP(transitions, rewards, gamma, torch.eye(6)[0],
                              torch.eye(6)[5].bool())

coin = torch.full((6, 2), 0.5)
best = courier.start @ courier.optimal_values()
print(f"best {best:.4f}, a coin {courier.expected_return(coin):.4f}")

# %% [markdown]
# We want hundreds of learners at once, so we count two things in each of the $N$ trajectories once and for all.
#
# - `taken`: how often $a$ was taken in $s$. With it, $\log\pi_\theta(\tau)$ is $\sum_{s,a}\text{taken}_{s,a}\log\pi_\theta(a\mid s)$, plus a constant of the world.
# - `credit`: the same count, with $\gamma^t G_t$ in place of 1.

# %%
paths = worlds.trajectories(courier, coin, T)
states, actions = paths.states[:, :T], paths.actions  # (N, T)
later, discounts = torch.ones(T, T).triu(), gamma ** torch.arange(T)
credits = torch.einsum("nu,tu->nt", paths.rewards * discounts, later)  # (N, T): gamma^t G_t
returns = credits[:, 0]  # (N,): R(tau)


def tally(weights):  # (N, T) -> (N, S, A)
    table = torch.zeros(len(states), 6, 2)
    here = (torch.arange(len(states))[:, None], states, actions)
    table.index_put_(here, weights * (states != 5), accumulate=True)  # at home nothing is decided
    return table

# %%
taken, credit = tally(torch.ones(len(states), T)), tally(credits)
world_chances = paths.probabilities / 0.5 ** taken.sum((1, 2))  # (N,): the factors without theta


def chances(theta):  # (L, S, A) -> (L, N): pi_theta(tau), for L learners at once
    return world_chances * torch.einsum("nsa,lsa->ln", taken, theta.log_softmax(2)).exp()


def J(theta):  # (L,)
    return chances(theta) @ returns


start = torch.zeros(1, 6, 2)
assert same(chances(start).sum(1), torch.ones(1))
assert same(J(start)[0], courier.expected_return(coin))

# %% [markdown]
# The score of a softmax table is "taken minus expected", so the estimate from one ride is
#
# $$\hat g(\tau)_{s,a} = \sum_{t:\,s_t=s}\gamma^t G_t\,\big(\mathbb 1[a_t = a] - \pi_\theta(a\mid s)\big) = \text{credit}_{s,a} - \pi_\theta(a\mid s)\sum_b\text{credit}_{s,b}.$$
#
# That is REINFORCE-2 in closed form. Before we use it we check that its mean over all rides is the gradient.

# %%
def push(mean_credit, theta):  # both (L, S, A): the estimate of the gradient, (L, S, A)
    return mean_credit - mean_credit.sum(2, keepdim=True) * theta.softmax(2)


some = torch.randn(5, 6, 2, generator=torch.Generator().manual_seed(0))
average = push(torch.einsum("ln,nsa->lsa", chances(some), credit), some)
exact = torch.stack([courier.policy_gradient(theta) for theta in some])
assert same(average, exact) and exact.norm() > 1

# %% [markdown]
# ## The loop (C24)
#
# *Slide 30; note, Algorithm 1.*
#
# 1. Begin with some $\theta$.
# 2. Collect $K$ episodes **with the policy of the present $\theta$**.
# 3. Estimate the gradient: the **mean over episodes** of $\hat g(\tau_k)$, each a **sum over its steps**.
# 4. Step **uphill**: $\theta\leftarrow\theta+\alpha\,\hat g$, with a learning rate $\alpha > 0$.
# 5. Go to 2. The old episodes are thrown away.
#
# The note's Algorithm 1 is the case $K = 1$. Below, 200 learners run the loop next to each other, each with its own random numbers.

# %%
def learn(K, rate, updates=200, learners=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    theta = torch.zeros(learners, 6, 2)  # 1
    heights = [J(theta)]
    for _ in range(updates):
        rides = torch.multinomial(chances(theta), K, True, generator=generator)  # 2: (L, K)
        theta = theta + rate * push(credit[rides].mean(1), theta)  # 3 and 4
        heights.append(J(theta))
    return theta, torch.stack(heights)  # (L, S, A), (U + 1, L)

# %% tags=["C24"]
theta_16, heights_16 = learn(K=16, rate=0.3)
assert same(heights_16[0], J(start).expand(200))
assert heights_16[-1].min() > 0.97 * best  # all 200 learn, not only most
_, downhill = learn(K=16, rate=-0.3)
assert downhill[-1].max() < heights_16[0].min()  # control: the sign of the step matters
print(f"after 200 updates: {heights_16[-1].min():.2f} to {heights_16[-1].max():.2f}, "
      f"best {best:.2f}; with a minus sign {downhill[-1].median():.2f}")

# %% [markdown]
# Now a harder test: a network with 4,610 parameters balances a pole on a cart. In `CartPole-v1` each step pays 1, and an episode ends when the pole falls or after 500 steps. An update uses 16 episodes with $\gamma = 0.99$; the step is taken by Adam, a common optimiser.
#
# **These runs were recorded.** They take minutes, and the update rule is your homework. `benchmarks/recordings/reinforce_on_cartpole.py` made them; `course_lib/data` holds the numbers: 100 updates, six seeds at each of five learning rates.

# %% tags=["C24"]
cartpole = recorded("reinforce_on_cartpole")


def runs(rate, what="mean_return", arm="plain"):  # (seeds, updates)
    [entry] = [e for e in cartpole["arms"] if (e["arm"], e["learning_rate"]) == (arm, rate)]
    return torch.tensor([run[what] for run in entry["runs"]])


peaks = runs(0.01).unfold(1, 5, 1).mean(2).max(1).values  # best 5 updates in a row, 80 episodes
assert runs(0.01)[:, 0].max() < 35  # an untrained policy drops the pole at once
assert peaks.min() > 450
too_fast = runs(0.1).unfold(1, 5, 1).mean(2).max(1).values
assert too_fast.max() < 250  # control: the same loop does not learn at just any step size
print("best five updates in a row, each seed:", peaks.round().int().tolist())

# %% [markdown]
# What does that look like? Here is one such agent, watched before, halfway through and after training, each time from the same start (recorded by `benchmarks/recordings/agents_to_watch.py`).

# %%
agent = recorded("agents_to_watch")["agents"]["CartPole-v1"]


def cartpoles(seconds):
    figure, panels = small_panels(len(agent), height=1.9)
    for ax, (name, seen) in zip(panels, agent.items()):
        row = min(round(50 * seconds), len(seen["actions"]))  # 50 steps are a second
        position, _, angle, _ = seen["observations"][row]
        agents.plot_cartpole(ax, position, angle)
        ax.set_title(f"{name}: {row} steps", fontsize="medium")
    return figure


Slider(cartpoles, [0.1 * k for k in range(31)], 0.0, "seconds", still=cartpoles(3.0))

# %% [markdown]
# **What to notice.** Before training the pole is down at once (it turns red). Halfway the agent balances and drifts: it has learned the angle, not yet the place. Afterwards it keeps both.

# %% [markdown]
# ### What to hand over: the policy or its argmax (C78)
#
# *Note, Algorithm 1, last line.* The learner outputs $\hat\pi = \pi_\theta$, or $\hat\pi(s) = \arg\max_a\pi_\theta(a\mid s)$. The second one no longer tries anything else. Is it better? We stop 200 learners early and compare both.

# %% tags=["C78"]
def argmax_return(theta):  # (L,): J of the policy that always takes the likeliest action
    likeliest = torch.nn.functional.one_hot(theta.argmax(2), 2) * 1e6  # logits of a sure choice
    return J(likeliest.double())


early, _ = learn(K=4, rate=0.3, updates=20)
gain = argmax_return(early) - J(early)
share_best = (best - argmax_return(early) < 1e-9).double().mean()
assert gain.median() > 0.3 and share_best > 0.5  # usually better, often already perfect
assert gain.min() < -0.3  # control: not always, a wrong lean is made final
print(f"argmax better for {(gain > 0).double().mean():.0%}, median gain {gain.median():.2f}; "
      f"perfect for {share_best:.0%}; worst loss {gain.min():.2f}")

# %% [markdown]
# Usually the argmax is better. But that needs states that can be told apart. In the blind corridor of [lecture 1](01_objective.ipynb) the best policy goes right with probability $2-\sqrt2\approx0.59$. REINFORCE finds it. Its argmax says "always right", and never arrives.

# %%
corridor, looks_like = worlds.aliased_corridor()


def blind(p):  # (S, A): goes right with probability p in every place that can be seen
    return torch.stack([torch.stack([1 - p, p]), torch.tensor([0.5, 0.5])])[looks_like]


generator, logit, way = torch.Generator().manual_seed(0), torch.tensor(-1.0), []
for _ in range(100):
    p = logit.sigmoid()
    way.append(p)
    walks = sample_episodes(corridor, blind(p), 40, generator)
    # -1 a step, gamma = 1: G counts the steps that are left; the score of the logit is a - p
    pulls = [(torch.arange(len(w), 0, -1) * (p - w.actions)).sum() for w in walks]
    logit = logit + 0.005 * torch.stack(pulls).mean()

# %% tags=["C78"]
found = torch.stack(way[-20:]).mean()
as_learned = corridor.expected_return(blind(found))
stuck = sample_episodes(corridor, blind(torch.tensor(1.0)), 1, generator, max_steps=1000)[0]

assert abs(found - (2 - math.sqrt(2))) < 0.06
assert as_learned > -12  # the best is -11.66
assert found > 0.5 and len(stuck) == 1000  # control: the argmax walks on and never arrives
print(f"right with probability {found:.2f}: J = {as_learned:.2f}. Its argmax: still walking "
      f"after {len(stuck)} steps")

# %% [markdown]
# ## High variance (C25)
#
# *Slide 30* warns of the variance of REINFORCE. In training it shows like this: the same program with the same settings and another seed gives another result. We compare $K = 1$, $K = 16$, and the exact gradient, which has no luck in it.

# %%
theta_1, heights_1 = learn(K=1, rate=0.3)
theta, heights_exact = start, [J(start)]
for _ in range(200):
    theta = theta + 0.3 * courier.policy_gradient(theta[0])
    heights_exact.append(J(theta))
heights_exact = torch.stack(heights_exact)  # (U + 1, 1)

# %% tags=["C25"]
spread = {K: h[20].std() for K, h in ((1, heights_1), (16, heights_16))}  # over 200 seeds
falls = {K: (h[1:51].diff(dim=0) < 0).double().mean() for K, h in ((1, heights_1), (16, heights_16))}

assert spread[1] > 3 * spread[16] > 0.3
assert falls[1] > 0.2 and (heights_exact.diff(dim=0) > 0).all()  # control: no luck, no fall
assert heights_1[-1].min() < 5.2 < heights_1[-1].median()  # some never recover, most do
for K in spread:
    print(f"K = {K:2}: spread {spread[K]:.2f} at update 20; {falls[K]:.0%} of 50 updates go down")

# %%
figure, ax = blank_panel(7.5, 4.0)
fans = {"K = 1": heights_1, "K = 16": heights_16, "exact gradient": heights_exact}
figures.plot_spread(ax, {name: h[:101] for name, h in fans.items()}, float(best), "return J");

# %% [markdown]
# **What to notice.** The three medians climb much alike: the estimate is right on average. The bands differ. With one ride an update, one step in four leads *down*, and after a hundred updates the unlucky tenth still lags far behind. Early bad luck has made them sure of something wrong, and a sure policy no longer tries the alternative (C31).
#
# On CartPole the spread is as large. So a claim about a method that rests on one seed is worth little.

# %% tags=["C25"]
at_30 = runs(0.01)[:, 25:30].mean(1)  # around update 30, each seed a mean over 80 episodes
by_chance = 500 / 2 / math.sqrt(80)  # of a mean of 80 numbers in [0, 500], at most
assert at_30.max() - at_30.min() > 3 * by_chance  # the seeds differ, not the episodes
first = runs(0.01)[:, :1].mean(1)
assert first.max() - first.min() < 0.2 * (at_30.max() - at_30.min())  # control: at first they agree
print("CartPole, return around update 30, six seeds:", at_30.round().int().tolist())

# %% [markdown]
# ## Imitating oneself, with weights (C26)
#
# *Slide 31.* **Behavioural cloning** is supervised learning of a policy: given states and an expert's actions, raise $\log\pi_\theta(a\mid s)$. Its loss is the cross-entropy of a classifier. We put the two gradients side by side:
#
# $$\underbrace{\frac1K\sum_k\sum_t\nabla\log\pi_\theta(a_t\mid s_t)}_{\text{cloning}} \qquad\qquad \underbrace{\frac1K\sum_k\sum_t w_{k,t}\,\nabla\log\pi_\theta(a_t\mid s_t)}_{\text{REINFORCE, } w = R(\tau_k)\text{ or }\gamma^tG_t}$$
#
# REINFORCE imitates *its own* actions, and good ones more. So the code of a classifier will do: pass the actions as labels, and weigh the losses.

# %% tags=["C26"]
def weighted_cloning(theta, rides, weights):  # (S, A), (K,), (K, T): minus the loss's gradient
    theta = theta.clone().requires_grad_()
    logits, labels = theta[states[rides]].flatten(0, 1), actions[rides].flatten()
    losses = cross_entropy(logits, labels, reduction="none").view(weights.shape)  # (K, T)
    loss = (weights * losses)[states[rides] != 5].sum() / len(rides)
    return -torch.autograd.grad(loss, theta)[0]


rides = torch.multinomial(chances(some)[0], 50, True, generator=generator)  # (K,)
cloned = weighted_cloning(some[0], rides, credits[rides])
assert same(cloned, push(credit[rides].mean(0, keepdim=True), some[:1])[0])
whole = tally(returns[:, None].expand(-1, T))[rides].mean(0, keepdim=True)  # R on every step
assert same(weighted_cloning(some[0], rides, returns[rides, None].expand(-1, T)),
            push(whole, some[:1])[0])
unweighted = weighted_cloning(some[0], rides, torch.ones(50, T))
assert not same(unweighted, cloned)  # control: without weights it is another gradient

# %% [markdown]
# Without the weights nothing is learned: the mean of the unweighted gradient is exactly zero, since a score has mean zero (C22 of lecture 2). All that REINFORCE knows is in the weights.

# %% tags=["C26"]
all_rides = torch.arange(len(states))
as_often = chances(some)[0, :, None] * len(states)  # every ride, as often as the policy rides it
nothing = weighted_cloning(some[0], all_rides, as_often.expand(-1, T))
everything = weighted_cloning(some[0], all_rides, as_often * credits)

assert nothing.abs().max() < 1e-10
assert same(everything, exact[0])  # control: with the returns as weights, the policy gradient

# %% [markdown]
# Two differences to cloning remain. The data come from the policy itself, so they change with it (C28, C31). And weights may be negative: "do *not* do this" is a label no expert gives.

# %% [markdown]
# ### Which bars rise (C27)
#
# *Slide 32.* One decision, five actions, with returns $+10, +3, 0, -5, +8$, all equally likely at first. We take the exact gradient step on the logits and look at the bars. For a softmax, $\partial J/\partial\theta_a = \pi(a)\,(R_a - \bar R)$, where $\bar R = \sum_b\pi(b)R_b$ is the mean return.

# %% tags=["C27"]
paid = torch.tensor([10.0, 3.0, 0.0, -5.0, 8.0])
five = worlds.bandit(paid.tolist())


def step_from(logits, size):  # (A,) -> probabilities after one exact gradient step
    slopes = five.policy_gradient(torch.stack([logits, torch.zeros(5)]))[0]
    return (logits + size * slopes).softmax(0)


uniform = torch.zeros(5)
after = step_from(uniform, 0.1)
up = after > 0.2
assert same(after, (0.1 * 0.2 * (paid - 3.2)).softmax(0))  # the formula above, mean return 3.2
assert up.tolist() == [True, False, False, False, True]
assert not torch.equal(up, paid > 0)  # control: it is not the sign of the return that decides

# %%
def five_bars(size):
    figure, ax = blank_panel(7.0, 3.8)
    figures.plot_push(ax, paid.tolist(), torch.full((5,), 0.2), step_from(uniform, size))
    return figure


Slider(five_bars, [0.02, 0.1, 0.3, 1.0, 4.0], 0.1, "step size")

# %% [markdown]
# **What to notice.** At a small step two bars rise and three fall. Move the slider to the right: at step size 4 even $+8$ loses, to $+10$. A gradient speaks about small steps only.
#
# > **Erratum E9 (slide 32).**
# >
# > - **The lecture says:** the update pushes actions up in proportion to their return. Read that way, $+3$ would rise a little and $0$ stay where it is.
# > - **Right is:** probabilities sum to 1, so actions compete. What counts is the return *minus the mean*: an action rises if it is better than what the policy earns now.
# > - **The number:** the mean of the five is **3.2**. From uniform, $+3$ and $0$ both go **down**, by 0.0020 and 0.0135 at step size 0.1.
#
# The word "now" matters. For a policy that mostly earns $-5$, the same $+3$ is better than the mean, and so is $0$.

# %% tags=["C27", "E9"]
mean_return = (paid * 0.2).sum()
assert same(mean_return, torch.tensor(3.2))
assert -0.00205 < (after - 0.2)[1] < -0.00195 and -0.0136 < (after - 0.2)[2] < -0.0134  # +3 and 0 go down

poor = torch.tensor([0.0, 0.0, 0.0, 3.0, 0.0])  # logits: mostly the action that pays -5
risen = step_from(poor, 0.01) > poor.softmax(0)
assert (poor.softmax(0) * paid).sum() < 0
assert risen.tolist() == [True, True, True, False, True]  # control: same returns, other bars rise
print(f"+3 from uniform: {after[1] - 0.2:+.4f}; 0 from uniform: {after[2] - 0.2:+.4f}")

# %% [markdown]
# (A single *sample* of $+3$ raises $+3$. Only the average over samples knows the other actions. Lecture 8 subtracts the mean by hand.)

# %% [markdown]
# ## Only the policy that acted (C28)
#
# *Slide 33.* The estimator's mean is the gradient under one condition: the trajectories come from $\pi_\theta$ itself. We call such data **on-policy**. Suppose they come from another policy $\beta$ instead, here from a coin. Then they are **off-policy**, and the sample mean still converges, to
#
# $$\mathbb{E}_{\tau\sim\beta}\big[R(\tau)\,\nabla\log\pi_\theta(\tau)\big] \neq \nabla J(\theta).$$
#
# The remedy is an **importance weight**: each ride counts $\pi_\theta(\tau)/\beta(\tau)$ times. The dynamics cancel in this ratio, so it can be computed. It needs $\beta(\tau) > 0$ wherever $\pi_\theta(\tau) > 0$.

# %% tags=["C28"]
target = some[:1]  # theta, (1, S, A)
on, off = chances(target), chances(start)  # (1, N): by theta, and by a coin


def mean_push(weights):  # (1, N) -> (S, A)
    return push(torch.einsum("ln,nsa->lsa", weights, credit), target)[0]


assert same(mean_push(on), exact[0])
assert (mean_push(off) - exact[0]).norm() > 0.3 * exact[0].norm()  # the coin's rides: biased
assert same(mean_push(off * (on / off)), exact[0])  # control: the ratio repairs it
cosine = (mean_push(off) * exact[0]).sum() / mean_push(off).norm() / exact[0].norm()
print(f"coin's mean and the gradient: cosine {cosine:.2f}, "
      f"off by {(mean_push(off) - exact[0]).norm() / exact[0].norm():.0%} of its length")

# %% [markdown]
# The most common way to get this wrong is to use the episodes of the first policy for every update. After the first step they are off-policy. Where does that lead? The estimate vanishes where $\pi(a\mid s)$ is the *share of credit* that $a$ collected in $s$, so that point can be written down.

# %% tags=["C28"]
def learn_from_old(rides, rate=0.3, updates=600):  # rides (L, K) of the first policy, kept
    theta, kept = torch.zeros(len(rides), 6, 2), credit[rides].mean(1)
    for _ in range(updates):
        theta = theta + rate * push(kept, theta)
    return J(theta)


credit_of_coin = torch.einsum("n,nsa->sa", paths.probabilities, credit)
resting = credit_of_coin / credit_of_coin.sum(1, keepdim=True)  # zero push, infinite data
resting[5] = 0.5
rides = torch.multinomial(chances(start).expand(100, -1), 3200, True, generator=generator)
stale = learn_from_old(rides)
assert abs(stale.mean() - courier.expected_return(resting)) < 0.05
assert stale.max() < 0.9 * best
assert heights_16[-1].min() > 0.97 * best  # control: as many rides, 16 fresh ones an update
print(f"3,200 old rides: {stale.mean():.2f}; 200 times 16 fresh ones: {heights_16[-1].mean():.2f}")

# %% [markdown]
# These learners converged to a policy that imitates the coin weighted by credit: one round of weighted cloning (C26) and no more. The gap to 6.4 is not noise and does not shrink with data.

# %% [markdown]
# ### The same in a picture: a bowl (C29)
#
# *Slide 34.* We make it as plain as possible: no states, one action $x\in\mathbb R^2$ from $\mathcal N(\theta, I)$, and return $R(x) = -\tfrac12\lVert x\rVert^2$, a bowl upside down with its top at 0. Then $J(\theta) = -\tfrac12\lVert\theta\rVert^2 - 1$ and $\nabla J = -\theta$: straight to the top. The score is $x-\theta$.
#
# We want the gradient at $\theta = (2,2)$ and have samples around some $\mu$. With $\mu = \theta$ the mean of $R(x)(x-\theta)$ is right. In general it is, by the moments of a Gaussian,
#
# $$\mathbb{E}_{x\sim\mathcal N(\mu,I)}\big[R(x)(x-\theta)\big] = -\mu + \tfrac12\big(\lVert\mu\rVert^2+2\big)(\theta-\mu).$$

# %% tags=["C29"]
at = torch.tensor([2.0, 2.0])


def estimates_from(mu, repeats, K, seed=1):  # K samples each: (repeats, K, 2), (repeats, 2)
    x = mu + torch.randn(repeats, K, 2, generator=torch.Generator().manual_seed(seed))
    return x, (-0.5 * x.square().sum(2, keepdim=True) * (x - at)).mean(1)


def settles_on(mu):
    return -mu + 0.5 * (mu @ mu + 2) * (at - mu)


for mu in torch.tensor([[2.0, 2.0], [0.0, 2.0], [3.0, 1.0]]):
    pulls = estimates_from(mu, 400, 500)[1]
    error = pulls.std(0) / 400**0.5
    assert ((pulls.mean(0) - settles_on(mu)).abs() < 4 * error).all()  # six numbers, 4 errors
    on_policy = torch.equal(mu, at)  # control: away from theta the mean is not the gradient
    assert bool(((pulls.mean(0) + at).abs() < 4 * error).all()) == on_policy

# %%
def bowl(distance, K):  # the off-policy samples lie to the left of theta by this much
    figure, ax = blank_panel(8.0, 4.4)
    clouds = {}
    for name, shift, seed in (("on-policy", 0.0, 1), ("off-policy", distance, 2)):
        x, arrows = estimates_from(at - torch.tensor([shift, 0.0]), 8, K, seed)
        clouds[f"{name} samples and estimates"] = x[0, :80], arrows
    figures.plot_bowl(ax, at, -at, clouds)
    ax.set_title(f"{K} samples an estimate, off-policy ones {distance:g} away", fontsize="medium")
    return figure


stops = {"off-policy distance": [0.25, 0.5, 1.0, 1.5, 2.0], "samples": [20, 200, 2000]}
Sliders(bowl, stops, {"off-policy distance": 2.0, "samples": 200})

# %% [markdown]
# **What to notice.** The thick arrow is the gradient at the cross; each thin one is an estimate (80 samples of one estimate are drawn). The on-policy arrows scatter about the thick one. Off-policy, the farther away the samples, the more the arrows turn away from the top. With more samples *both* bundles close up, the off-policy one around a wrong direction. Noise shrinks with data. Bias does not, and looks just as sure.
#
# Importance weights repair the mean, at a price: the farther away the samples, the larger the variance.

# %% tags=["C29"]
def weighted_terms(mu, K=200_000):  # (K, 2): ratio of densities times the term
    x = estimates_from(mu, 1, K)[0][0]
    ratio = (0.5 * ((x - mu) ** 2 - (x - at) ** 2).sum(1)).exp()[:, None]
    return ratio * -0.5 * x.square().sum(1, keepdim=True) * (x - at)


near, far = torch.tensor([1.5, 2.0]), torch.tensor([0.0, 2.0])
fair, wild = weighted_terms(near), weighted_terms(far)
error = fair.std(0) / len(fair) ** 0.5
assert ((fair.mean(0) + at).abs() < 4 * error).all()  # repaired
assert ((settles_on(near) + at).abs() > 4 * error).any()  # control: without the ratio it is off
assert wild.var(0).sum() > 20 * fair.var(0).sum()  # and further away the variance explodes
print(f"total variance of a term: {fair.var(0).sum():.0f} at distance 0.5, "
      f"{wild.var(0).sum():.0f} at 2")

# %% [markdown]
# So data from *nearby* policies can be used, data from distant ones hardly. How near is near enough is the subject of lectures 5 to 7.

# %% [markdown]
# ## Large steps are fragile (C30)
#
# *Slide 37.* The gradient promises that a *small* step helps. How small? We sweep the learning rate over four powers of ten, 100 learners each, four rides an update.

# %% tags=["C30"]
rates = 10 ** torch.linspace(-2, 2, 7)
ends = torch.stack([learn(4, rate, learners=100)[1][-1] for rate in rates.tolist()])  # (P, L)
middle, unlucky = ends.median(1).values, ends.quantile(0.1, dim=1)

top = int(unlucky.argmax())
assert 0 < top < 6  # neither the smallest nor the largest is safest
assert unlucky[top] > 0.97 * best and unlucky[-1] < 0.7 * best
exact_ends, theta = [], None
for rate in rates.tolist():
    theta = torch.zeros(6, 2)
    for _ in range(200):
        theta = theta + rate * courier.policy_gradient(theta)
    exact_ends.append(J(theta[None])[0])
assert torch.stack(exact_ends)[top:].min() > 0.97 * best  # control: without noise large is safe

# %%
figure, ax = blank_panel(7.5, 4.0)
figures.plot_rates(ax, rates, ends, float(best), "return J after 200 updates");

# %% [markdown]
# **What to notice.** On the left, too little happens. In the middle nearly all arrive. On the right some find the best policy, and others end in one of a few rows of dots. Each row is a *deterministic* policy, and those learners stay there. With the exact gradient (the control) the same large steps do no harm here. What is fragile is noise **times** step size.

# %% [markdown]
# ## The collapse loop (C31)
#
# *Slide 38.* In supervised learning a bad step does little harm: the data are still there, and the next gradient points back, more strongly than before. In reinforcement learning the policy collects its own data. The picture shows what can happen then.

# %%
figure, ax = blank_panel(7.5, 3.6)
stations = ["too large a step,\non a noisy estimate", "a bad policy,\nsure of itself",
            "bad data:\nalternatives hardly tried", "a poor estimate:\nlittle to correct it"]
figures.plot_loop(ax, stations, "each round\nmakes the next worse");

# %% [markdown]
# Here is the smallest such loop: one decision, *good* pays 2 and *bad* pays 1. Both pay, so whatever is drawn becomes more likely. We start from a fair coin with learning rate 2, and let unlucky draws come first. How strongly is the policy pulled back, and how strongly a classifier that is just as wrong, but has fixed data with the label *good*?

# %% tags=["C31"]
def after_bad_draw(logit, rate=2.0):  # of good minus bad; the draw was bad, and paid 1
    return logit - 2 * rate * 1 * logit.sigmoid()  # both logits move by rate R (1 - pi(bad))


logit, chance_of_bad = torch.tensor(0.0), []
for _ in range(4):
    chance_of_bad.append(1 - logit.sigmoid())
    logit = after_bad_draw(logit)
chance_of_bad = torch.stack(chance_of_bad)
signal = chance_of_bad * (1 - chance_of_bad)  # exact slope of J in the logit: p (1 - p) (2 - 1)
classifier = chance_of_bad  # slope of log p(good) in the logit: 1 - p(good)

assert (chance_of_bad.diff() > 0).all() and (signal.diff() < 0).all()
assert (classifier.diff() > 0).all()  # control: fixed data pull back harder the worse it gets
print("chance of a bad draw", chance_of_bad, "\npull back, own data ", signal)

# %% [markdown]
# > **Erratum E17 (slide 38).**
# >
# > - **The lecture says:** a *negative* feedback loop.
# > - **Right is:** a **positive** one. Positive feedback makes a deviation grow, negative feedback shrinks it (a thermostat). "Positive" is the sign of the loop and no praise.
# > - **The numbers:** one bad draw raises the chance of the next from 0.50 to **0.88**, two more to 0.94. Meanwhile the pull back, for the learner with its own data, falls from 0.25 to **0.05**. For the classifier it *rises*, from 0.50 to 0.94: that loop is the negative one.
#
# How many learners never come back? That depends on the learning rate.

# %% tags=["C31", "E17"]
def locked_in(rate, learners=10_000, updates=300):
    logit, generator = torch.zeros(learners), torch.Generator().manual_seed(2)
    for _ in range(updates):
        p = logit.sigmoid()
        good = (torch.rand(learners, generator=generator) < p).double()
        logit = logit + rate * 2 * torch.where(good == 1, 2 * (1 - p), -1 * p)
    return (logit < 0).double().mean()


stuck = {rate: locked_in(rate).item() for rate in (0.1, 0.5, 2.0, 8.0)}
assert same(chance_of_bad[1], 1 / (1 + torch.tensor(-2.0).exp()))  # 0.88
assert stuck[8.0] > 0.3 > stuck[2.0] > stuck[0.5]
assert stuck[0.1] < 0.001  # control: with small steps the same luck does no harm
print("share that ends on the bad action:", stuck)

# %% [markdown]
# The same happens to a network on CartPole. In these recorded runs only the learning rate differs.

# %%
figure, axes = plt.subplots(
    2, 2, figsize=(7.5, 5.0), sharex=True, sharey=True, facecolor="white", layout="constrained"
)
for ax, rate in zip(axes.flat, (0.001, 0.01, 0.03, 0.1)):
    figures.plot_runs(ax, runs(rate), f"learning rate {rate}", "return of 16 episodes")
    ax.label_outer()

# %% [markdown]
# **What to notice.** Thin lines are seeds, the thick one is their median. At 0.001 all climb, slowly, and keep what they have. At 0.01 every seed holds the pole for 480 steps or more at some time, and none can keep it up. At 0.1 a handful of updates decides all. **The larger the step, the lower the end.**
#
# Now we look at those that ended at the very bottom, by two numbers. The **entropy** $-\sum_a\pi\log\pi$ is 0 if the policy always does the same. The **KL divergence** says how far an update moved the policy (0: not at all; lecture 6 has the formula).

# %% tags=["C31"]
ends = torch.stack([runs(rate)[:, -20:].mean(1) for rate in (0.001, 0.003, 0.01, 0.03, 0.1)])
middle = ends.quantile(0.5, dim=1)
assert (middle.diff() < 0).all()  # each larger step ends lower
fast = torch.cat([runs(0.03), runs(0.1)])[:, -20:]  # (12, 20)
entropy = torch.cat([runs(0.03, "entropy"), runs(0.1, "entropy")])[:, -20:]
kl = torch.cat([runs(0.03, "kl"), runs(0.1, "kl")])

fallen = fast.max(1).values < 10.5  # always the same push: the pole is down after nine steps
assert fallen.sum() == 3
assert entropy[fallen].max() < 0.001 and kl[fallen, -20:].abs().max() < 1e-4  # sure, and frozen
assert kl[fallen].max(1).values.min() > 1  # each had made a huge step before
slow = runs(0.001, "entropy")[:, -20:], runs(0.001, "kl")
assert slow[0].min() > 0.4 and slow[1].max() < 0.002  # control: small steps, and it still explores
print("median of the last 20 updates, by rate:", middle.round().int().tolist())

# %% [markdown]
# Three runs of twelve end at nine steps, which is what always pushing the same way gets. Each made a huge step at some time, with a KL above 1. Now their entropy is 0.000 and their updates move nothing: no data tell about the other action. The loop has closed.
#
# What helps? One way is less noise: with a learned baseline, at the same rate of 0.01 with the same seeds, the median of the last 20 updates is 495 where it was 255 (also recorded; lecture 8 tells why). The other is a step that knows how far it goes.

# %% tags=["C31"]
with_baseline = runs(0.01, arm="baseline")[:, -20:].mean(1)
assert with_baseline.quantile(0.5) > 490 and ends[2].quantile(0.5) < 260
assert with_baseline.min() < 250  # control: it is no guarantee, one seed of six is down too
print("with a baseline, last 20 updates:", with_baseline.round().int().tolist())

# %% [markdown]
# We can also watch the loop close, on a windy grid of 24 places beside a cliff (recorded by `benchmarks/recordings/grid_learners.py`: a step costs 0.2, an update uses 20 episodes). An arrow is as long as its action is likely, a place as dark as it is visited, and a bar shows the KL of the update.

# %%
film = recorded("grid_learners")
cliff = worlds.cliff_walk(**film["settings"]["world"])
logits = torch.tensor(film["learners"]["REINFORCE"]["milli_logits"]) / 1000  # (31, S, A)
learner = {"REINFORCE": logits.softmax(-1)}


def moment(update):
    return grids.film_frame(cliff, 6, learner, update)


strip = grids.film_strip(cliff, 6, learner, (0, 4, 10, 30))  # for paper
Slider(moment, [*range(11), 13, 16, 20, 25, 30], 0, "update", still=strip)

# %% [markdown]
# **What to notice.** In a few leaps REINFORCE learns that pushing *down* in the corner is safe. Soon it is there all the time, sees nothing else, and its steps shrink to nothing. What we want is the largest step that cannot do this. That is the rest of the course.

# %% [markdown]
# ## Discrete actions: a categorical policy (C70)
#
# *Slide 68.* Nothing so far needs a table. A network maps the state to one logit for each action, and softmax makes them probabilities:
#
# $$\log\pi_\theta(a\mid s) = z_a - \log\sum_b e^{z_b}, \qquad \frac{\partial\log\pi_\theta(a\mid s)}{\partial z_b} = \mathbb 1[a=b]-\pi_\theta(b\mid s).$$

# %% tags=["C70"]
network = CategoricalPolicy(4, 3, generator=torch.Generator().manual_seed(0)).double()
with torch.no_grad():
    network.net[-1].bias += torch.tensor([1.0, 0.0, -1.0])  # a fresh network is nearly uniform
seen = torch.randn(5, 4, generator=generator)  # (B, obs_dim)
z = network.logits(seen)  # (B, A)
by_hand = z - z.exp().sum(1, keepdim=True).log()

log_probs = torch.stack([network.log_prob(seen, torch.full((5,), a)) for a in range(3)], 1)
assert same(log_probs, by_hand) and same(by_hand.exp().sum(1), torch.ones(5))
assert not same(z.sigmoid().log(), by_hand)  # control: a sigmoid of each logit is no distribution
drawn, _ = network.sample(seen[:1].expand(20_000, -1), generator)
share, p = torch.bincount(drawn, minlength=3) / 20_000, by_hand[0].exp()
assert ((share - p).abs() < 4 * (p * (1 - p) / 20_000).sqrt()).all()

# %% tags=["C70"]
slopes = jacobian(lambda z: (z - z.logsumexp(1, keepdim=True))[0], z[:1])[:, 0]  # (A, A)
assert same(slopes, torch.eye(3) - p)  # "taken minus expected", as in the table
assert same(p @ slopes, torch.zeros(3))  # a score has mean zero
assert same((z[0] + 100).softmax(0), p)  # the height of all logits together means nothing
assert not same((z[0] * 2).softmax(0), p)  # control: their scale does mean something

# %%
logits = torch.tensor([1.0, 0.0, -1.0])
figure, ax = blank_panel(6.5, 3.6)
scaled = {f"logits times {k:g}": (k * logits).softmax(0) for k in (0.01, 1, 4)}
basic_figures.policy_bars(ax, scaled, [f"logit {value:g}" for value in logits.tolist()]);

# %% [markdown]
# **What to notice.** With small logits the policy explores, with large ones it has decided. A fresh network should start with equal bars, so its last layer is initialised small. The collapse of C31 is the other end: for the action that is always taken $1 - \pi$, and so the score, is close to zero.

# %% [markdown]
# ### The whole loop, with a network
#
# Now REINFORCE can train where nobody can write the world down as a table. In **CartPole-v1** a pole stands on a cart; each step pushes it left (0) or right (1) and pays 1, until the pole falls or 500 steps are over. Nothing of what follows is hidden in a library, but for the network above and the environment. First the acting: sixteen environments side by side, one episode in each.

# %%
import gymnasium

envs = gymnasium.make_vec("CartPole-v1", 16, vectorization_mode="vector_entry_point")


def play_episodes(policy, generator):
    observations, _ = envs.reset()
    alive, rows = torch.ones(envs.num_envs), []  # (N,): 1 until its episode has ended
    while alive.any():
        seen = torch.tensor(observations, dtype=torch.float64)  # (N, 4)
        with torch.no_grad():
            actions, _ = policy.sample(seen, generator)
        observations, rewards, terminated, truncated, _ = envs.step(actions.numpy())
        rows.append((seen, actions, torch.tensor(rewards) * alive, alive))
        alive = alive * torch.tensor(~(terminated | truncated))
    return [torch.stack(column) for column in zip(*rows, strict=True)]  # (T, N, ...) each

# %% [markdown]
# - `envs.reset()` shows the first observation of each episode: position, velocity, angle, angular velocity.
# - Acting needs no gradient, so it stands under `no_grad`. The log-probabilities are worked out again below, with a graph.
# - `envs.step` moves all sixteen. Gymnasium begins a new episode where one has ended, and we look away: `alive` is 0 there, so what happens counts for nothing.
# - An episode is over when the pole fell (`terminated`) or the time is up (`truncated`). Here both end the sum of rewards. For a critic they differ: lecture 8.
#
# Then the learning. The weight of an episode is its whole return, as in REINFORCE-1, less the mean of the sixteen.

# %%
def learn_cartpole(weigh, updates, seed):
    generator = torch.Generator().manual_seed(seed)
    envs.reset(seed=seed)
    policy = CategoricalPolicy(4, 2, generator=generator).double()
    optimiser, curve = torch.optim.Adam(policy.parameters(), lr=0.02), []
    while len(curve) < updates and (not curve or curve[-1].mean() < 475):
        seen, actions, rewards, alive = play_episodes(policy, generator)
        log_probs = policy.log_prob(seen.flatten(0, 1), actions.flatten()).view(alive.shape)
        returns = rewards.sum(dim=0)  # (N,), not discounted
        loss = -(weigh(returns) * (log_probs * alive).sum(dim=0)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curve.append(returns)
    return torch.stack(curve)  # (updates, N), up to the first with a mean of 475

# %% [markdown]
# - `log_prob` is asked again, for all steps at once: same policy, same numbers, and this time the graph leads back to the weights of the network.
# - `loss` is **minus** what we want: optimisers go down, and we want up. Its gradient is the estimator, minus; as a number it means nothing (C26).
# - `zero_grad` first: torch *adds* to what is left in `.grad`.
# - Adam makes the step. It scales each weight's gradient by its own recent size, so the factor $15/16$ that the episode's own return in the mean brings in does not matter.
# - Everything is thrown away after one step, since the policy that acted is gone (C28).

# %%
learned = learn_cartpole(lambda returns: returns - returns.mean(), 40, seed=1)
control = learn_cartpole(lambda returns: torch.ones(16), 10, seed=1)  # a score has mean zero
assert learned[0].mean() < 60 and learned[-1].mean() >= 475
assert control.mean(1).max() < 100
figure, ax = blank_panel()
ax.plot(learned, ".", color="#9aa3ad", markersize=4)
ax.plot(learned.mean(1), color="#0072b2", label="mean of 16")
ax.plot(control.mean(1), color="#d55e00", linestyle=":", label="weights of 1")
ax.set(xlabel="updates, 16 episodes each (dots: episodes)", ylabel="return")
ax.legend(frameon=False);

# %% [markdown]
# **What to notice.** Under forty lines, and from some 20 steps the pole comes to nearly 500 in eight updates, a matter of seconds (seeds 0 to 3 take 12, 8, 16 and 15). The dots of one update spread widely: this is the variance of C25. In homework 1 you write the loss that weighs each step by what came after it, less a baseline.

# %% [markdown]
# ## Continuous actions: a diagonal Gaussian (C71)
#
# *Slide 69.* For torques or steering angles the network gives the **mean** $\mu_\theta(s)\in\mathbb R^d$. A separate parameter holds $\log\sigma_i$ for each dimension. Given the state the dimensions are independent, so the density is a product and its logarithm a **sum over action dimensions**:
#
# $$\log\pi_\theta(a\mid s) = \sum_{i=1}^d\Big(-\frac{(a_i-\mu_i)^2}{2\sigma_i^2} - \log\sigma_i - \tfrac12\log2\pi\Big).$$
#
# We compare it with the general formula for a Gaussian, which needs the inverse and the determinant of a covariance matrix.

# %% tags=["C71"]
arm = GaussianPolicy(4, 2, generator=torch.Generator().manual_seed(0)).double()
with torch.no_grad():
    arm.log_std.copy_(torch.tensor([0.3, -0.8]))
    torques, scores = arm.sample(seen, generator)  # (B, d), (B,)
    mu, covariance = arm.net(seen), torch.diag((2 * arm.log_std).exp())
    log_prob = arm.log_prob(seen, torques)  # (B,)

away = torques - mu
square = (away @ covariance.inverse() * away).sum(1)
general = -0.5 * (square + torch.logdet(2 * math.pi * covariance))
assert log_prob.shape == (5,) and same(log_prob, general)
assert torch.allclose(scores, log_prob, rtol=0, atol=1e-6)  # what sample reports
each = -0.5 * away**2 / covariance.diag() - 0.5 * (2 * math.pi * covariance.diag()).log()
assert same(each.sum(1), general) and not same(each.mean(1), general)  # control: sum, not mean

# %% [markdown]
# (Without the sum, $B$ actions give $(B, d)$ numbers. Times returns of shape $(B,)$ they fail or, if $B = d$, go wrong in silence.) A second check needs no formula: a density over the plane integrates to 1.

# %% tags=["C71"]
across, up = torch.linspace(-8, 8, 321), torch.linspace(-4, 4, 321)
grid = torch.cartesian_prod(across, up)  # (P Q, 2)
with torch.no_grad():
    one = seen[:1].expand(len(grid), -1)
    density = arm.log_prob(one, grid).exp().view(321, 321).T  # (Q, P)
    cloud, _ = arm.sample(seen[:1].expand(300, -1), generator)
cell = (across[1] - across[0]) * (up[1] - up[0])
assert abs(density.sum() * cell - 1) < 1e-6
half = (0.5 * density.log()).exp()  # control: the mean over dimensions has no integral 1
assert abs(half.sum() * cell - 1) > 0.5

# %%
figure, ax = blank_panel(6.5, 3.8)
figures.plot_density(ax, across, up, density, cloud)
ax.set(xlim=(-4.5, 4.5), ylim=(-2, 2));

# %% [markdown]
# **What to notice.** The ellipses are not tilted: a diagonal covariance cannot tilt them. Where $\sigma$ is small a density may exceed 1, so $\log\pi$ may be positive. If an environment clips actions to its bounds, take the log-probability before: the score belongs to the action that was *drawn*.

# %% [markdown]
# ## What we have
#
# | | |
# |---|---|
# | the loop | collect with the present $\theta$, average $\hat g$ over episodes, step uphill, throw the data away |
# | what it imitates | itself, each action weighed by what followed |
# | which actions rise | those better than the policy's present mean, not those with positive return |
# | what breaks it | data from another policy (a bias that looks like certainty); noise times step size (a loop that feeds itself) |
# | what comes out | $\pi_\theta$, or its argmax where states can be told apart |
#
# ## Exercises
#
# 1. (C24) Take the mean over *steps* in place of the mean over episodes in `learn`. Which rides count for less now? Is the direction still right?
# 2. (C78) Find a policy for the courier that earns $J > 3.7$ although its argmax is the *worst* deterministic policy, with $J = 1.67$. How sure is it of each mistake?
# 3. (C25) Give `learn(K=1)` sixteen times the updates and a sixteenth of the rate. Both have then seen as many rides as $K = 16$. Which spread is smaller?
# 4. (C27) Add 100 to all five returns. What changes in the exact step? What changes in a step from one sample?
# 5. (C28) In `learn_from_old`, weigh the old rides by $\pi_\theta(\tau)/\beta(\tau)$ in each update. Do the learners reach 6.4? How large does the largest weight get?
# 6. (C31) Let *bad* pay $-1$ and *good* pay 0. Is the loop still positive? What does that say about subtracting a constant from all returns?
# 7. (C71) Compute $\partial\log\pi/\partial\log\sigma_i$. What does REINFORCE do to $\sigma$ when the lucky actions were the far ones?
#
# ## To the homework
#
# - [hw1, question 11](../homework/hw1.ipynb#11.-REINFORCE): **`reinforce`** is the loop of C24. Sample anew in each iteration, from the current $\theta$ (C28 shows where the other way ends); average over episodes; step uphill.
# - [hw1, question 10](../homework/hw1.ipynb#10.-A-loss-with-a-baseline): **`baseline_loss`** is the loss of C26 with weight $\gamma^t$ times $G_t$ minus a baseline; lecture 8 says which baseline.
# - [hw1, question 12](../homework/hw1.ipynb#12.-REINFORCE-with-a-network): **`reinforce_loss`** is that loss for the network of C70, over a batch of whole episodes.
# - [hw2, question 13](../homework/hw2.ipynb#13.-PPO's-update-on-one-batch): **`ppo_update`** takes several steps on one batch after all. Why that can work is lecture 7; why it needs a ratio is C28.
