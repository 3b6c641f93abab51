# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PPO: many small steps on one batch
#
# **Lecture 7** of the policy-gradient course. Reading time: about 15 minutes. It runs in well under a minute.
#
# TRPO needs a Fisher matrix, conjugate gradients and a line search for *one* safe step. PPO makes *many* steps by plain gradient ascent, and keeps them safe with a `min` and a clip. That is two lines of code, and much that is said about them is not quite right. We check it.
#
# | | |
# |---|---|
# | **Covers** | slides 59 to 66; note, section 3.2 with figure 1 and Algorithm 2 |
# | **Assumes** | [lecture 5](05_performance_difference.ipynb): the surrogate $L$ (C39, C85) and the step too far (C41); [lecture 6](06_trpo.ipynb): trust regions |
# | **Prepares** | [homework 2](../homework/hw2.ipynb): `clipped_surrogate`, `ppo_update` |
#
# Those two functions are yours to write, so we compute the same in other ways. What takes minutes to train was recorded by a script.

# %%
import functools
import math

import torch
from torch.autograd.functional import jacobian

from course_lib.episodes import sample_episodes
from course_lib.figures import agents, grid as grids, ppo as pictures
from course_lib.figures.style import blank_panel, small_panels, two_panels
from course_lib.many_mdps import random_mdps, random_policies
from course_lib.mdp import TabularMDP, aliased_twins, cliff_walk
from course_lib.policies import softmax_policy
from course_lib.recorded import recorded
from course_lib.sliders import Slider, Sliders

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# We are back on **the icy road** of lecture 5: *slow* (0) or *fast* (1), on dry road (state 0) or ice (state 1). The old van, which collected the data, drives fast one time in ten. $w(s) = (1-\gamma)\rho_{\text{old}}(s)$ are its visits as probabilities, and $d(s,a) = w(s)\,\pi_{\text{old}}(a\mid s)$ is how often each pair occurs in its data.

# %%
gamma, epsilon = 0.9, 0.2
ice = torch.tensor([[0.02, 0.2], [0.5, 0.9]])  # (S, A): chance that the next step is on ice
transitions = torch.stack([1 - ice, ice], dim=-1)  # (S, A, S)
rewards = torch.tensor([[1.0, 2.0], [1.0, -1.0]])  # (S, A)
start, never = torch.tensor([1.0, 0.0]), torch.tensor([False, False])
road = TabularMDP(transitions, rewards, gamma, start, never)


def van(fast_on_dry, fast_on_ice):
    fast = torch.tensor([fast_on_dry, fast_on_ice])
    return torch.stack([1 - fast, fast], dim=-1)  # (S, A)


old = van(0.1, 0.1)
w, A_old = (1 - gamma) * road.visitation(old), road.advantages(old)  # (S,), (S, A)
d = w[:, None] * old  # (S, A), sums to 1

# %% [markdown]
# ## The ratio, and its slope where we start (C62)
#
# *Slide 59.* For each sample of the batch, the **ratio** says how much more often the new policy would do what was done:
#
# $$\text{ratio}(\theta) = \frac{\pi_\theta(a\mid s)}{\pi_{\theta_{\text{old}}}(a\mid s)} = \exp\big(\log\pi_\theta(a\mid s) - \log\pi_{\theta_{\text{old}}}(a\mid s)\big).$$
#
# Its slope is $\nabla_\theta\,\text{ratio} = \text{ratio}\cdot\nabla_\theta\log\pi_\theta(a\mid s)$. At $\theta_{\text{old}}$ the ratio is 1 and the slope is the score. So $L = \mathbb{E}[\text{ratio}\cdot A]$ starts out in the direction of the policy gradient (times $1-\gamma$, since $w$ is normalised). Away from $\theta_{\text{old}}$ the ratio multiplies the score.

# %% tags=["C62"]
def ratio_of(theta):
    return softmax_policy(theta) / old  # (S, A)


def scores_at(theta):
    return jacobian(lambda theta: softmax_policy(theta).log(), theta)  # (S, A, S, A)


theta_old = old.log()
assert same(ratio_of(theta_old), torch.ones(2, 2))
assert same(jacobian(ratio_of, theta_old), scores_at(theta_old))
slope_of_L = jacobian(lambda theta: (d * ratio_of(theta) * A_old).sum(), theta_old)
assert same(slope_of_L, (1 - gamma) * road.policy_gradient(theta_old))
theta = theta_old + torch.tensor([[0.0, 1.0], [0.5, 0.0]])  # somewhere else
assert same(jacobian(ratio_of, theta), ratio_of(theta)[..., None, None] * scores_at(theta))
assert not same(jacobian(ratio_of, theta), scores_at(theta))  # control: only at theta_old

# %% [markdown]
# Three slips show at once at $\theta_{\text{old}}$. Without `exp` the value is 0 instead of 1. Upside down, the slope has the wrong sign. With the *current* policy above and below, the ratio is 1 whatever $\theta$ does.

# %% tags=["C62"]
def slope(function, at=theta_old):
    return jacobian(function, at)


no_exp = softmax_policy(theta_old).log() - old.log()
assert same(no_exp, torch.zeros(2, 2)) and not same(no_exp, ratio_of(theta_old))
assert same(slope(lambda theta: 1 / ratio_of(theta)), -scores_at(theta_old))
frozen = softmax_policy(theta) / softmax_policy(theta)
assert same(frozen, torch.ones(2, 2)) and not same(ratio_of(theta), frozen)  # control: ours moves
assert same((old * ratio_of(theta)).sum(-1), torch.ones(2))  # under the old policy it averages to 1

# %% [markdown]
# > **E18 (slides 59 and 60).** The slides call the ratio $\rho_t$, then $r_t$: the letters of visits (which add up to **10** here) and reward (**-1 to 2**). We write `ratio`; it averages to **1**.
#
# > **Erratum E19, importance sampling (note, section 3.1).**
# >
# > - **The note uses** the ratio without a condition.
# > - **Right is:** it needs **support**, $\pi_{\text{old}}(a\mid s) > 0$ wherever $\pi_\theta(a\mid s) > 0$ (lecture 5).
# > - **The number:** if the old van *never* drives fast and the new one does so half the time, the ratio averages to **0.5** over the data. The other half is not in them. Watch that mean: it should be 1.

# %% tags=["C62", "E18", "E19"]
assert same(road.visitation(old).sum(), torch.tensor(10.0))
assert same((d * ratio_of(theta)).sum(), torch.tensor(1.0))
assert (float(rewards.min()), float(rewards.max())) == (-1.0, 2.0)

new = van(0.5, 0.5)
for collector, mean_ratio in ((van(0.0, 0.0), 0.5), (van(1e-6, 1e-6), 1.0)):
    seen = collector > 0
    ratio = torch.where(seen, new / collector.clamp(min=1e-12), 0.0)
    assert same((collector * ratio).sum(-1), torch.full((2,), mean_ratio))
assert ratio.max() > 1e5  # control: thin support is support, at the price of one huge ratio
print(f"one fast action in a million: its ratio is {ratio.max():,.0f}")

# %% [markdown]
# ### The clipped objective, in six cases (C63)
#
# *Slide 60.* PPO maximises the mean over samples of
#
# $$\min\big(\text{ratio}\cdot A,\;\; \text{clip}(\text{ratio},\, 1-\epsilon,\, 1+\epsilon)\cdot A\big),\qquad \epsilon\approx 0.2.$$
#
# Of two estimates it believes the smaller. Inside the clip range the two are the same. Outside, the clipped ratio is the nearer *edge*, a constant with no $\theta$ in it; where that is the smaller one, the gradient is gone. With two signs of $A$ and three places for the ratio there are six cases.

# %%
def one_sample(ratio, A, epsilon=epsilon):
    """(ratio * A, clipped ratio * A, the smaller, its slope in the ratio)."""
    r = torch.tensor(float(ratio), requires_grad=True)
    if ratio < 1 - epsilon:
        kept = torch.tensor(1 - epsilon)  # the lower edge: a constant
    elif ratio > 1 + epsilon:
        kept = torch.tensor(1 + epsilon)  # the upper edge
    else:
        kept = r
    smaller = kept * A if kept * A < r * A else r * A
    slope = torch.autograd.grad(smaller, r)[0] if smaller.requires_grad else torch.tensor(0.0)
    return [float(x.detach()) for x in (r * A, kept * A, smaller, slope)]

# %% tags=["C63"]
print("  A  ratio | ratio*A  clip*A  smaller  slope")
found = {}
for A in (1.0, -1.0):
    for ratio in (0.5, 1.0, 1.5):
        plain, clipped, value, rise = one_sample(ratio, A)
        found[A, ratio] = (value, rise)
        print(f"{A:+3.0f}  {ratio:5.1f} | {plain:+7.1f}  {clipped:+6.1f}  {value:+7.1f}  {rise:+5.0f}")

by_hand = {(1, 0.5): (0.5, 1), (1, 1.0): (1, 1), (1, 1.5): (1.2, 0)}
by_hand |= {(-1, 0.5): (-0.8, 0), (-1, 1.0): (-1, -1), (-1, 1.5): (-1.5, -1)}
assert all(abs(found[k][i] - by_hand[k][i]) < 1e-10 for k in by_hand for i in (0, 1))
no_floor = {**by_hand, (-1, 0.5): (-0.5, -1)}  # control: what slide 60 says in words
assert any(abs(found[k][0] - no_floor[k][0]) > 0.2 for k in by_hand)

# %% [markdown]
# Read it by what the gradient wants. A good action ($A > 0$) wants a larger ratio, and is cut off once it has had its 20 %. A bad one wants a smaller ratio, and is cut off once it has lost its 20 %. In the other two outside cases the policy has moved *the wrong way*. There the gradient stays, to bring it back.
#
# > **Erratum E2 (slide 60).**
# >
# > - **The lecture says:** for $A < 0$ the `min` keeps the unclipped term; there is "no artificial floor" on how far a bad action may drop.
# > - **Right is:** there is a floor. Below $1-\epsilon$ we have $\text{ratio}\cdot A > (1-\epsilon)A$, so the `min` takes the *clipped* term: flat, gradient 0. What is kept unclipped is the other side, above $1+\epsilon$, where a bad action has become *more* likely.
# > - **The number:** with $A = -1$ the objective at ratio 0.79, 0.5 and 0.01 is **-0.8** each time, slope **0**. At ratio 3 it is **-3**, slope **-1**.
#
# > **Erratum E4 (slide 63).**
# >
# > - **The lecture says:** once a ratio hits $1\pm\epsilon$, the clip zeroes the gradient of that sample.
# > - **Right is:** only for ($A > 0$, ratio $> 1+\epsilon$) or ($A < 0$, ratio $< 1-\epsilon$). We call such a sample **spent**; all others **push**.
# > - **The number:** of the four cases outside the clip range **two** are spent.

# %% tags=["C63", "E2", "E4"]
def pushes(ratio, A):  # bool, of any shape
    spent = (A > 0) & (ratio > 1 + epsilon) | (A < 0) & (ratio < 1 - epsilon)
    return ~spent


for ratio, value, slope_there in ((0.79, -0.8, 0), (0.5, -0.8, 0), (0.01, -0.8, 0), (3.0, -3, -1)):
    assert [round(x, 10) for x in one_sample(ratio, -1.0)[2:]] == [value, slope_there]
grid = [(r, A) for r in torch.linspace(0.0, 3.0, 61).tolist() for A in (2.0, -0.5)]
for r, A in grid:
    assert one_sample(r, A)[3] == A * pushes(torch.tensor(r), torch.tensor(A))
    assert one_sample(r, A)[2] <= r * A + 1e-12  # never more hopeful than L
outside = [(r, A) for r, A in grid if abs(r - 1) > epsilon + 1e-9]
alive = [one_sample(r, A)[3] != 0 for r, A in outside]
assert any(alive) and not all(alive)  # control: "outside" and "no gradient" are not the same

# %% [markdown]
# ### Both signs in one picture (C64)
#
# *Slide 61; note, figure 1.* Slide the ratio along and watch on which side the blue line is flat. Then widen the clip.

# %%
ratios = torch.linspace(0.4, 1.8, 71)


@functools.cache  # each curve is drawn at many stops
def along(A, epsilon):  # (71, 4)
    return torch.tensor([one_sample(ratio, A, epsilon) for ratio in ratios.tolist()])

# %%
def clip_at(ratio, epsilon):
    figure, panels = two_panels()
    for ax, A in zip(panels, (1.0, -1.0)):
        plain, _, objective, _ = along(A, epsilon).T
        _, _, height, slope = one_sample(ratio, A, epsilon)
        edges = (1 - epsilon, 1 + epsilon)
        pictures.plot_clip(ax, ratios, plain, objective, edges, (ratio, height))
        ax.set_title(f"A = {A:+.0f}, epsilon = {epsilon:g}, slope here {slope:+.0f}")
    panels[0].legend(loc="upper left", framealpha=1, edgecolor="white")
    return figure


stops = {"ratio": [0.5, 0.7, 0.9, 1.0, 1.15, 1.35, 1.6], "epsilon": [0.1, 0.2, 0.4]}
Sliders(clip_at, stops, {"ratio": 1.35, "epsilon": 0.2})

# %% tags=["C64"]
rows = {A: along(A, epsilon) for A in (1.0, -1.0)}
good, bad = rows[1.0][:, 2], rows[-1.0][:, 2]
flat_good, flat_bad = (curve.diff().abs() < 1e-12 for curve in (good, bad))
left, right = ratios[:-1], ratios[1:]
assert torch.equal(flat_good, left > 1 + epsilon - 1e-9)  # right of the upper edge
assert torch.equal(flat_bad, right < 1 - epsilon + 1e-9)  # left of the lower edge
assert good.max() <= 1.2 + 1e-12 and bad.max() <= -0.8 + 1e-12  # a ceiling each
assert bad.min() < -1.7  # control: above the range a bad action's loss goes on without limit
assert not torch.equal(flat_good, flat_bad)  # control: the two signs are no mirror images

# %% [markdown]
# **What to notice.** Both curves rise to a ceiling: to the right for a good action, to the left for a bad one. In the other direction nothing is cut off. The blue line is never above the dashed one, so the clipped objective is a **lower bound** of $L$. It is no bound on the *return*: it knows nothing of visits.
#
# > **Erratum E3 (slide 61).**
# >
# > - **The lecture says:** beyond $1+\epsilon$ the policy cannot increase this action's probability further.
# > - **Right is:** *this sample* no longer pushes. Others do, and so does an optimiser's momentum. Probabilities are shared: push one action down, and the rest go up.
# > - **The number:** one state, two actions, $\pi_{\text{old}} = (0.1, 0.9)$, advantages $(+0.9, -0.1)$, $\epsilon = 0.2$. The rare good action is spent at 1.2. The common bad one pushes on, and what it loses the other gains: the ratio ends at **2.82**.

# %% tags=["C64", "E3"]
two, gains = torch.tensor([0.1, 0.9]), torch.tensor([0.9, -0.1])  # pi_old, A: weigh to zero
logits, path = two.log(), []
for _ in range(121):
    policy = logits.softmax(-1)
    path.append(policy / two)
    weight = two * path[-1] * pushes(path[-1], gains) * gains  # what still pushes
    logits = logits + 0.5 * (weight - policy * weight.sum())  # its gradient, softmax's score put in
path = torch.stack(path)  # (steps, A)
when = int((path[:, 0] > 1.2).double().argmax())
assert when < 10 and abs(path[-1, 0] - 2.82) < 0.005  # spent early, and on it goes
assert path[-1, 1] < 0.8 and same(path[-1], path[-2])  # until the other is spent as well
alone = torch.where(path[:, 0] > 1.2, 1.2, path[:, 0])
assert path[-1, 0] > 2 * alone.max()  # control: 1.2 would be its end if it were alone

# %%
figure, ax = blank_panel(6.4, 3.4)
pictures.plot_ratios(ax, path, ["good, rare", "bad, common"], (0.8, 1.2));

# %% [markdown]
# **What to notice.** The blue line leaves the clip range and keeps climbing, driven by the red one, until *both* are spent. The clip bounds forces, not ratios.
#
# ## One step a batch, or many (C65)
#
# *Slide 63.* REINFORCE makes one step on a batch and throws it away: its formula holds for data of the current policy only. PPO makes $K$ passes over it. The old log-probabilities are computed **once**, before the first step.

# %%
def lane(cycles, steps, collect=8):  # ("collect" or "step", begin, end), in order
    clock, events = 0, []
    for _ in range(cycles):
        for kind, length in [("collect", collect)] + [("step", 1)] * steps:
            events.append((kind, clock, clock + length))
            clock += length
    return events


lanes = {"REINFORCE": lane(4, 1), "PPO, K = 4": lane(3, 4), "PPO, K = 10": lane(2, 10)}
figure, ax = blank_panel(7.4, 2.6)
pictures.plot_timeline(ax, lanes);

# %% [markdown]
# **What to notice.** Collecting (grey) is usually what costs, and PPO gets more steps out of it.
#
# In the first step all ratios are 1, so it *is* a policy-gradient step. If one refreshed the old policy before each step, all ratios would stay 1 and the clip would never do anything.

# %% tags=["C65"]
def ascent(weight, policy):  # gradient of sum weight * log pi in the logits of a softmax table
    return weight - policy * weight.sum(-1, keepdim=True)


def ppo_direction(policy, collector):  # data of `collector`, all (s, a) weighed by occurrence
    ratio = policy / collector
    return ascent(d * ratio * pushes(ratio, A_old) * A_old, policy)


def plain_direction(policy):  # as if the batch were fresh
    return ascent(d * A_old, policy)


moved = softmax_policy(theta_old + 3 * ppo_direction(old, old))
assert same(ppo_direction(old, old), (1 - gamma) * road.policy_gradient(theta_old))
assert not same(ppo_direction(moved, old), plain_direction(moved))  # the second step is another
refreshed = softmax_policy(moved.log()) / moved
assert same(refreshed, torch.ones(2, 2))  # control: refreshed each time, nothing can ever be spent
steps = {name: sum(kind == "step" for kind, *_ in events) for name, events in lanes.items()}
collected = {name: sum(kind == "collect" for kind, *_ in events) for name, events in lanes.items()}
assert [steps[name] / collected[name] for name in lanes] == [1, 4, 10]

# %% [markdown]
# ## Many steps on one batch (C66)
#
# *Slide 64.* So how far can one batch be used? Three ways to go on stepping:
#
# - **vanilla**: the policy gradient, as if the batch were fresh;
# - **importance-weighted**: the ratio as a weight, no clip, which is ascent on $L$;
# - **clipped**: PPO.
#
# The van gets a batch without noise (all four pairs, weighed by $d$, exact advantages) and **one lever for all roads**, as in lecture 5: fast with probability $x$ everywhere. A thousand steps each.

# %%
def pull_lever(weights_for, steps=1000):  # (steps + 1,) returns
    z, returns = torch.tensor(0.1).logit(), []
    for _ in range(steps + 1):
        x = float(z.sigmoid())
        policy = van(x, x)
        returns.append(road.expected_return(policy))
        weight = weights_for(policy)  # (S, A), multiplies grad log pi
        z = z + weight[:, 1].sum() - x * weight.sum()
    return torch.stack(returns)


def of_clipped(policy):
    ratio = policy / old
    return d * ratio * pushes(ratio, A_old) * A_old


def of_fresh(policy):  # a new batch at every step: new visits, new advantages
    return (1 - gamma) * road.occupancy(policy) * road.advantages(policy)

# %% tags=["C66", "E6"]
ways = {
    "vanilla": lambda policy: d * A_old,
    "importance-weighted": lambda policy: d * (policy / old) * A_old,
    "clipped": of_clipped,
    "fresh batch each step": of_fresh,
}
reached = {name: pull_lever(weights_for) for name, weights_for in ways.items()}
begin = reached["clipped"][0]
for name in ("vanilla", "importance-weighted"):  # up at first, then far below the start
    assert reached[name].max() > begin + 1 and reached[name][-1] < begin - 5
assert reached["clipped"].min() >= begin and reached["clipped"][-1] > begin + 0.1
assert reached["fresh batch each step"][-1] > begin + 1  # control: with fresh data no step hurts
assert reached["fresh batch each step"].diff().min() > -1e-10
for name, curve in reached.items():
    print(f"{name:>21}: from {begin:.2f} up to {curve.max():.2f}, in the end {curve[-1]:.2f}")

# %%
figure, ax = blank_panel()
pictures.plot_steps(ax, reached, "discounted return")
ax.set_xscale("symlog", linthresh=10);

# %% [markdown]
# **What to notice.** The two unclipped lines rise, peak, and fall to half, the one with the ratio a little sooner. Noise is not to blame: driving fast fills the road with ice, and the old data hardly know ice. The clip stops the climb after four steps and holds there; it cannot know where the peak is. With fresh data, a thousand steps climb safely to the top.
#
# > **Erratum E6 (slides 63 to 65).**
# >
# > - **The lecture says:** without importance weighting, reuse is biased and can hurt; PPO's ratio corrects the bias.
# > - **Right is:** the ratio corrects which **actions** were taken, not which **states** were met. Those remain the old policy's, and so do the advantages. With the ratio and no clip, reuse degrades as well. **It is the clip that does the work.**
# > - **The number:** from 10.81 the van ends at **5.41** without ratio, **5.44** with the ratio alone, **10.96** with the clip.

# %% tags=["C66", "E6"]
M, S, A = 1000, 6, 3
generator = torch.Generator().manual_seed(0)
many = random_mdps(M, S, A, generator, (0.8, 0.95))
olds, news = (random_policies(M, S, A, generator) for _ in range(2))
f = torch.randn(M, S, A, generator=generator)  # any function of state and action
share = (1 - many.gammas)[:, None]
w_old, w_new = share * many.visitation(olds), share * many.visitation(news)  # (M, S)


def mean_of(visits, policies, values):
    return torch.einsum("ms,msa,msa->m", visits, policies, values)


weighted = mean_of(w_old, olds, news / olds * f)  # old data, with the ratio
assert same(weighted, mean_of(w_old, news, f))  # new actions in OLD states
assert (weighted - mean_of(w_new, news, f)).abs().max() > 0.5  # control: not the new policy's
state_ratio = (w_new / w_old)[:, :, None]  # what would be missing, and nobody knows it
assert same(mean_of(w_old, olds, state_ratio * news / olds * f), mean_of(w_new, news, f))
assert [round(float(reached[n][-1]), 2) for n in list(ways)[:3]] == [5.41, 5.44, 10.96]

# %% [markdown]
# Where visits hardly depend on what one does, going further pays. So the clip is an insurance, with a premium. We measure both on 1,000 random MDPs: 100 steps on a batch of 100 samples with noisy advantages. States share parameters, as in a network: logits are $X\theta$, with three features a state in $X$.

# %%
B = 100
shared = torch.randn(M, S, 3, generator=generator) / 3**0.5  # features X (M, S, 3)
table = torch.eye(S).expand(M, S, S)  # a parameter for each state and action


def draw_batch(X, noise):  # theta (M, F, A), pairs (M, B): s * A + a, advantages (M, B)
    theta = torch.randn(M, X.shape[-1], A, generator=generator) / 2
    olds = (X @ theta).softmax(-1)
    occurrence = (share * many.visitation(olds))[..., None] * olds
    pairs = torch.multinomial(occurrence.flatten(1), B, True, generator=generator)
    exact = many.advantages(olds).flatten(1).gather(1, pairs)
    exact = exact / exact.std(1, keepdim=True)
    noisy = exact + noise * torch.randn(M, B, generator=generator)
    return theta, pairs, (noisy - noisy.mean(1, keepdim=True)) / noisy.std(1, keepdim=True)

# %%
def climb(X, batch, weigh, steps=100, momentum=0.0):  # spent (steps + 1,), last policies, ratios
    theta, pairs, advantages = batch
    before, velocity, spent = (X @ theta).softmax(-1), 0.0, []
    for _ in range(steps + 1):
        policies = (X @ theta).softmax(-1)
        ratio = (policies / before).flatten(1).gather(1, pairs)  # (M, B)
        spent.append(1 - pushes(ratio, advantages).double().mean())
        weight = torch.zeros(M, S * A).scatter_add_(1, pairs, weigh(ratio, advantages) / B)
        weight = weight.view(M, S, A)
        velocity = momentum * velocity + X.mT @ ascent(weight, policies)
        theta = theta + velocity
    return torch.stack(spent), many.expected_return(policies) - many.expected_return(before), ratio


def clipped(ratio, advantages):
    return ratio * pushes(ratio, advantages) * advantages

# %% tags=["C66"]
batch = draw_batch(shared, noise=1.0)
kinds = {"vanilla": lambda r, A: A, "importance-weighted": lambda r, A: r * A, "clipped": clipped}
results = {name: climb(shared, batch, weigh) for name, weigh in kinds.items()}
for name, (_, gain, ratio) in results.items():
    print(f"{name:>20}: mean gain {gain.mean():.2f}, worse than before in {(gain < 0).double().mean():.1%},"
          f" ratios up to {ratio.max(1).values.median():.1f}")  # fmt: skip
gain_of = {name: gain for name, (_, gain, _) in results.items()}
assert (gain_of["clipped"] < 0).double().mean() < 0.005
assert (gain_of["vanilla"] < 0).double().mean() > 5 * (gain_of["clipped"] < 0).double().mean()
# control: the clip is not the better climber; on these forgiving worlds it gains least
assert gain_of["importance-weighted"].mean() > 2 * gain_of["clipped"].mean()

# %% [markdown]
# **What to notice.** With the clip hardly any policy ends worse than it began, and the mean gain is the smallest. The clip keeps the world from punishing the reuse; it does not find a better policy in the same batch.
#
# ### When is a batch used up? (E5)
#
# We count the spent samples after each step, in four settings.

# %%
settings = {
    "own parameters, exact A": (table, 0.0, 0.0),
    "own parameters, noisy A": (table, 1.0, 0.0),
    "shared parameters, noisy A": (shared, 1.0, 0.0),
    "the same, with momentum": (shared, 1.0, 0.9),
}
spent = {}
for name, (X, noise, momentum) in settings.items():
    batch = draw_batch(X, noise)
    spent[name] = climb(X, batch, clipped, momentum=momentum)[0]  # (101,)
    print(f"{name:>27}: at most {spent[name].max():.2f} (step {spent[name].argmax()}), "
          f"at the end {spent[name][-1]:.2f}")  # fmt: skip

# %%
figure, ax = blank_panel()
pictures.plot_steps(ax, spent, "share of samples with no gradient")
ax.axhline(0.5, color="#222222", linewidth=0.8, linestyle=":")
ax.set_ylim(0, 1);

# %% [markdown]
# **What to notice.** With a parameter for each state and action, and exact advantages, 90 % are spent in the end (solid line). Two things spoil this.
#
# 1. **Noise.** The same action in the same state shows up with $\hat A > 0$ and with $\hat A < 0$. Only one kind can be spent, whatever the ratio, so there is a ceiling.
# 2. **Sharing.** Samples that push move the ratios of spent ones too, also back inside. With momentum the ratios overshoot first, so the share peaks early and falls.

# %% tags=["C66", "E5"]
first, second, third, fourth = spent.values()
assert first[-1] > 0.9  # the slide is right
assert third.max() < 0.5  # here it is not: most samples still push
assert [round(float(s.max()), 2) for s in (first, third, fourth)] == [0.9, 0.42, 0.53]
assert fourth.argmax() < 20 and fourth[-1] < fourth.max() - 0.02  # an early peak, then a fall
assert third.argmax() > 80  # control: without momentum there is no early peak

_, pairs, advantages = draw_batch(table, noise=1.0)
signs = torch.stack([advantages > 0, advantages < 0]).double()  # (2, M, B)
counts = torch.zeros(2, M, S * A).scatter_add_(2, pairs.expand(2, M, B), signs)
ceiling = counts.max(0).values.sum(-1) / B  # (M,): of each pair the more frequent sign
ratio = climb(table, (_, pairs, advantages), clipped, steps=60)[2]
share_spent = 1 - pushes(ratio, advantages).double().mean(1)  # (M,)
assert (share_spent <= ceiling + 1e-12).all()
assert (share_spent > 0.7 * ceiling).any()  # control: 70 % of the ceiling does not bound it

# %% [markdown]
# And a real agent? A CartPole agent after 20,000 steps of training drew one batch of 2,048 steps and went over it 40 times: shuffled, in four **minibatches** a pass, a step of Adam (ascent with momentum, scaled for each weight) for each. Recorded, ten seeds (`benchmarks/recordings/ppo_on_cartpole.py`).

# %%
runs = recorded("ppo_on_cartpole")
batches = runs["one_batch"]  # ten seeds; each: way -> measured after passes 0, 1, ..., 40


def of_batches(way, quantity):  # (seeds, passes)
    return torch.tensor([batch[way][quantity] for batch in batches])


figure, (left, right) = two_panels()
shares = {way: of_batches(way, "zero_gradient").tolist() for way in batches[0]}
pictures.plot_runs(left, range(41), shares, "share with no gradient")
values = {way: of_batches(way, "return").tolist() for way in batches[0]}
pictures.plot_runs(right, runs["looks"], values, "return of fresh episodes")
for ax in (left, right):
    ax.set_xlabel("passes over one batch (thin: seeds)")
right.get_legend().remove();

# %% tags=["C66", "E3", "E5", "E6"]
silent, smallest, largest = (
    of_batches("clipped", name) for name in ("zero_gradient", "smallest", "largest")
)
assert round(float(silent.max()), 2) == 0.14  # E5: six of seven push, at any time
assert (round(float(smallest.min()), 1), round(float(largest.max()), 1)) == (0.5, 2.5)  # E3
assert of_batches("clipped", "kl").max() < 0.02  # and yet the policy stays close
played = {way: of_batches(way, "return") for way in batches[0]}  # (seeds, looks)
halved = {way: int((p[:, -1] < p[:, 0] / 2).sum()) for way, p in played.items()}
assert list(halved.values()) == [8, 7, 1]  # E6: the ratio alone saves one more of ten
assert all((p[:, 1] > p[:, 0]).sum() >= 7 for p in played.values())  # control: not at once
print(f"spent at most {silent.max():.0%}, ratios {smallest.min():.2f} to {largest.max():.2f}")
print("return halved:", *(f"{way} {number} of 10," for way, number in halved.items()))

# %% [markdown]
# **What to notice.** *Left:* clipped, few samples are ever spent. (For the other two lines it is what the clip *would* do.) *Right:* in the first pass most policies gain, whichever way. Then the unclipped ones go wild: some through a perfect 500, most to ruin. The clipped ones stay near where they began.
#
# > **Erratum E5 (slides 63 and 64).**
# >
# > - **The lecture says:** after many steps most samples are clipped, and then the batch is used up.
# > - **Right is:** with noise and shared parameters the share with zero gradient rises in the first steps and then stays or falls; most samples push to the end. The batch is stale long before. What ends its use is the count $K$, or a limit on the measured KL.
# > - **The number:** **0.90** with a table and exact advantages, **0.42** with shared parameters and noise, with momentum **0.53** at step 16 and then falling. On CartPole, never above **0.14** in 40 passes.
# >
# > **E3 and E6 again, in a network.** Ratios ranged from **0.5** to **2.5**. Of ten policies, forty passes cost **eight** more than half of their return without the ratio, **seven** with the ratio alone, **one** with the clip.

# %% [markdown]
# ## The whole algorithm (C87)
#
# *Note, Algorithm 2.* In a circle:
#
# 1. act with $\pi_{\theta_{\text{old}}}$, keep $(s_t, a_t, r_t)$ and the old probabilities;
# 2. estimate advantages, $\hat A_t = G_t - V(s_t)$, and scale them to mean 0 and spread 1;
# 3. make $K$ passes of ascent on the clipped objective;
# 4. $\theta_{\text{old}} \leftarrow \theta$, and begin again.
#
# We try it on **the cliff walk**: 12 places, a goal worth 10 behind a cliff that costs 10, and wind. Walking well returns 1.11, jumping off at once about -10. The critic is the exact $V$; all else is sampled.

# %%
walk, H = cliff_walk(), 100
lag = torch.arange(H)[None, :] - torch.arange(H)[:, None]
decay = torch.where(lag >= 0, walk.gamma ** lag.clamp(min=0), 0.0)  # (H, H): gamma^(t' - t)


def collect(theta, generator, episodes=64):  # states, actions, advantages, (B,) each
    policy = softmax_policy(theta)
    rides = sample_episodes(walk, policy, episodes, generator, max_steps=H)
    states = torch.cat([ride.states for ride in rides])
    actions = torch.cat([ride.actions for ride in rides])
    G = torch.cat([decay[: len(ride), : len(ride)] @ ride.rewards for ride in rides])
    advantages = G - walk.values(policy)[states]
    return states, actions, (advantages - advantages.mean()) / advantages.std()

# %%
def improve(theta, batch, passes, weigh, rate=10.0):
    states, actions, advantages = batch
    before = softmax_policy(theta)[states, actions]  # once, before the first step
    for _ in range(passes):
        policy = softmax_policy(theta)
        weight = weigh(policy[states, actions] / before, advantages) / len(states)
        summed = torch.zeros_like(theta).index_put_((states, actions), weight, accumulate=True)
        theta = theta + rate * ascent(summed, policy)
    return theta


def learn(weigh, passes, seed, batches=25):  # (batches + 1,) true returns
    generator, theta, returns = torch.Generator().manual_seed(seed), torch.zeros(12, 4), []
    for _ in range(batches + 1):
        returns.append(float(walk.expected_return(softmax_policy(theta))))
        theta = improve(theta, collect(theta, generator), passes, weigh)
    return returns

# %% tags=["C87"]
seeds = range(6)
learned = {
    "clipped": [learn(clipped, 10, seed) for seed in seeds],
    "importance-weighted": [learn(kinds["importance-weighted"], 10, seed) for seed in seeds],
}
ends = {name: torch.tensor(runs)[:, -1] for name, runs in learned.items()}
best = float(walk.expected_return(walk.optimal_policy()))
assert (ends["clipped"] > best - 0.3).all() and best < 1.2
assert (ends["importance-weighted"] < -5).any()  # control: without the clip some fall for good
print(f"best possible {best:.2f}; after 25 batches:")
for name, values in ends.items():
    print(f"{name:>20}:", *(f"{value:7.2f}" for value in values))

# %%
figure, ax = blank_panel()
pictures.plot_runs(ax, range(26), learned, "discounted return")
ax.axhline(best, color="#222222", linewidth=0.8, linestyle=":")
ax.set_xlabel("batches of 64 episodes, 10 passes each (thin: six seeds, bold: their median)");

# %% [markdown]
# **What to notice.** Clipped, all six seeds learn the walk. Unclipped, the lucky ones learn *faster*. The others jump off the cliff, have nothing else left in their data, and jump for ever.
#
# > **Erratum E19, Algorithm 2 (note).**
# >
# > - **The note says:** maximise $\mathbb{E}_t[\cdot]$ over the stored transitions.
# > - **Right is:** $J$ discounts, so transition $t$ of an episode should count $\gamma^t$. Drawn evenly, $\mathbb{E}_t$ **drops it**, as does most code, ours above too. That is a bias, not a scale.
# > - **The number:** two moments look alike, two steps apart, and want opposite things (`aliased_twins`, lecture 3). The right slope towards *Right* is **+0.125**. Evenly drawn transitions say **-0.083**: the other way.

# %% tags=["C87", "E19"]
twins, looks = aliased_twins()
half = torch.full((4, 2), 0.5)
score = torch.tensor([-0.5, 0.5])  # of the one logit for Right, at one half: Left, Right
at_twin = (looks == 0) & ~twins.terminal  # states 0 and 2
per_state = (half * twins.advantages(half) * score).sum(1) * at_twin  # (S,)
discounted = per_state @ twins.visitation(half)
evenly = per_state @ torch.tensor([1.0, 1.0, 1.0, 0.0]) / 3  # each episode visits 0, 1, 2 once
J = [twins.expected_return(torch.tensor([[1 - p, p]] * 4)) for p in (0.4999, 0.5001)]
assert abs(discounted - (J[1] - J[0]) / 0.0002 * 0.25) < 1e-8  # dp/dlogit = p (1 - p) = 1/4
assert abs(discounted - 0.125) < 1e-10 and abs(evenly + 1 / 12) < 1e-10
assert discounted * evenly < 0  # control: they do not even agree on the sign

# %% [markdown]
# With a learned critic (lecture 8), minibatches and Adam this is the course's PPO agent. Twenty seeds on CartPole, recorded:

# %% tags=["C87"]
curves = torch.tensor(runs["curves"])  # (seeds, updates from the second on)
unchanged = torch.tensor(runs["baseline"]["as it is"])  # (seeds,) return at the end
assert (curves[:, 0] < 60).all() and (unchanged > 4 * curves[:, 0]).all()  # each seed learned
assert round(float(unchanged.mean())) == 423
assert (unchanged > 475).sum() == 11  # control: eleven of twenty, not all, are through
figure, ax = blank_panel()
places = [2048 * k for k in range(2, 26)]
pictures.plot_runs(ax, places, {"PPO": curves.tolist()}, "return, mean of 100 training episodes")
ax.set_xlabel("environment steps (thin: twenty seeds, bold: their median)");

# %% [markdown]
# **What to notice.** All rise, at their own pace. The curve lags, as a mean over past episodes: the final policies return **423** on average, and eleven of the twenty more than 475 of 500.
#
# And with continuous actions? The motor is too weak to lift this pendulum in one go: it has to swing. Three moments of one training, from the same start (`benchmarks/recordings/agents_to_watch.py`). Press play.

# %%
agent = recorded("agents_to_watch")["agents"]["Pendulum-v1"]


def pendulums(seconds):
    figure, panels = small_panels(len(agent), height=2.9)
    for ax, (name, seen) in zip(panels, agent.items()):
        row = round(20 * seconds)  # 20 steps are a second
        across, up, _ = seen["observations"][row]
        agents.plot_pendulum(ax, math.atan2(up, across), seen["actions"][row][0])
        ax.set_title(f"{name}: return {seen['return']:.0f}", fontsize="medium")
    return figure


Slider(pendulums, [0.25 * k for k in range(25)], 0.0, "seconds", still=pendulums(2.0))

# %% [markdown]
# **What to notice.** The arrow is the torque. Untrained, it trembles. Trained, it goes with the swing, catches the pendulum at the top, and holds it there with small pushes.
#
# ## How many passes? (C67)
#
# *Slide 63.* The slide's advice is $K = 3$ to 10; the recorded agent has 4. Here $K$ alone is changed, ten seeds each, and every final policy plays 64 fresh episodes. A difference counts if it is more than **3 standard errors**.

# %%
def errors_off(values):  # difference from the unchanged agent in standard errors, and the mean
    values = torch.tensor(values)
    spread = values.var() / len(values) + unchanged.var() / len(unchanged)
    return float((values.mean() - unchanged.mean()) / spread.sqrt()), float(values.mean())


epochs = {**runs["epochs"], "4": runs["baseline"]["as it is"]}
by_passes = {f"K = {k}": epochs[k] for k in sorted(epochs, key=int)}  # 4 is unchanged
figure, ax = blank_panel(7.4, 3.6)
pictures.plot_variants(ax, unchanged.tolist(), by_passes)
ax.set_ylabel("passes over each batch");

# %% tags=["C67"]
off = {name: errors_off(values) for name, values in by_passes.items()}
for name, (errors, mean) in off.items():
    print(f"{name:>18}: mean {mean:3.0f}, {errors:+.1f} standard errors")
assert off["K = 1"][0] < -3 and off["K = 2"][0] < -3  # too few passes waste the data
assert abs(off["K = 3"][0]) < 3 and abs(off["K = 10"][0]) < 3  # the slide's range is alike
assert abs(off["K = 30"][0]) < 3  # control: nor is 30 shown to be worse, with these seeds
walks = {K: torch.tensor([learn(clipped, K, s, batches=12)[-1] for s in seeds]) for K in (1, 10)}
assert walks[10].min() > 0 > walks[1].max()  # the cliff walk after 12 batches says the same

# %% [markdown]
# **What to notice.** One or two passes are too few. From three on the means lie within each other's noise, and thirty cost seven times the computing for nothing. On the cliff, after 12 batches, all six seeds with ten passes are home, and none with one.
#
# ## Many knobs (C68)
#
# *Slide 65.* "PPO infamously has many tunable hyperparameters." Here are ours, one changed at a time. (A batch is `rollout_steps` in each of 64 environments. `lam` belongs to the advantages, lecture 8. `entropy_weight` and `value_weight` weigh further terms of the loss.)

# %%
figure, ax = blank_panel(7.4, 7.4)
pictures.plot_variants(ax, unchanged.tolist(), runs["knobs"])
ax.get_legend().set_bbox_to_anchor((0.4, -0.07));

# %% tags=["C68"]
off = {name: errors_off(values)[0] for name, values in runs["knobs"].items()}
worse = {name for name, errors in off.items() if errors < -3}
better = {name for name, errors in off.items() if errors > 3}
print(f"{len(worse)} of {len(off)} are clearly worse:", *sorted(worse), sep="\n  ")
assert {"learning_rate 0.0005", "learning_rate 0.05"} <= worse  # both ways, ten times
assert {"lam 0", "minibatches 1", "minibatches 2", "rollout_steps 128"} <= worse
assert off["epsilon 0.4"] < -2 and off["epsilon 0.8"] < -2 and off["gamma 0.9"] < -2
assert len(worse) == 7 and not better
harmless = {"epsilon 0.1", "learning_rate 0.015", "value_weight 0.05"}
assert not harmless & worse  # control: not every change is seen as harm
luck = torch.tensor(runs["knobs"]["lam 0.5"]).view(2, 5).mean(1)
assert luck[0] > 420 and luck[1] < 170  # control: two halves of the SAME ten seeds

# %% [markdown]
# **What to notice.** The learning rate must be right within a factor of three or so; the clip range forgives 0.05 to 0.2. Three of the seven bad ones (`minibatches 1`, `minibatches 2`, `rollout_steps 128`) are one and the same: too few gradient steps. So knobs are not independent. And in the row `lam 0.5` the first five seeds average **430**, the last five **166**: five seeds would have told a story.
#
# ## The details that matter (C69)
#
# *Slide 66.* The blog post that the slide recommends (Huang and others, *The 37 Implementation Details of Proximal Policy Optimization*, 2022) lists **13** for every PPO, **9** for Atari, **9** for continuous actions, **5** for recurrent networks, **1** for several discrete actions at once. Of the 13 we tried all but two (what to log; one network for policy and critic), and two slips besides: no ratio, and a time limit taken for an end.

# %%
details = runs["details"]
figure, ax = blank_panel(7.4, 5.2)
pictures.plot_variants(ax, unchanged.tolist(), details)
ax.get_legend().set_bbox_to_anchor((0.4, -0.1));

# %% tags=["C69"]
off = {name: errors_off(values) for name, values in details.items()}
for name, (errors, mean) in sorted(off.items(), key=lambda item: item[1][0]):
    print(f"{name:>26}: mean {mean:3.0f}, {errors:+.1f} standard errors")
matters = {name for name, (errors, _) in off.items() if errors < -4}
assert matters == {"no clip", "no ratio", "one minibatch"}
assert all(-4 < off[name][0] < -2 for name in ("values clipped", "large last layer"))
alike = ("Adam's epsilon 1e-5", "entropy bonus 0.01", "gradient not cut", "time limit as an end")
assert all(abs(off[name][0]) < 1 for name in alike)
assert unchanged.min() > max(details["no clip"])  # the clip: worst with it, best without
assert max(details["no ratio"]) > unchanged.min()  # control: without the ratio, one seed got lucky

# %% [markdown]
# **What to notice.** Beyond doubt three matter: the clip (mean **65** without it, 423 with it), the ratio (**68**), several minibatches a pass (**234**). Probably two more do, by 2 to 3 standard errors: a small last layer, so that the first policy has no opinions, and normalised advantages. Clipping the values seems to hurt. For the rest no clear difference is seen. Ten seeds show differences of 120 and more; smaller ones may hide. Taking a time limit for an end *is* wrong (lecture 8), and CartPole forgives it.

# %% [markdown]
# ## Three learners, one grid
#
# The three algorithms side by side on a cliff walk with 24 places: softmax tables, 20 episodes an update, the same advantages. **Only the step differs**: the gradient times a learning rate, the natural gradient to a KL of $\delta$ with a line search, or four passes over a clipped objective. Each has the best of four step sizes (`benchmarks/recordings/grid_learners.py`). Arrows are as long as an action is likely, places as dark as they are visited.

# %%
film = recorded("grid_learners")
grid = cliff_walk(**film["settings"]["world"])
policies = {
    name: (torch.tensor(learner["milli_logits"]) / 1000).softmax(-1)  # (31, S, A)
    for name, learner in film["learners"].items()
}


def moment(update):
    return grids.film_frame(grid, 6, policies, update)


strip = grids.film_strip(grid, 6, policies, (0, 4, 10, 30))  # for paper
Slider(moment, [*range(11), 13, 16, 20, 25, 30], 0, "update", still=strip)

# %% [markdown]
# **What to notice.** All begin by getting away from the cliff. REINFORCE does so in a few great leaps, and finds that pushing *down* in the corner is safe. Soon all visits are there, so there are no data about anything else, so the steps are next to nothing: the collapse loop of lecture 4. TRPO's steps are of one height. PPO's first ones are larger (the clip does not limit the first pass); they shrink as it arrives.

# %%
returns = {name: torch.tensor(learner["returns"]) for name, learner in film["learners"].items()}
cower = -0.2 / (1 - grid.gamma)  # -4: to stay in a corner for ever
best_there = grid.expected_return(grid.optimal_policy())
kls = {name: grids.step_sizes(grid, table) for name, table in policies.items()}  # (30,) each
uneven = {name: float(kl.max() / kl.median()) for name, kl in kls.items()}

assert kls["TRPO"].max() < 1.2 * film["learners"]["TRPO"]["size"]  # delta, up to sampling
assert uneven["REINFORCE"] > 100 > 20 > uneven["PPO"] > 3 > uneven["TRPO"]
stuck = (returns["REINFORCE"][:, -1] - cower).abs() < 0.1
assert stuck.sum() == 4 and returns["REINFORCE"].shape == (10, 31)
assert min(returns[name][:, -1].min() for name in ("TRPO", "PPO")) > 3.2  # control: ten of ten learn
too_large = torch.tensor(film["learners"]["PPO"]["ends"]["30.0"])
assert ((too_large - cower).abs() < 0.1).sum() == 4  # a learning rate of 30 for 10: PPO cowers too
print("largest step over the median:", {name: round(ratio) for name, ratio in uneven.items()})

# %%
figure, ax = blank_panel()
curves = {name: table.tolist() for name, table in returns.items()}
pictures.plot_runs(ax, range(31), curves, "discounted return J")
ax.axhline(best_there, color="#222222", linewidth=0.8, linestyle=":")
ax.set_xlabel("update of 20 episodes (thin: ten seeds, bold: their median)");

# %% [markdown]
# **What to notice.** Six of ten REINFORCE runs settle at $-4$, the return of staying in the corner for ever, and after 30 updates four are still there. TRPO and PPO pass by, in all ten. But with three times its learning rate, four of ten PPO runs end there as well.

# %% [markdown]
# ## What we have
#
# | | one hears | we found |
# |---|---|---|
# | C63, E2 | bad actions have no floor | they have: flat below $1-\epsilon$ |
# | C64, E3 | the ratio stays in the clip range | other samples moved it to 2.82 |
# | C63, E4 | outside it there is no gradient | in two cases of four |
# | C66, E5 | most samples end up clipped | on CartPole at most 14 % do |
# | C66, E6 | the ratio makes reuse right | for actions, not for states |
# | C87, E19 | average over stored transitions | without $\gamma^t$ a bias |
#
# ## Exercises
#
# 1. (C63) Fill in the six cases for $A = 0$. What does the sample do to the gradient?
# 2. (C63) Keep the clipped term alone, without `min`. Which rows change, and what happens to a policy that has moved the wrong way?
# 3. (C64) In the example of E3, where does the ratio end if $\pi_{\text{old}} = (p, 1-p)$ and the advantages are $(1-p, -p)$? For which $p$ does it stay inside the clip range?
# 4. (C65) The clip cannot limit the *first* step of a batch. Why? What limits it?
# 5. (C66) Explain to a friend, without a formula, why the lever of C66 falls although every ratio is right.
# 6. (E5) Two samples of the same state and action have $\hat A = +1$ and $-1$. Draw the sum of their objectives as a function of the ratio. Where is its top?
# 7. (C69) How many seeds show a difference of 50 between two means at 3 standard errors? (One seed scatters by about 100.)
#
# ## To the homework
#
# - [hw2](../homework/hw2.ipynb), **`clipped_surrogate`** is the table of C63 for a whole batch: one choice for each sample, then the mean.
# - [hw2](../homework/hw2.ipynb), **`ppo_update`** is C65 and Algorithm 2's line 6 (C87): old log-probabilities once, then a step for each minibatch.
