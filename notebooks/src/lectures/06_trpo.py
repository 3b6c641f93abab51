# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Trust regions: TRPO
#
# **Lecture 6** of the policy-gradient course. Reading time: about 15 minutes. It runs in a few seconds.
#
# Lecture 5 ended with a guarantee for *mixtures* of policies. Networks cannot be mixed, so we need one for *any* two policies, and then an algorithm that can afford it. The theory below is exact and checked as such. From C53 on the algorithm leaves it in three steps, and at each one we measure what is lost.
#
# | | |
# |---|---|
# | **Covers** | slides 50 to 58; note, equation (7) |
# | **Assumes** | lecture 5: the difference identity (C34), the surrogate $L$ (C39), the mixture's bound (C43) |
# | **Prepares** | [homework 2](../homework/hw2.ipynb): `improvement_bounds`, `surrogate`, `kl`, `fisher_vector_product`, `conjugate_gradient`, `line_search`, `trpo_step` |
#
# Those functions are yours to write, so we compute each result in another way: by closed forms, explicit matrices and enumeration.

# %%
import torch
from torch.autograd.functional import hessian, jacobian

from course_lib.episodes import sample_episodes
from course_lib.figures import grid as grids, trpo as pictures
from course_lib.figures.style import blank_panel
from course_lib.many_mdps import random_mdps, random_policies
from course_lib.mdp import TabularMDP, cliff_walk, random_mdp
from course_lib.policies import CategoricalPolicy, softmax_policy
from course_lib.recorded import recorded
from course_lib.sliders import Slider

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# The test grounds are those of lecture 5. On **the icy road** a van drives *slow* (0) or *fast* (1) on dry road (state 0) or ice (state 1). Fast pays on dry road, costs on ice, and brings you onto the ice. Today's van drives fast one time in ten. And there are **4,000 random MDPs** with two random policies each.

# %%
ice = torch.tensor([[0.02, 0.2], [0.5, 0.9]])  # (S, A): chance that the next step is on ice
transitions = torch.stack([1 - ice, ice], dim=-1)  # (S, A, S)
rewards = torch.tensor([[1.0, 2.0], [1.0, -1.0]])  # (S, A)
start, never = torch.tensor([1.0, 0.0]), torch.tensor([False, False])
road = TabularMDP(transitions, rewards, 0.9, start, never)


def van(fast_on_dry, fast_on_ice):
    fast = torch.tensor([fast_on_dry, fast_on_ice])
    return torch.stack([1 - fast, fast], dim=-1)  # (S, A)


old = van(0.1, 0.1)

# %%
M, S, A = 4000, 4, 3
generator = torch.Generator().manual_seed(0)
many = random_mdps(M, S, A, generator)
olds = random_policies(M, S, A, generator)  # (M, S, A)
advantages, old_visits, G = many.advantages(olds), many.visitation(olds), many.gammas


def nearby(spread):  # (M, S, A): new policies, from close by to far away
    return (olds.log() + spread * torch.randn(M, S, A, generator=generator)).softmax(-1)


news = [nearby(spread) for spread in (0.1, 0.5, 2.0, 5.0)]

# %% [markdown]
# ## How far apart are two policies? (C46)
#
# *Slide 50.* The **total variation** of two distributions over actions is
#
# $$D_{\text{TV}}(p, q) = \tfrac12\sum_a |p_a - q_a| = 1 - \sum_a\min(p_a, q_a) = \max_{E}\,\big(P(E) - Q(E)\big).$$
#
# The last form says what it means: over all events $E$ (sets of actions), the largest difference in probability. The half is there because the excess of $p$ on some actions equals its lack on the others. Between policies we take the worst state, $D^{\max}_{\text{TV}}(\pi,\tilde\pi) = \max_s D_{\text{TV}}(\pi(\cdot\mid s), \tilde\pi(\cdot\mid s))$.

# %% tags=["C46"]
def total_variation(p, q):
    return (p - q).abs().sum(-1) / 2


p, q = olds, news[2]
events = torch.tensor([[(e >> a) & 1 for a in range(A)] for e in range(2**A)]).double()  # (E, A)
by_events = (events @ (p - q)[..., None]).amax((-2, -1))  # (M, S): the best of all 8 events

assert same(total_variation(p, q), by_events)
assert same(total_variation(p, q), 1 - torch.minimum(p, q).sum(-1))
assert not same(2 * total_variation(p, q), by_events)  # control: the half forgotten
assert total_variation(p, q).max() <= 1

# %% [markdown]
# ### Two policies, one coin (C48)
#
# *Slide 51.* The proof of the theorem rests on a **coupling**: draw $(a, \tilde a)$ together so that $a\sim p$ and $\tilde a\sim q$, each by itself right, and yet $a = \tilde a$ as often as possible. Where both have probability, share it. With probability $\sum_a\min(p_a,q_a) = 1 - D_{\text{TV}}$ draw one action for both from the shared part, else draw $a$ from what $p$ has left and $\tilde a$ from what $q$ has left.
#
# So if $D_{\text{TV}}\le\alpha$, the two agree with probability at least $1-\alpha$, and no coupling does better.

# %%
p, q = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.3, 0.35, 0.05, 0.3])
tv = total_variation(p, q)
shared = torch.minimum(p, q)
joint = shared.diag() + torch.outer(p - shared, q - shared) / tv  # (A, A): P(a, a~)

pairs = torch.multinomial(joint.flatten(), 20_000, True, generator=generator)
a, a_new = pairs // 4, pairs % 4  # (20000,) each


def within_4_errors(hits, probability):  # hits: bools; fails once in 16,000 if it is right
    error = (probability * (1 - probability) / len(hits)) ** 0.5
    return abs(hits.double().mean() - probability) < 4 * error

# %% tags=["C48"]
assert same(joint.sum(1), p) and same(joint.sum(0), q)  # each by itself is right
assert same(joint.trace(), 1 - tv)  # together they agree this often
assert all(within_4_errors(a == k, p[k]) for k in range(4))
assert within_4_errors(a == a_new, 1 - tv)
apart = torch.multinomial(q, 20_000, True, generator=generator)
assert not within_4_errors(a == apart, 1 - tv)  # control: drawn independently
print(f"agree: 1 - TV = {1 - tv:.2f}, sampled {(a == a_new).double().mean():.4f}")
print(f"independent draws: {(a == apart).double().mean():.4f}")

# %%
figure, ax = blank_panel(6.0, 3.4)
pictures.plot_overlap(ax, p, q);

# %% [markdown]
# **What to notice.** The grey part is shared: 0.70 of the probability. What one has left over (blue) is as much as what the other has left over (hatched): 0.30, the total variation. On the grey part the two drivers cannot be told apart.

# %% [markdown]
# ### The improvement theorem (C47)
#
# *Slide 51.* With $\alpha = D^{\max}_{\text{TV}}(\pi_{\text{old}},\pi_{\text{new}})$ and $\varepsilon = \max_{s,a}|A_\pi(s,a)|$, for **any** two policies:
#
# $$\eta(\pi_{\text{new}}) \;\ge\; L_{\pi_{\text{old}}}(\pi_{\text{new}}) - \frac{4\varepsilon\gamma}{(1-\gamma)^2}\,\alpha^2.$$
#
# **Why.** The three moves of C43, with the coupling in place of the mixture's coin:
#
# 1. Let both drive, coupled. At each step they differ with probability at most $\alpha$, so by step $t$ with probability at most $\alpha t$.
# 2. Advantages weigh to zero under the old policy, so $|\bar A(s)| = |\sum_a(\tilde\pi-\pi)A_\pi| \le 2\alpha\varepsilon$. Where the two are in different states, $L$ is off by at most $4\alpha\varepsilon$.
# 3. $\sum_t\gamma^t\cdot\alpha t\cdot 4\alpha\varepsilon = \frac{4\varepsilon\gamma}{(1-\gamma)^2}\alpha^2$.
#
# A step costs the **square** of its size, whatever the policies are made of. (Note that $\varepsilon$ is now the largest advantage of any single *action*. In lecture 5 it was the largest expected one.)

# %% tags=["C47"]
def gap(new):  # (M,): L(new) - eta(new)
    surrogate_gain = (old_visits[:, :, None] * new * advantages).sum((1, 2))
    return surrogate_gain + many.expected_return(olds) - many.expected_return(new)


C = 4 * advantages.abs().amax((1, 2)) * G / (1 - G) ** 2  # (M,)
gaps = torch.stack([gap(new) for new in news])  # (4, M)
alphas = torch.stack([total_variation(olds, new).amax(-1) for new in news])
assert (gaps <= C * alphas**2).all()
assert (gaps.abs() <= C * alphas**2).all()
assert (gaps > C * alphas**2 / 20).any()  # control: a twentieth of the penalty is violated
assert (gaps > C * alphas**4).any()  # control: and so is a higher power
largest = (gaps / (C * alphas**2)).max()
print(f"{gaps.numel():,} pairs: the largest gap is {largest:.0%} of the bound")

# %% [markdown]
# Loose on average, but not by much in the worst case. In the trap of lecture 5 (something new pays +1 once and costs 1 ever after) the gap is half of this bound. No smaller constant than $2\varepsilon\gamma/(1-\gamma)^2$ is possible.

# %% tags=["C47"]
trap = TabularMDP(
    torch.tensor([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]]),  # trying leads from state 0 to 1
    torch.tensor([[0.0, 1], [0, -1]]), 0.9, start, never,
)  # fmt: skip
alpha, wait = 0.001, van(0.0, 0.0)
tried = van(alpha, alpha)  # total variation alpha in both states; largest advantage 1
trap_gap = trap.visitation(wait) @ (tried * trap.advantages(wait)).sum(1)
trap_gap = trap_gap - trap.expected_return(tried)  # eta(wait) = 0
penalty = 4 * 0.9 / 0.1**2 * alpha**2
assert trap_gap <= penalty
assert trap_gap > 0.49 * penalty  # control: less than half of the penalty would not do
print(f"the trap uses {trap_gap / penalty:.1%} of the bound")

# %% [markdown]
# ## From total variation to KL (C49)
#
# *Slide 52.* Absolute values are awkward to differentiate. The **KL divergence** $D_{\text{KL}}(p\,\|\,q) = \sum_a p_a\log\frac{p_a}{q_a}$ is smooth, can be averaged over samples from $p$, and dominates:
#
# $$D_{\text{TV}}(p,q)^2 \;\le\; D_{\text{KL}}(p\,\|\,q).$$
#
# Total variation itself is a distance and never exceeds 1. KL is not symmetric and can be infinite.

# %% tags=["C49"]
def divergence(p, q):  # KL(p || q), summed over the last axis
    return (p * (p / q).log()).sum(-1)


tv = torch.stack([total_variation(olds, new) for new in news]).flatten()  # (64000,)
kls = torch.stack([divergence(olds, new) for new in news]).flatten()
assert (tv**2 <= kls).all()
assert (2 * tv**2 <= kls + 1e-12).all()  # Pinsker's inequality, twice as strong
assert (2.2 * tv**2 > kls).any()  # control: ten percent more would be wrong
print(f"{len(tv):,} pairs: KL / TV^2 is at least {(kls / tv**2).min():.4f}")

# %%
figure, ax = blank_panel()
some = torch.randperm(len(tv), generator=generator)[:6000]
pictures.plot_tv_against_kl(ax, tv[some], kls[some]);

# %% [markdown]
# **What to notice.** No dot lies below the solid curve, and for small distances they crowd onto it. The slide's dashed curve is a floor that nothing ever touches.
#
# > **Erratum E11 (slide 52).**
# >
# > - **The lecture says:** $D_{\text{TV}}^2\le D_{\text{KL}}$.
# > - **Right is:** true, but loose by a factor of 2. Pinsker's inequality is $D_{\text{TV}}^2\le\tfrac12 D_{\text{KL}}$.
# > - **The number:** over the pairs above $D_{\text{KL}}/D_{\text{TV}}^2$ is never below **2.00**. Using it **halves** the constant $C$ of the next section.

# %% tags=["C49", "E11"]
theta = torch.linspace(-6, 6, 241)
coin = torch.stack([theta.sigmoid(), (-theta).sigmoid()], -1)  # (P, 2): every kind of coin
pairs_tv = total_variation(coin[:, None], coin[None, :])
pairs_kl = divergence(coin[:, None], coin[None, :])
ratio = (pairs_kl / pairs_tv**2)[pairs_tv > 0.01]
assert 2 - 1e-9 < ratio.min() < 2.001  # the constant 2 is reached, by fair coins
assert ratio.median() > 2.1  # control: most pairs are not so tight
print(f"all coins: KL / TV^2 from {ratio.min():.5f} up")

# %% [markdown]
# ### The bound in KL (C50)
#
# *Slide 53.* The largest $D_{\text{TV}}^2$ over states is at most the largest $D_{\text{KL}}$, so
#
# $$\eta(\tilde\pi) \;\ge\; L_\pi(\tilde\pi) - C\,D^{\max}_{\text{KL}}(\pi,\tilde\pi),\qquad C = \frac{4\varepsilon\gamma}{(1-\gamma)^2}.$$

# %% tags=["C50"]
largest_kl = torch.stack([divergence(olds, new).amax(-1) for new in news])  # (4, M)

assert (gaps <= C * largest_kl).all()
assert (gaps <= C / 2 * largest_kl).all()  # with Pinsker's factor, E11
assert (gaps > C / 50 * largest_kl).any()  # control: a fiftieth is violated
assert (gaps > C * largest_kl**2).any()  # control: KL plays the part of alpha^2, not of alpha
print(f"largest gap: {(gaps / (C * largest_kl)).max():.1%} of the bound")

# %% [markdown]
# ## A lower bound that touches (C52)
#
# *Slide 54.* Stand at $\pi_i$ and call the right-hand side of C50 $M_i(\pi) = L_{\pi_i}(\pi) - C\,D^{\max}_{\text{KL}}(\pi_i,\pi)$. Two properties are all we need:
#
# - it lies below: $\eta(\pi)\ge M_i(\pi)$ for every $\pi$;
# - it touches: $\eta(\pi_i) = M_i(\pi_i)$, since there $L = \eta$ and KL is zero.
#
# To see it we take the van with **one lever** again (fast with probability $x$ everywhere), and for now $\gamma = 0.5$, where $C$ is small enough to draw.

# %%
def bound_from(world, x, candidates):  # pieces of M_i at each candidate lever: (P,), (P,), number
    policy, gamma = van(x, x), world.gamma
    A = world.advantages(policy)
    slope = world.visitation(policy) @ (A[:, 1] - A[:, 0])
    fast = torch.stack([1 - candidates, candidates], -1)  # (P, A)
    C = 4 * A.abs().max() * gamma / (1 - gamma) ** 2
    return (candidates - x) * slope, divergence(policy[0], fast), C


def eta(world, x):
    return world.expected_return(van(float(x), float(x)))

# %% tags=["C52"]
near = TabularMDP(transitions, rewards, 0.5, start, never)  # gamma = 0.5
levers = torch.linspace(0.01, 0.99, 981)
true = torch.stack([eta(near, x) for x in levers])
for x in (0.1, 0.3, 0.7):
    gain, kl_to, C_near = bound_from(near, x, levers)
    minoriser = eta(near, x) + gain - C_near * kl_to
    touch = int((levers - x).abs().argmin())
    assert (minoriser <= true + 1e-10).all()  # below, everywhere
    assert same(minoriser[touch], true[touch])  # and equal at pi_i
    pierced = eta(near, x) + gain - C_near / 100 * kl_to
    assert (pierced > true + 1e-3).any()  # control: with C / 100 it is no lower bound

# %% [markdown]
# ### So the return never goes down (C51)
#
# *Slide 54.* Choose $\pi_{i+1} = \arg\max_\pi M_i(\pi)$. Then
#
# $$\eta(\pi_{i+1}) \;\ge\; M_i(\pi_{i+1}) \;\ge\; M_i(\pi_i) \;=\; \eta(\pi_i).$$
#
# This is **minorisation-maximisation**, the same idea as EM: build a lower bound that touches, climb to its top, build the next. We maximise by trying 600 levers around the present one, from a millionth away up, and the present one.

# %%
offsets = torch.logspace(-6, 0, 300)
offsets = torch.cat([-offsets.flip(0), torch.zeros(1), offsets])  # 0 is among them


def climb(world, choose, iterations, x=0.1):  # (iterations + 1,): the levers visited
    visited = [x]
    for _ in range(iterations):
        candidates = (x + offsets).clamp(1e-4, 1 - 1e-4)
        x = float(candidates[choose(*bound_from(world, x, candidates))])
        visited.append(x)
    return torch.tensor(visited)


def penalised(gain, kl_to, C):
    return (gain - C * kl_to).argmax()

# %% tags=["C51"]
path = climb(near, penalised, 150)
reached = torch.stack([eta(near, x) for x in path])
assert reached.diff().min() > -1e-10 and reached[-1] > reached[0] + 0.5

theory = climb(road, penalised, 600)
returns_of_theory = torch.stack([eta(road, x) for x in theory])
assert returns_of_theory.diff().min() > -1e-10  # 600 iterations, and never down

bold = climb(road, lambda gain, kl_to, C: penalised(gain, kl_to, C / 1000), 20)
returns_of_bold = torch.stack([eta(road, x) for x in bold])
assert returns_of_bold.diff().min() < -1  # control: with a thousandth of C it does go down
print(f"gamma 0.5, 150 iterations: {reached[0]:.3f} to {reached[-1]:.3f}")

# %%
figure, ax = blank_panel()
shown = levers < 0.6
bounds = []
for x in path[:17:4].tolist():
    gain, kl_to, C_near = bound_from(near, x, levers)
    bounds.append((x, (eta(near, x) + gain - C_near * kl_to)[shown]))
pictures.plot_minorisers(ax, levers[shown], true[shown], bounds);

# %% [markdown]
# **What to notice.** Each dashed curve touches the return in its dot and stays below everywhere else. Its top lies only a little to the right of the dot, so the climb is safe and slow. Shown is every fourth bound.

# %% [markdown]
# ## First approximation: a constraint for the penalty (C53)
#
# *Slide 55.* With $\gamma = 0.9$ the constant starts at $C \approx 712$, and steps become tiny. TRPO turns the penalty into a **constraint**, with a $\delta$ chosen by hand:
#
# $$\max_\theta L_{\theta_{\text{old}}}(\theta)\quad\text{subject to}\quad D^{\max}_{\text{KL}}(\theta_{\text{old}},\theta)\le\delta.$$
#
# One can also lower $C$ by hand, but by how much? We compare the theory's $C$, a hundredth and a thousandth of it, and $\delta = 0.01$.

# %%
def constrained(gain, kl_to, C, delta=0.01):
    return gain.where(kl_to <= delta, -torch.inf).argmax()


looser = climb(road, lambda gain, kl_to, C: penalised(gain, kl_to, C / 100), 600)
region = climb(road, constrained, 600)
curves = {
    "penalty C, as in the theory": returns_of_theory,
    "penalty C / 100": torch.stack([eta(road, x) for x in looser]),
    "penalty C / 1000": returns_of_bold,
    "constraint KL <= 0.01": torch.stack([eta(road, x) for x in region]),
}

# %% tags=["C53"]
def first_step(levers):  # KL of the first step
    return divergence(van(0.1, 0.1)[0], van(float(levers[1]), float(levers[1]))[0])


best = max(float(eta(road, x)) for x in torch.linspace(0.01, 0.99, 981))
almost = best - 0.1
needed = {name: int((c <= almost).cummin(0).values.sum()) for name, c in curves.items()}
assert needed["constraint KL <= 0.01"] < 10
assert needed["penalty C, as in the theory"] > 40 * needed["constraint KL <= 0.01"]
assert curves["penalty C / 1000"].max() < almost  # 20 iterations, and it never gets there
assert first_step(region) > 1000 * first_step(theory)
assert curves["constraint KL <= 0.01"].diff().min() < -1e-4  # control: the guarantee is gone
print(f"KL of the first step: {first_step(theory):.1e} or, constrained, {first_step(region):.1e}")
print("iterations to within 0.1 of the best:", *list(needed.values())[::3])

# %%
figure, ax = blank_panel()
pictures.plot_progress(ax, curves, "discounted return");

# %% [markdown]
# **What to notice.** The theory climbs without a slip and needs two hundred iterations for what the constraint does in four. A hundredth of $C$ happens to be right here. A thousandth throws the van to and fro, below where it began, and nothing told us where between the two the edge was. The constraint speaks about the *policy*, not about the unknown scale of the advantages, so one $\delta$ serves many tasks. Its price shows at the top: it still takes full steps and rocks back and forth around the best lever.

# %% [markdown]
# ### Second approximation: the mean for the maximum (C54)
#
# *Slide 56.* A maximum over all states cannot be sampled. Take the mean over the states that the **old** policy visits:
#
# $$\bar D_{\text{KL}}(\theta_{\text{old}},\theta) = \mathbb{E}_{s\sim\rho_{\text{old}}}\big[D_{\text{KL}}(\pi_{\theta_{\text{old}}}(\cdot\mid s)\,\|\,\pi_\theta(\cdot\mid s))\big]\;\le\;\delta.$$
#
# Three things to keep apart. Over *actions* it is a sum, weighed by the old policy. Over *states* it is a mean: visits must be normalised, $w(s) = (1-\gamma)\rho(s)$. And the old policy stands first. A mean is at most the maximum, so the new constraint is the weaker one.

# %% tags=["C54"]
weights = old_visits * (1 - G)[:, None]  # (M, S), rows sum to 1
for new in news:
    per_state = divergence(olds, new)  # (M, S)
    mean_kl = (weights * per_state).sum(-1)
    assert (mean_kl <= per_state.amax(-1) + 1e-12).all()
    assert (per_state.sum(-1) > per_state.amax(-1)).all()  # control: a sum over states is not
backwards = (weights * divergence(news[2], olds)).sum(-1)
forwards = (weights * divergence(olds, news[2])).sum(-1)
assert not same(backwards, forwards)  # control: new against old is another number
print(f"KL(new || old) / KL(old || new) from {(backwards / forwards).min():.2f} "
      f"to {(backwards / forwards).max():.1f}")  # fmt: skip

# %% [markdown]
# Does it matter? Let the van choose for each road by itself and take the best of 640,000 policies under each constraint, 12 times in a row. Ice is a rare sight, so under the mean the van may change far more there.

# %%
grid = torch.linspace(0.001, 0.999, 800)
coins = torch.stack([1 - grid, grid], -1)  # (K, A)


def best_step(policy, delta, combine):
    A, w = road.advantages(policy), (1 - road.gamma) * road.visitation(policy)
    gain_dry, gain_ice = w[:, None] * (coins @ A.T).T  # (K,) each
    kl_dry, kl_ice = divergence(policy[0], coins), divergence(policy[1], coins)
    allowed = combine(w, kl_dry[:, None], kl_ice[None, :]) <= delta
    gain = (gain_dry[:, None] + gain_ice[None, :]).where(allowed, -torch.inf)
    dry, on_ice = divmod(int(gain.argmax()), len(grid))
    return van(float(grid[dry]), float(grid[on_ice]))

# %% tags=["C54"]
def by_max(w, dry, on_ice):
    return torch.maximum(dry, on_ice)


def by_mean(w, dry, on_ice):
    return w[0] * dry + w[1] * on_ice


runs = {by_max: [old], by_mean: [old]}
for combine, policies in runs.items():
    for _ in range(12):
        policies.append(best_step(policies[-1], 0.01, combine))
end_max, end_mean = (float(road.expected_return(policies[-1])) for policies in runs.values())
assert abs(end_mean - end_max) < 0.02 * end_max  # the two end alike
moved = [divergence(old, policies[1]) for policies in runs.values()]  # (S,) each
assert moved[1][1] > 1.5 * moved[0][1]  # control: not the same constraint, ice moves further
print(f"return 10.81, then {end_max:.2f} (maximum) or {end_mean:.2f} (mean)")
print(f"KL of the first step on ice: {moved[0][1]:.4f} or {moved[1][1]:.4f}")

# %% [markdown]
# ### The mean KL from samples (C55)
#
# *Slide 56.* Drive the old van, note the states, average. To meet state $s$ with probability $w(s)$ we stop each drive at a random time, $P(t) = (1-\gamma)\gamma^t$, and keep where it is. (Most code keeps every step with equal weight instead. That is a mean over other visits, undiscounted ones.)

# %%
N, H, gamma = 4000, 150, road.gamma  # 0.9^150 is 1e-7: later stops do not happen
drives = sample_episodes(road, old, N, generator, max_steps=H)
stops = (torch.rand(N, 1, generator=generator).log() / torch.tensor(gamma).log()).long()
stops = stops.clamp(max=H - 1)
states = torch.stack([d.states for d in drives]).gather(1, stops).flatten()  # (N,)
actions = torch.stack([d.actions for d in drives]).gather(1, stops).flatten()

w, A_old = (1 - gamma) * road.visitation(old), road.advantages(old)


def within_4_errors_of(samples, exact):  # fails once in 16,000 if it is right
    return abs(samples.mean() - exact) < 4 * samples.std() / len(samples) ** 0.5

# %% tags=["C55"]
new = van(0.3, 0.02)
exact_kl = w @ divergence(old, new)
sampled_kl = divergence(old, new)[states]  # (N,): exact over actions, sampled over states

assert within_4_errors_of(sampled_kl, exact_kl)
assert not within_4_errors_of(sampled_kl, divergence(old, new).mean())  # control: equal weights
assert not within_4_errors_of(sampled_kl, w @ divergence(new, old))  # control: new || old
print(f"mean KL: exact {exact_kl:.5f}, from {N:,} states {sampled_kl.mean():.5f}")

# %% [markdown]
# ### Third approximation: the surrogate from samples (C56)
#
# *Slides 56 and 57.* The sum over actions in $L$ asks for $\pi_\theta$, and the data were drawn from $\pi_{\text{old}}$. The ratio repairs that (lecture 5, C85):
#
# $$L_{\theta_{\text{old}}}(\theta) = \mathbb{E}_{s\sim\rho_{\text{old}},\,a\sim\pi_{\text{old}}}\Big[\frac{\pi_\theta(a\mid s)}{\pi_{\theta_{\text{old}}}(a\mid s)}\,A_{\text{old}}(s,a)\Big].$$
#
# Everything in it can be computed from what the old policy collected. $\theta$ stands in the numerator alone: the old probabilities and the advantages are numbers, and no gradient goes through them.

# %% tags=["C56"]
exact_surrogate = w @ (new * A_old).sum(1)
ratio = (new / old)[states, actions]  # (N,)
samples = ratio * A_old[states, actions]  # (N,)

assert within_4_errors_of(samples, exact_surrogate)
assert within_4_errors_of(ratio, torch.tensor(1.0))  # ratios average to one
without = A_old[states, actions]
assert not within_4_errors_of(without, exact_surrogate)  # control: no ratio
assert within_4_errors_of(without, torch.tensor(0.0))  # it estimates zero (C35)
print(f"surrogate: exact {exact_surrogate:.4f}, from {N:,} samples {samples.mean():.4f} "
      f"(standard error {samples.std() / N**0.5:.4f})")  # fmt: skip

# %% [markdown]
# > **Erratum E14 (slide 57 against slide 45).**
# >
# > - **The lecture writes** $L_{\theta_{\text{old}}}$ for both, and "the surrogate becomes".
# > - **Right is:** the later one drops $\eta(\pi_{\text{old}})$ and the factor $1/(1-\gamma)$, since an expectation needs normalised visits: $L^{57} = (1-\gamma)\,(L^{45} - \eta)$. The maximum is at the same $\theta$.
# > - **The number:** at the old policy the earlier one is $\eta =$ **10.81**, the later one **0**.
# >
# > **E18 again (slide 59).** The ratio will be called $\rho_t(\theta)$ and one line on $r_t(\theta)$. It is neither visits nor reward. We say `ratio`.

# %% tags=["C56", "E14", "E18"]
def L_45(new):
    return road.expected_return(old) + road.visitation(old) @ (new * A_old).sum(1)


def L_57(new):
    return w @ (old * (new / old) * A_old).sum(1)


assert same(L_57(old), torch.tensor(0.0)) and abs(L_45(old) - 10.81) < 0.005
assert same(L_57(new), (1 - gamma) * (L_45(new) - road.expected_return(old)))
assert not same(L_57(new), L_45(new))  # control: they are two functions

# %% [markdown]
# ## The step we are after (C86)
#
# *Note, equation (7).* The practical problem now reads: $\max_\theta L(\theta)$ subject to "$\pi_\theta$ is not too different from $\pi_{\text{old}}$", here $\bar D_{\text{KL}}\le\delta$. With two parameters (the log-odds of fast on each road) it can be solved by looking: walk around the edge of the trust region, and take the best point.
#
# We compare two directions, each followed until it meets the same edge: the **gradient** $g$ of $L$, and the **natural gradient** $F^{-1}g$. Here $F$ is the matrix of second derivatives of the mean KL at $\theta_{\text{old}}$: large where the policy is quick to change. So $F^{-1}$ holds back where change is dear and lets go where it is cheap. (More on $F$ in C58.)

# %%
log_odds = torch.tensor([0.1, 0.1]).logit()


def policy_at(change):  # (..., 2) -> (..., S, A)
    fast = (log_odds + change).sigmoid()
    return torch.stack([1 - fast, fast], -1)


def L_at(change):
    return (policy_at(change) * A_old).sum(-1) @ w


def mean_kl_at(change):
    return divergence(old, policy_at(change)) @ w


g, F2 = jacobian(L_at, torch.zeros(2)), hessian(mean_kl_at, torch.zeros(2))

# %%
def to_edge(directions, delta):  # (P, 2) -> (P, 2): scaled so that the mean KL is delta
    low, high = torch.zeros(len(directions), 1), torch.full((len(directions), 1), 1e4)
    for _ in range(80):  # the KL grows along each ray: halve the interval
        middle = (low + high) / 2
        inside = (mean_kl_at(middle * directions) <= delta)[:, None]
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return low * directions


turn = torch.linspace(0, 2 * torch.pi, 2001)
circle = torch.stack([turn.cos(), turn.sin()], -1)  # (P, 2)
two_ways = torch.stack([g / g.norm(), torch.linalg.solve(F2, g)])

# %% tags=["C86"]
shares = {}
for delta in (0.1, 0.01, 0.001, 0.0001):
    edge = to_edge(circle, delta)
    assert (mean_kl_at(edge) <= delta).all()
    gains = L_at(to_edge(two_ways, delta)) / L_at(edge).max()  # as a share of the best
    shares[delta] = gains.tolist()
    print(f"delta {delta:<7}: gradient {gains[0]:.1%}, natural gradient {gains[1]:.2%}")

assert all(natural <= 1 + 1e-5 for _, natural in shares.values())  # nothing beats the edge's best
assert shares[0.0001][1] > 0.999  # and the natural gradient becomes it
assert shares[0.0001][0] < 0.9  # control: the plain gradient does not

# %%
def region_at(delta):
    edge, steps = to_edge(circle, delta), to_edge(two_ways, delta)
    ellipse = (2 * delta) ** 0.5 * circle @ torch.linalg.inv(torch.linalg.cholesky(F2))
    x, y = (torch.linspace(*(1.15 * edge[:, k]).aminmax(), 60) for k in (0, 1))
    levels = L_at(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1))  # (Y, X)
    figure, ax = blank_panel(7.4, 4.2)
    best = edge[L_at(edge).argmax()]
    named = {"gradient": steps[0], "natural gradient": steps[1], "best": best}
    pictures.plot_trust_region(ax, edge, ellipse, (x, y, levels), named)
    ax.set_title(f"delta = {delta:g}")
    return figure


Slider(region_at, [0.0001, 0.001, 0.01, 0.03, 0.1], 0.01, "delta")

# %% [markdown]
# **What to notice.** The region is tall: ice is rare, so much may change there at little cost in mean KL. The gradient does not know this and spends its allowance on the dry road. The natural gradient bends to where change is cheap and lands next to the best point. Slide $\delta$ down: edge and ellipse become one. Slide it up: the ellipse is only a model, and at 0.1 the plain gradient even comes out ahead.

# %% [markdown]
# ## A linear and a quadratic model (C57)
#
# *Slide 58.* For small steps $\Delta = \theta - \theta_{\text{old}}$ replace
#
# $$L(\theta)\approx g^\top\Delta,\qquad \bar D_{\text{KL}}(\theta_{\text{old}},\theta)\approx\tfrac12\Delta^\top F\Delta.$$
#
# The KL has no linear term: at $\theta_{\text{old}}$ it is zero, which is its least value, so its slope vanishes. Hence the linear model's error falls as $h^2$ and the quadratic one's as $h^3$. We check with the full table of logits $\theta$ (S, A).

# %%
theta_0 = old.log()
P = theta_0.numel()


def L_of(theta):
    return w @ (softmax_policy(theta.view(2, 2)) * A_old).sum(1)


def mean_kl_of(theta):
    return w @ divergence(old, softmax_policy(theta.view(2, 2)))


g = jacobian(L_of, theta_0.flatten())  # (P,)
F = hessian(mean_kl_of, theta_0.flatten())  # (P, P)
direction = torch.tensor([-0.3, 0.5, 0.2, -0.7])
h = torch.logspace(-3, -1, 9)

# %% tags=["C57"]
def power(errors):  # slope in the log-log plane
    x, y = h.log() - h.log().mean(), errors.log()
    return (x * (y - y.mean())).sum() / x.pow(2).sum()


def errors_of(function, model):
    points = [theta_0.flatten() + step * direction for step in h]
    return torch.stack([(function(p) - model(p - theta_0.flatten())).abs() for p in points])


linear = errors_of(L_of, lambda change: g @ change)
quadratic = errors_of(mean_kl_of, lambda change: change @ F @ change / 2)
assert abs(power(linear) - 2) < 0.05 and abs(power(quadratic) - 3) < 0.05
half_missing = errors_of(mean_kl_of, lambda change: change @ F @ change)
assert abs(power(half_missing) - 3) > 0.9  # control: without the 1/2 it falls as h^2 only

# %%
figure, ax = blank_panel()
models = {"linear model of L": (linear, 2), "quadratic model of the mean KL": (quadratic, 3)}
pictures.plot_powers(ax, h, models);

# %% [markdown]
# **What to notice.** Dots are measured, lines are the powers. A step ten times shorter makes the first model a hundred times better, the second a thousand times.

# %% [markdown]
# ### The Fisher matrix is the curvature of the KL (C58)
#
# *Slide 58.* Differentiate $D_{\text{KL}}(\pi_{\text{old}}\|\pi_\theta)$ twice, at $\theta_{\text{old}}$, and the **Fisher information matrix** comes out, a mean of outer products of scores:
#
# $$F = \nabla^2_\theta\,\bar D_{\text{KL}}(\theta_{\text{old}},\theta)\big|_{\theta_{\text{old}}} = \mathbb{E}_{s\sim\rho_{\text{old}},\,a\sim\pi_{\text{old}}}\big[\nabla\log\pi_\theta(a\mid s)\,\nabla\log\pi_\theta(a\mid s)^\top\big].$$
#
# Why: $-\nabla^2\log\pi = \nabla\log\pi\,\nabla\log\pi^\top - \nabla^2\pi/\pi$, and the last term averages to $\sum_a\nabla^2\pi(a\mid s) = 0$. $F$ measures how much the *policy* changes when $\theta$ does, and knows nothing of rewards.

# %% tags=["C58"]
def log_policy(theta):
    return softmax_policy(theta.view(2, 2)).log()


scores = jacobian(log_policy, theta_0.flatten())  # (S, A, P)
fisher = torch.einsum("s,sa,sap,saq->pq", w, old, scores, scores)

assert same(fisher, F)
assert not same(hessian(L_of, theta_0.flatten()), F)  # control: another function's curvature
elsewhere = theta_0.flatten() + direction
assert not same(hessian(mean_kl_of, elsewhere), F)  # control: another point
unweighted = torch.einsum("sa,sap,saq->pq", old, scores, scores) / 2
assert not same(unweighted, F)  # control: states must be weighed by visits

# %% [markdown]
# > **Erratum E12, first half (slide 58).**
# >
# > - **The lecture writes** $F^{-1}g$.
# > - **Right is:** $F^{-1}$ need not exist. Adding a constant to all logits of a state changes no probability, so for a tabular softmax $F$ is **singular**. Practice adds **damping**, $F + \lambda I$ with a small $\lambda$.
# > - **The number:** here $F$ is $4\times4$ of rank **2**: one dead direction for each state. With $\lambda = 0.001$ its least eigenvalue is 0.001.

# %% tags=["C58", "E12"]
eigenvalues = torch.linalg.eigvalsh(F)
assert int((eigenvalues > 1e-12).sum()) == 2 and eigenvalues.abs().min() < 1e-12
shift = torch.tensor([1.0, 1.0, 0.0, 0.0])  # all logits of the dry road
assert (F @ shift).abs().max() < 1e-12
assert abs(g @ shift) < 1e-12  # g has no part there: F x = g can still be solved
damping = 1e-3
least = torch.linalg.eigvalsh(F + damping * torch.eye(P)).min()
assert abs(least - damping) < 1e-12  # control: damped, it is no longer singular
print("eigenvalues:", *(f"{value:.4f}" for value in eigenvalues.abs()))

# %% [markdown]
# ### The step in closed form (C59)
#
# *Slide 58.* Maximise $g^\top\Delta$ subject to $\tfrac12\Delta^\top F\Delta\le\delta$. By Lagrange $g$ is parallel to $F\Delta$, so $\Delta = c\,F^{-1}g$. The constraint, $\tfrac12c^2\,g^\top F^{-1}g = \delta$, sets $c$:
#
# $$\theta_{\text{new}} = \theta_{\text{old}} + \sqrt{\frac{2\delta}{g^\top F^{-1}g}}\;F^{-1}g.$$
#
# It uses up the allowance *in the model*. The true KL agrees to second order, so $\bar D_{\text{KL}}/\delta\to1$ as $\delta\to0$. (For the singular $F$ we take the pseudo-inverse, the limit of no damping.)

# %% tags=["C59"]
natural = torch.linalg.pinv(F, hermitian=True) @ g  # (P,)


def used(delta, two=2.0):  # true KL of the closed-form step, as a share of delta
    step = (two * delta / (g @ natural)) ** 0.5 * natural
    return float(mean_kl_of(theta_0.flatten() + step) / delta)


shares = [used(10.0**-k) for k in range(1, 8)]
assert abs(shares[-1] - 1) < 1e-3
assert all(abs(b - 1) < abs(a - 1) for a, b in zip(shares, shares[1:]))  # nearer each time
assert abs(used(1e-7, two=1.0) - 0.5) < 1e-3  # control: without the 2, half is left unused
print("KL / delta for delta = 0.1, 0.01, ...:", *(f"{share:.4f}" for share in shares))

# %% [markdown]
# ## Conjugate gradient needs no matrix (C60)
#
# *Slide 58.* A small network has thousands of parameters and $F$ their square of entries. But we want only $x = F^{-1}g$, and a product $Fv$ is cheap: each score is multiplied with $v$ first, and the matrix is never built,
#
# $$Fv = \mathbb{E}\big[\nabla\log\pi\,\big(\nabla\log\pi^\top v\big)\big].$$
#
# (Homework reaches the same product by differentiating the KL twice.) **Conjugate gradient** solves $Fx = g$ with nothing but such products. It starts at $x = 0$ with residual $r = g - Fx = g$, and keeps a search direction $d$, at first $r$. Each step has one product $Fd$ in it:
#
# - go $\frac{r^\top r}{d^\top F d}$ times $d$, and update $r$ to match;
# - the next direction is the new residual plus $\frac{r_{\text{new}}^\top r_{\text{new}}}{r^\top r}$ times the old direction, so that no step undoes an earlier one.
#
# After $k$ steps it holds the best $x$ in the span of $g, Fg, \dots, F^{k-1}g$, best meaning least $(x-x^*)^\top F(x-x^*)$. Below we compute that best $x$ directly, on a random MDP with 48 parameters.

# %%
world = random_mdp(12, 4, 0.9, generator)
theta = torch.randn(12, 4, generator=generator)
policy, damping = softmax_policy(theta), 1e-3
d_old = (1 - world.gamma) * world.occupancy(policy)  # (S, A), sums to 1
table_scores = jacobian(lambda theta: softmax_policy(theta).log(), theta).flatten(2)  # (S, A, P)
g_big = torch.einsum("sa,sap->p", d_old * world.advantages(policy), table_scores)  # (P,)


def product(v):  # (F + damping I) v, and no (P, P) in sight
    return torch.einsum("sa,sap->p", d_old * (table_scores @ v), table_scores) + damping * v


F_big = torch.einsum("sa,sap,saq->pq", d_old, table_scores, table_scores)
solution = torch.linalg.solve(F_big + damping * torch.eye(48), g_big)

# %%
def best_in_span(products):  # least energy error with x in the span of g, Fg, F^2 g, ...
    basis = (g_big / g_big.norm())[:, None]  # (P, 1)
    for _ in range(products - 1):
        last = product(basis[:, -1])
        for _ in range(2):  # made orthogonal twice: once is not exact in floating point
            last = last - basis @ (basis.T @ last)
        basis = torch.cat([basis, (last / last.norm())[:, None]], dim=1)
    images = torch.stack([product(column) for column in basis.T], dim=1)  # (P, k)
    return basis @ torch.linalg.solve(basis.T @ images, basis.T @ g_big)


def distance(x):
    return float((x - solution).norm() / solution.norm())

# %% tags=["C60"]
v = torch.randn(48, generator=generator)
assert same(product(v), F_big @ v + damping * v)  # the product without the matrix

krylov = torch.tensor([1.0] + [distance(best_in_span(k)) for k in range(1, 19)])
curvature = float(torch.linalg.eigvalsh(F_big + damping * torch.eye(48)).max())
descent, x = [1.0], torch.zeros(48)
for _ in range(18):  # control: plain gradient descent, with as many products
    x = x + (g_big - product(x)) / curvature
    descent.append(distance(x))
assert krylov[10] < 0.001 < 0.05 < descent[10]
assert krylov[18] < 1e-5
print(f"10 products: conjugate gradient {krylov[10]:.1e}, descent {descent[10]:.1e} away")

# %%
figure, ax = blank_panel()
methods = {"conjugate gradient": krylov, "gradient descent": torch.tensor(descent)}
pictures.plot_residuals(ax, methods)
network = CategoricalPolicy(4, 2, generator=torch.Generator())
entries = sum(weight.numel() for weight in network.parameters()) ** 2
print(f"the course's CartPole network: F would have {entries:,} entries")

# %% [markdown]
# **What to notice.** Ten products for 48 unknowns are plenty, and TRPO stops there. Conjugate gradient is exact after as many steps as $F$ has different eigenvalues, and close long before, if few of them matter.

# %% [markdown]
# ## The line search keeps the promise (C61)
#
# *Slide 58.* The closed-form step is right in the model. Whether it is right in truth must be checked, so TRPO tries $\theta_{\text{old}} + \beta^i\Delta$ for $i = 0, 1, 2, \dots$ with $\beta = \tfrac12$, always from $\theta_{\text{old}}$, and takes the **first** that is
#
# - **safe**: true mean KL at most $\delta$, and
# - **better**: $L$ above its value at $\theta_{\text{old}}$.
#
# If none is, it stays where it is. Both conditions are needed, as two vans with one parameter $\theta$ show. The *reckless* one drives fast almost surely, $\sigma(\theta)$ everywhere. The *settled* one is careful on ice, $\sigma(\theta)$ and $\sigma(\theta-4)$, and already near the top of its $L$.

# %%
def tries(theta, on_ice, delta, count=6):  # true KL and gain of each try, (count,) each
    odds = torch.tensor([0.0, on_ice])

    def policy_of(theta):
        return torch.stack([(-theta - odds).sigmoid(), (theta + odds).sigmoid()], -1)

    before, at = policy_of(theta), torch.tensor(theta)
    A, w = road.advantages(before), 0.1 * road.visitation(before)
    g = jacobian(lambda theta: w @ (policy_of(theta) * A).sum(1), at)
    F = hessian(lambda theta: w @ divergence(before, policy_of(theta)), at)
    step = (2 * delta / (g * g / F)) ** 0.5 * g / F  # C59 with one parameter
    after = [policy_of(at + 0.5**i * step) for i in range(count)]
    kl_to = torch.stack([w @ divergence(before, new) for new in after])
    return kl_to, torch.stack([w @ (new * A).sum(1) for new in after])

# %% tags=["C61", "E12"]
for name, theta, on_ice, delta in (("reckless", 6.5, 0.0, 0.05), ("settled", 1.5, -4.0, 0.5)):
    kl_to, gain = tries(theta, on_ice, delta)
    good = (kl_to <= delta) & (gain > 0)
    first = int(good.double().argmax())  # the first True
    assert first == 2 and good[first]
    if name == "reckless":  # control: the full step gains, and is twenty times too far
        assert gain[0] > 0 and kl_to[0] > 20 * delta
    else:  # control: the full step is safe, and makes L worse
        assert kl_to[0] <= delta and abs(gain[0] + 0.175) < 0.001
    for i in range(first + 1):
        print(f"{name}, try {i}: KL {kl_to[i]:.3f} of {delta}, gain {gain[i]:+.4f}")

# %%
figure, ax = blank_panel()
pictures.plot_line_search(ax, *tries(1.5, -4.0, 0.5), delta=0.5)
ax.set_title("settled: safe at once, better from the third try on");

# %% [markdown]
# **What to notice.** Each try halves the parameters' step, so the KL falls by about four. The green region holds both conditions. The first tries stand left of the line, safe, but below zero: the linear model promised a gain that the bent $L$ does not keep.
#
# > **Erratum E12, second half (slide 58).**
# >
# > - **The lecture says:** the line search ensures that the true KL constraint is satisfied.
# > - **Right is:** it also asks that the surrogate **rises**.
# > - **The number:** the settled van's full step is safe (KL 0.366 of 0.5) and lowers $L$ by **0.175**.

# %% [markdown]
# ## Watch it learn
#
# A TRPO learner on a cliff walk with 24 places, recorded (`benchmarks/recordings/grid_learners.py`): a softmax table, 20 episodes an update, $\delta = 0.03$. Arrows are as long as an action is likely, places as dark as they are visited, and a bar is the mean KL of an update (C54). Press play.

# %%
film = recorded("grid_learners")
cliff = cliff_walk(**film["settings"]["world"])
logits = torch.tensor(film["learners"]["TRPO"]["milli_logits"]) / 1000  # (31, S, A)
learner = {"TRPO": logits.softmax(-1)}


def moment(update):
    return grids.film_frame(cliff, 6, learner, update)


strip = grids.film_strip(cliff, 6, learner, (0, 4, 10, 30))  # for paper
Slider(moment, [*range(11), 13, 16, 20, 25, 30], 0, "update", still=strip)

# %% [markdown]
# **What to notice.** It first learns not to fall, then to climb the left edge, then to walk along the second row, where one gust of wind does no harm. Nearly all steps are of one height: as far as the constraint allows. Lecture 7 shows REINFORCE and PPO beside it.

# %% [markdown]
# ## What we have
#
# | step | theory | practice | what is lost, as measured here |
# |---|---|---|---|
# | bound | $D^{\max}_{\text{TV}}$, any two policies (C47) | KL (C50) | a factor of 2 (E11) |
# | penalty | $C D^{\max}_{\text{KL}}$, never down (C51) | constraint $\delta$ (C53) | the guarantee; gained: 50 times fewer iterations |
# | states | maximum (C54) | mean over visits | rare states move further; the end is alike |
# | sums | exact | samples and ratios (C55, C56) | noise |
# | solution | edge of the region (C86) | $g$, $F$, conjugate gradient, line search (C57 to C61) | nothing, as $\delta\to0$ |
#
# ## Exercises
#
# 1. (C46) Show $\frac12\sum|p-q| = 1-\sum\min(p,q)$. Hint: $|x-y| = x + y - 2\min(x,y)$.
# 2. (C48) Two dice, one fair, one that never shows a six (the rest equally likely). How often can they agree at best?
# 3. (C49) For which pair of distributions is the total variation 1? What is the KL then?
# 4. (C51) Does the chain of inequalities still hold if $\pi_{i+1}$ only *raises* $M_i$ without maximising it?
# 5. (C58) Work out $F$ for one state and two actions as a function of $\theta_1-\theta_2$. For which policy is it largest?
# 6. (C59) Stretch the parameters, $\theta = 10\,\phi$. How do the gradient step and the natural gradient step change, as policies?
# 7. (C61) Why is the surrogate compared with its value at $\theta_{\text{old}}$ and not with zero? When is that the same?
#
# ## To the homework
#
# - [hw2](../homework/hw2.ipynb), **`surrogate`** is C56; **`kl`** is C54 and C55, from logits.
# - [hw2](../homework/hw2.ipynb), **`fisher_vector_product`** is the product of C60, from the mean KL of C58, with the damping of E12.
# - [hw2](../homework/hw2.ipynb), **`conjugate_gradient`** is C60, **`line_search`** C61, and **`trpo_step`** puts them together with the length of C59.
# - [hw2](../homework/hw2.ipynb), **`improvement_bounds`** has the bounds of C47 and C50, the latter with the factor of E11.
