# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rewards-to-go, occupancy and variance
#
# **Lecture 3** of the policy-gradient course. Reading time: about 15 minutes. It runs in a few seconds.
#
# Lecture 2 ended with two estimators of the same gradient. Which one is better, and is there a better one still? To find out we change our point of view: from *trajectories*, which are many, to *visits of states*, which are few. The note's equations (4) to (6) are this change of view and the way back.
#
# | | |
# |---|---|
# | **Covers** | note, sections 2.1 and 2.2, equations (2) to (6); slides 28 and 43 |
# | **Assumes** | [lecture 2](02_policy_gradient.ipynb): the score, REINFORCE-1 and -2; $V$, $Q$, $A$ from [lecture 1](01_objective.ipynb) |
# | **Prepares** | [homework 1](../homework/hw1.ipynb): `exact_gradient`, `reinforce_1`, `returns_to_go`, `reinforce_2`, `estimator_variances` |
#
# Headings carry the claim they establish, such as C80.

# %%
from collections import Counter

import torch
from torch.autograd.functional import jacobian

from course_lib.episodes import sample_episodes
from course_lib.figures import rewards_to_go as figures
from course_lib import mdp as worlds
from course_lib.figures.basic import world_map
from course_lib.figures.objective import plot_ascent
from course_lib.figures.style import blank_panel
from course_lib.many_mdps import random_mdps, random_policies
from course_lib.mdp import TabularMDP, trajectories
from course_lib.policies import softmax_policy

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10

# %% [markdown]
# ## The courier finds a shortcut
#
# This is the courier of lecture 2: at each place she goes *steady* (0) or *hasty* (1), until she is home. But the town has opened a path from the depot straight to the ferry. So she can now be at the ferry at step 1 *or* at step 2: time and place have become two different things.

# %%
spots = {"depot": (0, 0.5), "street": (1, 1), "park": (1.2, 0.5), "bridge": (2, 1)}
spots |= {"ferry": (2, 0), "home": (3, 0.5)}
roads = [("depot", "street"), ("depot", "park"), ("depot", "ferry"), ("street", "bridge")]
roads += [("street", "ferry"), ("park", "bridge"), ("park", "ferry")]
figure, ax = blank_panel(6.4, 2.1)
world_map(ax, spots, [*roads, ("bridge", "home"), ("ferry", "home")]);

# %%
gamma, T = 0.8, 3
transitions = torch.zeros(6, 2, 6)  # (S, A, S)
transitions[0, 0, [1, 2, 4]] = torch.tensor([0.7, 0.2, 0.1])  # depot, steady
transitions[0, 1, [1, 2, 4]] = torch.tensor([0.2, 0.4, 0.4])  # depot, hasty
transitions[1, :, 3:5] = torch.tensor([[0.9, 0.1], [0.4, 0.6]])  # street to bridge, ferry
transitions[2, :, 3:5] = torch.tensor([[0.6, 0.4], [0.1, 0.9]])  # park to bridge, ferry
transitions[3:, :, 5] = 1.0
rewards = torch.tensor([[1, 2], [0, 1], [3, -1], [2, 4], [0, 5], [0, 0]]).double()  # (S, A)
courier = TabularMDP(transitions, rewards, gamma, torch.eye(6)[0], torch.eye(6)[5].bool())

theta = torch.tensor([[0.3, -0.2], [0.5, 0.1], [-0.4, 0.4], [0.2, -0.6], [0.7, 0.0], [0.0, 0.0]])
policy = softmax_policy(theta)
exact = courier.policy_gradient(theta)  # (S, A): from linear equations, our judge
places = ["depot", "street", "park", "bridge", "ferry"]

# %% [markdown]
# The names below are those of lecture 2. (The note counts steps with $h$ up to $H$. We write $t$ and $T$.) A ride that is home early waits there until step 3, with reward 0.

# %%
def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)


def action_log_probs(theta):  # (N, T): log pi(a_t | s_t)
    return softmax_policy(theta)[states, actions].log()


def over_all(weights, table):  # sum over trajectories of weight times vector
    return torch.einsum("n,nsa->sa", weights, table)


paths = trajectories(courier, policy, T)
probabilities, states, actions = paths.probabilities, paths.states[:, :T], paths.actions
discounts = gamma ** torch.arange(T)
discounted = discounts * paths.rewards  # (N, T): gamma^t r_t
returns = discounted.sum(1)  # (N,): R(tau)
step_scores = jacobian(action_log_probs, theta)  # (N, T, S, A): grad log pi(a_t | s_t)
step_scores[states == 5] = 0.0  # who waits at home decides nothing

# %% [markdown]
# ### What a ride's probability predicts (C75)
#
# *Note, section 2.1.* The note writes the probability of a trajectory out in full:
#
# $$P^\pi(\tau) = d_0(s_0)\,\pi(a_0\mid s_0)\,P(s_1\mid s_0,a_0)\cdots\pi(a_{T-1}\mid s_{T-1})\,P(s_T\mid s_{T-1},a_{T-1}).$$
#
# Do these numbers describe what happens? We let the courier ride 20,000 times and count. There are 36 different rides (waiting at home makes no new one), and each share should be within 4.5 standard errors of its $P^\pi$. (For 36 right numbers that fails once in 4,000 seeds.)

# %% tags=["C75"]
def shares_under(probabilities):  # ride -> probability, waiting at home left out
    shares = Counter()
    for row, p in enumerate(probabilities.tolist()):
        steps = int((states[row] != 5).sum())
        shares[str((states[row, :steps].tolist(), actions[row, :steps].tolist()))] += p
    return shares


expected = shares_under(probabilities)
rides = sample_episodes(courier, policy, 20_000, torch.Generator().manual_seed(0))
counted = Counter(str((ride.states.tolist(), ride.actions.tolist())) for ride in rides)
share = torch.tensor([counted[ride] / len(rides) for ride in expected])
p = torch.tensor(list(expected.values()))
print(len(expected), "rides; the rarest has probability", f"{p.min():.4f}")

# %% tags=["C75"]
def standard_errors_off(p):
    return ((share - p).abs() / (p * (1 - p) / len(rides)).sqrt()).max()


coin = trajectories(courier, torch.full((6, 2), 0.5), T).probabilities  # the same rows
p_coin = torch.tensor([shares_under(coin)[ride] for ride in expected])

assert len(p) == 36 and same(p.sum(), torch.tensor(1.0))
assert counted.keys() <= expected.keys()  # nothing happens that the formula rules out
assert standard_errors_off(p) < 4.5
assert standard_errors_off(p_coin) > 20  # control: another policy's probabilities do not fit
print(f"off by {standard_errors_off(p):.1f} standard errors, the coin's by "
      f"{standard_errors_off(p_coin):.0f}")

# %%
figure, ax = blank_panel(6.0, 3.6)
figures.plot_shares(ax, p, share, len(rides));

# %% [markdown]
# **What to notice.** From the rarest ride to the commonest, a factor of a hundred, the shares lie on the line.
#
# > **Erratum E19, second part (note, the line above equation (2)).**
# >
# > - **The note says:** $\nabla\log\big(d_0(s_0)\,\pi(a_0\mid s_0)\,P(s_1\mid s_0,a_0)\cdots\pi(a_{H-1}\mid s_{H-1})\big)$. The product stops at the last action.
# > - **Right is:** the factor $P(s_H\mid s_{H-1},a_{H-1})$ of the last transition belongs there too. (It holds no $\theta$ and is back in the note's next line, so the gradient comes out right.)
# > - **The number:** without it the product is not the probability of $\tau$. Over the first two steps of all rides it sums to **1.79**.

# %% tags=["C75", "E19"]
two = trajectories(courier, policy, 2)
moves = transitions[two.states[:, :2], two.actions, two.states[:, 1:]]  # (N, 2)
chosen = policy[two.states[:, :2], two.actions].prod(1)
full, shortened = chosen * moves.prod(1), chosen * moves[:, 0]

assert same(full.sum(), torch.tensor(1.0))
assert shortened.sum() > 1.5  # control: the shortened product is no distribution
print(f"with the last transition {full.sum():.2f}, without it {shortened.sum():.2f}")

# %% [markdown]
# ## Planning: the exact gradient by listing everything (C76)
#
# *Note, equation (2).* If we know the world, we can compute the sum over all trajectories as it stands:
#
# $$\nabla J(\pi) = \sum_\tau R(\tau)\,P^\pi(\tau)\sum_{t=0}^{T-1}\nabla\log\pi(a_t\mid s_t).$$
#
# For a softmax table the inner sum is a matter of counting. Let $n_\tau(s)$ be how often $\tau$ visits $s$, and $n_\tau(s,a)$ how often it takes $a$ there. Each visit adds "taken minus expected" (C19), so
#
# $$\sum_t\frac{\partial\log\pi_\theta(a_t\mid s_t)}{\partial\theta_{s,a}} = n_\tau(s,a) - \pi_\theta(a\mid s)\,n_\tau(s).$$
#
# We compute the sum in random worlds whose episodes last exactly $H$ steps, for $H = 1$ to $6$.

# %%
def tally_scores(paths, policy):  # (N, S, A)
    rows = torch.arange(len(paths.actions))[:, None]
    taken = torch.zeros(len(rows), *policy.shape)
    here = (rows, paths.states[:, :-1], paths.actions)
    taken.index_put_(here, torch.ones(()), accumulate=True)
    return taken - taken.sum(2, keepdim=True) * policy


on_the_way = tally_scores(paths, policy)[:, :5]
assert same(on_the_way, step_scores.sum(1)[:, :5])  # the same score as by autograd

# %% tags=["C76"]
generator = torch.Generator().manual_seed(1)
horizons, listed, unknowns = torch.arange(1, 7), [], []
for H in horizons.tolist():
    world = worlds.random_layered_mdp(H, 2, 2, 0.9, generator)  # two states a step, two actions
    at = torch.randn(world.states, 2, generator=generator)
    all_paths = trajectories(world, softmax_policy(at), H)
    scores = tally_scores(all_paths, softmax_policy(at))
    weights = all_paths.probabilities * (all_paths.rewards @ 0.9 ** torch.arange(H))
    assert same(over_all(weights, scores), world.policy_gradient(at))
    half = weights * (torch.arange(len(weights)) % 2)
    assert not same(over_all(half, scores), world.policy_gradient(at))  # control: half the list
    listed.append(len(weights))
    unknowns.append(world.states)

# %%
listed, unknowns = torch.tensor(listed), torch.tensor(unknowns)
assert torch.equal(listed, 4**horizons)
figure, ax = blank_panel(6.5, 3.6)
names = ["trajectories to list, equation (2)", "unknowns to solve for, equation (4)"]
figures.plot_growth(ax, horizons, dict(zip(names, [listed, unknowns])));

# %% [markdown]
# **What to notice.** There are $4^H$ trajectories: four thousand at six steps, a million at ten. The linear equations behind our exact gradient have two more unknowns for each step, and both give the same gradient to ten digits. So a sum over *states* must hide in the sum over trajectories. We look for it in the next sections.

# %% [markdown]
# ### Learning: one ride is enough, on average (C77)
#
# *Note, equation (3).* If we do not know the world, we ride. **REINFORCE-1** takes a single trajectory and returns
#
# $$\hat g_1(\tau) = R(\tau)\sum_{t=0}^{T-1}\nabla\log\pi(a_t\mid s_t), \qquad \mathbb{E}_\tau[\hat g_1(\tau)] = \nabla J.$$
#
# We check the mean exactly, over all trajectories, and on the 20,000 rides. For ten parameters we allow 4 standard errors.

# %% tags=["C77"]
whole_form = returns[:, None, None] * step_scores.sum(1)  # (N, S, A): REINFORCE-1
assert same(over_all(probabilities, whole_form), exact)

row_of = {str(row): n for n, row in enumerate(torch.cat([states, actions], 1).tolist())}
rows = []  # each ride's row in the table; waiting at home is filled in
for ride in rides:
    home, idle = [5] * (T - len(ride)), [0] * (T - len(ride))
    rows.append(row_of[str(ride.states.tolist() + home + ride.actions.tolist() + idle)])
estimates = whole_form[rows, :5]  # (rides, 5, A)
mean, error = estimates.mean(0), estimates.std(0) / len(rides) ** 0.5
assert ((mean - exact[:5]).abs() < 4 * error).all()
per_step = mean / torch.tensor([len(ride) for ride in rides]).double().mean()
assert ((per_step - exact[:5]).abs() > 4 * error).any()  # control: mean over steps, not the sum

# %% [markdown]
# It is right on average. What about a single ride? We look at each estimate's component along the true gradient. Where it is negative, this ride alone would send us downhill.

# %% tags=["C77"]
def along(table):  # (N,): component of each estimate along the gradient
    return (table * exact).sum((1, 2)) / exact.norm()


wrong_way = probabilities @ (along(whole_form) < 0).double()
assert same(probabilities @ along(whole_form), exact.norm())  # the mean is the full length
assert 0.6 < wrong_way < 0.7
print(f"{wrong_way:.0%} of the rides point downhill")

# %% [markdown]
# Two rides in three point the wrong way, and still the mean is right: the remaining third pulls harder. Weights that vary less would help.

# %% [markdown]
# ## Discounted visits (C36)
#
# *Slide 43.* How much does a state matter? We count its visits, and let a visit at step $t$ weigh $\gamma^t$, as a reward would:
#
# $$\rho_\pi(s) = P(s_0 = s) + \gamma P(s_1 = s) + \gamma^2 P(s_2 = s) + \dots = \sum_t\gamma^t P(s_t = s).$$
#
# One step of the policy moves the distribution over states by a matrix, $P_\pi(s,s') = \sum_a\pi(a\mid s)\,p(s'\mid s,a)$. A visit is either at the start, with distribution $d_0$, or one step after another visit. So $\rho = d_0 + \gamma P_\pi^\top\rho$, a linear system. We compare its solution with counts on the rides. (A ride that is home after $k$ steps stays there for ever, which weighs $\gamma^k + \gamma^{k+1} + \dots = \gamma^k/(1-\gamma)$.)

# %% tags=["C36"]
step_matrix = torch.einsum("sa,sat->st", policy, transitions)  # (S, S)
rho = torch.linalg.solve(torch.eye(6) - gamma * step_matrix.T, courier.start)

visits = torch.zeros(len(rides), 6)
for row, ride in enumerate(rides):
    visits[row].index_add_(0, ride.states, discounts[: len(ride)])
    visits[row, 5] = gamma ** len(ride) / (1 - gamma)
error = visits.std(0) / len(rides) ** 0.5

assert same(rho, courier.visitation(policy))
assert ((visits.mean(0) - rho).abs() <= 4 * error).all()  # the depot's count never varies
undiscounted = (visits[:, :5] > 0).double().mean(0)
assert ((undiscounted - rho[:5]).abs() > 4 * error[:5]).any()  # control: gamma^t matters
print("solved ", rho, "\ncounted", visits.mean(0))

# %% [markdown]
# Suppose each visit of $s$ pays $f(s)$. Then we may add up over time, or state by state with weights $\rho$:
#
# $$\mathbb{E}\Big[\sum_t\gamma^t f(s_t)\Big] = \sum_t\sum_s\gamma^t P(s_t = s)\,f(s) = \sum_s\rho_\pi(s)\,f(s).$$
#
# That is the step slide 43 takes. We check it here, and the solution against 600 terms of the series in 1,000 random worlds.

# %% tags=["C36"]
f = torch.randn(6, generator=generator) * ~courier.terminal  # nothing is paid at home
by_time = probabilities @ (f[states] * discounts).sum(1)
assert same(by_time, rho @ f)
assert not same(probabilities @ f[states].sum(1), rho @ f)  # control: without gamma^t

many = random_mdps(1000, 5, 3, generator)  # M = 1,000 worlds, S = 5, A = 3
policies = random_policies(1000, 5, 3, generator)
matrices = torch.einsum("msa,msat->mst", policies, many.transitions)
where, series = many.start, torch.zeros(1000, 5)
for t in range(600):
    series = series + many.gammas[:, None] ** t * where
    where = torch.einsum("ms,mst->mt", where, matrices)
assert same(many.visitation(policies), series)

# %%
parts = [courier.start * 1.0]
for t in range(1, T):
    parts.append(gamma * parts[-1] @ step_matrix)
figure, ax = blank_panel()
figures.plot_visits_by_step(ax, torch.stack(parts)[:, :5], places);

# %% [markdown]
# **What to notice.** The ferry's bar is made of visits at step 1 and at step 2, and the later ones have been discounted once more. From here on only the full height of a bar counts: $\rho$ no longer says *when*.

# %% [markdown]
# ### Occupancy sums to 1/(1 - gamma) (C81)
#
# *Note, section 2.2.* Add the action, and $\rho$ becomes the **occupancy** of state-action pairs:
#
# $$d^\pi(s,a) = \sum_{t}\gamma^t\,\Pr(s_t = s,\,a_t = a) = \rho_\pi(s)\,\pi(a\mid s).$$
#
# It is not a distribution. At every step we are *somewhere* (waiting at home counts), so the total is $\sum_t\gamma^t = \frac{1}{1-\gamma}$, in our town 5.

# %% tags=["C81"]
d = courier.occupancy(policy)  # (S, A)
assert same(d, rho[:, None] * policy)
assert same(d.sum(), torch.tensor(1 / (1 - gamma)))
occupancies = many.visitation(policies)[:, :, None] * policies  # (M, S, A)
assert same(occupancies.sum((1, 2)), 1 / (1 - many.gammas))
assert not same(d.sum(), torch.tensor(1.0))  # control: it is no probability
on_the_road = d[:5].sum()
print(f"in all {d.sum():.3f}, of it on the road {on_the_road:.3f}")

# %% [markdown]
# > **Erratum E19, third part (note, definition of $d^\pi$).**
# >
# > - **The note says:** $d^\pi(s,a) := \sum_{h=0}^{\infty}\gamma^{t}\, d_h^\pi(s,a)$, with an exponent that the sum does not run over.
# > - **Right is:** $\gamma^h$.
# > - **The number:** read as printed, every step weighs the same and the sum has no limit. After 100 steps with $t = 1$ it is already **80** where the right one is 5.

# %% tags=["C81", "E19"]
pairs, where = [], courier.start  # Pr(s_h = s, a_h = a) for h = 0 ... 99
for h in range(100):
    pairs.append(where[:, None] * policy)
    where = where @ step_matrix
pairs = torch.stack(pairs)  # (100, S, A)
as_printed = gamma**1 * pairs.sum(0)
as_meant = torch.einsum("h,hsa->sa", gamma ** torch.arange(100), pairs)
assert same(as_printed.sum(), torch.tensor(80.0))
assert torch.allclose(as_meant, d, rtol=0, atol=1e-8)  # control: with gamma^h it is d

# %% [markdown]
# ### Averages over time are averages over occupancy (C82)
#
# *Note, equation (5), whose proof it leaves out.* For any function $f$ of state and action,
#
# $$\mathbb{E}_{(s,a)\sim d^\pi}\big[f(s,a)\big] := \sum_{s,a} d^\pi(s,a)\,f(s,a) = \mathbb{E}_{\tau\sim\pi}\Big[\sum_{t}\gamma^t f(s_t,a_t)\Big].$$
#
# The proof is one line. An expectation is a sum over outcomes, so $\mathbb{E}[f(s_t,a_t)] = \sum_{s,a}\Pr(s_t=s,a_t=a)\,f(s,a)$; multiply by $\gamma^t$, add over $t$, and exchange the sums.
#
# This is also a recipe: **to average over $d^\pi$, ride along with $\pi$ and weigh step $t$ by $\gamma^t$.**

# %% tags=["C82"]
f = torch.randn(6, 2, generator=generator) * ~courier.terminal[:, None]  # 0 at home
over_occupancy = (d * f).sum()
over_time = probabilities @ (discounts * f[states, actions]).sum(1)
sampled = torch.stack([discounts[: len(r)] @ f[r.states, r.actions] for r in rides])
error = sampled.std() / len(rides) ** 0.5

assert same(over_occupancy, over_time)
assert (sampled.mean() - over_occupancy).abs() < 4 * error
pooled = torch.cat([f[r.states, r.actions] for r in rides])  # all steps in one bag
assert (pooled.mean() - over_occupancy).abs() > 4 * error  # control: the bag forgets gamma^t
print(f"exact {over_occupancy:.4f}, rides {sampled.mean():.4f} +- {2 * error:.4f} (95 %)")

# %% [markdown]
# (The control is not far-fetched. Most code puts all steps into one buffer and averages. More about that at E8.)

# %% [markdown]
# ## The action-value form (C80)
#
# *Note, equation (4).* Now we can do without trajectories. We start from the rewards-to-go of lecture 2:
#
# $$\begin{aligned}
# \nabla J &= \mathbb{E}\Big[\sum_t\gamma^t G_t\,\nabla\log\pi(a_t\mid s_t)\Big] \\
# &= \mathbb{E}\Big[\sum_t\gamma^t\, Q^\pi(s_t,a_t)\,\nabla\log\pi(a_t\mid s_t)\Big] \\
# &= \mathbb{E}_{(s,a)\sim d^\pi}\big[Q^\pi(s,a)\,\nabla\log\pi(a\mid s)\big].
# \end{aligned}$$
#
# The second line replaces $G_t$ by its mean, given $s_t$ and $a_t$: that is what $Q$ is. The third is C82 with $f = Q\,\nabla\log\pi$. No time and no trajectory is left, only one term for each state and action. This is the small sum we looked for.
#
# We test it in 1,000 random worlds that never end. The other opinion comes from autograd, which differentiates the solution of the linear equations for $J$.

# %% tags=["C80"]
logits = policies.log().requires_grad_()  # (M, S, A)
many_policies = logits.softmax(-1)
objective = many.expected_return(many_policies).sum()
(judge,) = torch.autograd.grad(objective, logits)

V = many.values(policies)
Q = many.advantages(policies) + V[:, :, None]  # (M, S, A)
score = torch.eye(3) - policies[:, :, None, :]  # (M, S, A, A): d log pi(a|s) / d theta[s, b]
form_4 = torch.einsum("msa,msa,msab->msb", occupancies, Q, score)
assert same(form_4, judge)

evenly = torch.einsum("msa,msa,msab->msb", policies / 5, Q, score)
assert not same(evenly, judge)  # control: not every state counts the same
V_for_Q = torch.einsum("msa,ms,msab->msb", occupancies, V, score)
assert V_for_Q.abs().max() < 1e-10  # V knows no action, so it says nothing about actions

# %% [markdown]
# The last line of the code deserves a second look. Anything that depends on the state alone, put in the place of $Q$, contributes nothing, because a score has mean zero (C22). So it may also be *subtracted*: with $V$ the form becomes $\mathbb{E}_{d^\pi}[A^\pi(s,a)\,\nabla\log\pi(a\mid s)]$, and for a softmax table simply
#
# $$\frac{\partial J}{\partial\theta_{s,a}} = \rho_\pi(s)\,\pi(a\mid s)\,A^\pi(s,a).$$
#
# Three factors: how often we get there, how often we do that, how much better it is than usual. This is what `policy_gradient`, our exact gradient since lecture 1, computes.

# %% tags=["C80"]
A = many.advantages(policies)
assert same(occupancies * A, judge)
assert not same(occupancies * Q, judge)  # control: in this short form Q does not do

# %% [markdown]
# ### And back to something one can sample (C83)
#
# *Note, equation (6).* $d^\pi$ and $Q^\pi$ need a model of the world. C82 turns the average over $d^\pi$ back into rides, and a ride's own rewards stand in for $Q$. It is the chain of C80, walked in the other direction, as the note does:
#
# $$\begin{aligned}
# \nabla J(\pi) &= \mathbb{E}_{(s,a)\sim d^\pi}\big[Q^\pi(s,a)\,\nabla\log\pi(a\mid s)\big] && \text{(4), from C80} \\
# &= \mathbb{E}_\tau\Big[\sum_t\gamma^t\,Q^\pi(s_t,a_t)\,\nabla\log\pi(a_t\mid s_t)\Big] && \text{(6a), by C82} \\
# &= \mathbb{E}_\tau\Big[\sum_t\gamma^t\,G_t\,\nabla\log\pi(a_t\mid s_t)\Big] && \text{(6b), where } G_t = \sum_{t'=t}^{T-1}\gamma^{t'-t}r_{t'}.
# \end{aligned}$$
#
# The last step holds because $Q^\pi(s_t,a_t)$ is the mean of $G_t$, given $s_t$ and $a_t$. And $G_t$ needs no model: the rewards of the ride suffice. This is **REINFORCE-2**. First we check the reason for the last step, then the three lines.

# %% tags=["C83"]
later = torch.ones(T, T).triu()  # 1 where t' >= t
to_go = torch.einsum("nu,tu->nt", discounted, later) / discounts  # (N, T): G_t
action_values = courier.action_values(policy)  # (S, A)
Q_along = action_values[states, actions]  # (N, T)

for t in range(T):  # E[G_t | s_t, a_t], over all trajectories that pass through (s, a) at t
    for s, a in set(zip(states[:, t].tolist(), actions[:, t].tolist())):
        through = probabilities * ((states[:, t] == s) & (actions[:, t] == a))
        assert same(through @ to_go[:, t] / through.sum(), action_values[s, a])

# %% tags=["C83"]
def weighted(weights):  # (N, S, A): sum over t of gamma^t weight_t grad log pi(a_t | s_t)
    return torch.einsum("t,nt,ntsa->nsa", discounts, weights, step_scores)


table_scores = torch.eye(2) - policy[:, None, :]  # (S, A, A)
line_4 = torch.einsum("sa,sa,sab->sb", d, action_values, table_scores)
assert same(line_4, exact)
assert same(over_all(probabilities, weighted(Q_along)), exact)  # (6a)
assert same(over_all(probabilities, weighted(to_go)), exact)  # (6b)
average_Q = (probabilities @ Q_along).expand_as(Q_along)
loose = over_all(probabilities, weighted(average_Q))
assert same(average_Q[0], probabilities @ to_go)  # E[Q(s_t, a_t)] = E[G_t], and yet
assert loose.abs().max() < 1e-10  # control: an equal mean alone gives no gradient at all

# %% [markdown]
# About the control: the note justifies (6b), "roughly speaking", by $\mathbb{E}[Q(s_t,a_t)] = \mathbb{E}[G_t]$. That is true and not enough: a constant weight with that same mean gives gradient *zero*. What is needed is equality **given** $s_t$ and $a_t$, which we checked pair by pair.

# %% [markdown]
# > **Erratum E19, fourth part (note, equation (6)).**
# >
# > - **The note says:** $\sum_{h=0}^{H}$ and $\sum_{h'=h}^{H}$, for an episode of $H$ transitions.
# > - **Right is:** both sums end at $H-1$. In $s_H$ nothing is decided and nothing is paid.
# > - **The number:** a ride over the bridge has $H = 3$ rewards, $r_0, r_1, r_2$. The formula as printed asks for a fourth, and code that follows it stops with an `IndexError` (or worse, goes on with the next episode's first reward).
# >
# > The rest of E19 concerns section 3 of the note and waits for lectures 5 and 7.

# %% tags=["C83", "E19"]
long_ride = next(ride for ride in rides if len(ride) == 3)
H = len(long_ride)
assert len(long_ride.states) == len(long_ride.actions) == len(long_ride.rewards) == H == 3
try:
    long_ride.rewards[H]
    stopped = False
except IndexError:
    stopped = True
assert stopped and long_ride.rewards[H - 1] != 0  # control: index H - 1 is there, and pays

# %% [markdown]
# > **E8 again: what the missing $\gamma^t$ does (note, equation (6)).**
# >
# > - **Both sources have** $\gamma^t$ in front of the score. Much code leaves it out.
# > - **In lecture 2** each place had its own step, and without $\gamma^t$ its row came out $\gamma^{-t}$ times too long. The ferry now has two steps. Its row is $\sum_t P(s_t)\,/\,\sum_t\gamma^t P(s_t) =$ **1.43** times too long, between $1/\gamma = 1.25$ and $1/\gamma^2 = 1.5625$. In a table that is a positive factor for each row, and the step still leads uphill.
# > - **The number that hurts:** in a network, states *share* parameters, and the factors pull against each other. In the world below the true slope of $J$ in a probability $p$ is $+0.5$, and the code without $\gamma^t$ follows $-1$: **downhill, to the worst policy.**

# %% tags=["C83", "E8"]
dropped = torch.einsum("n,nt,ntsa->sa", probabilities, to_go, step_scores)  # no gamma^t
ferry = torch.tensor([probabilities @ (states[:, t] == 4).double() for t in range(T)])
factor = ferry.sum() / (discounts @ ferry)
assert same(dropped[4], factor * exact[4])  # a plain factor for the row
assert 1 / gamma < factor < 1 / gamma**2
assert same(discounts @ ferry, rho[4])  # control: kept, gamma^t gives the factor 1
print(f"the ferry's row is {factor:.3f} times too long")

# %% [markdown]
# The world: two decisions that look alike, two steps apart, with $\gamma = 0.5$. *Right* pays 1 at the first, *Left* pays 2 at the second. With one probability $p$ of *Right* for both, $J = p + \gamma^2\cdot 2(1-p) = 0.5 + 0.5\,p$. We climb with $\gamma^t$ and without, exactly, so that there is no noise.

# %%
twins, looks_like = worlds.aliased_twins()


def climb(visits_under, steps=200):
    logit, heights = torch.tensor(0.0), []  # of Right, at both twins
    for _ in range(steps):
        table = torch.stack([torch.stack([-logit, logit]) / 2] + [torch.zeros(2)] * 2)
        policy = table.softmax(1)[looks_like]  # (S, A)
        heights.append(twins.expected_return(policy))
        slopes = visits_under(policy) * (policy * twins.advantages(policy))[:, 1]  # (S,)
        logit = logit + slopes[looks_like == 0].sum()  # the twins share their parameter
    return torch.stack(heights)

# %% tags=["C83", "E8"]
Q_twins = twins.action_values(torch.full((4, 2), 0.5))[[0, 2]]  # (2, A)
gain = Q_twins[:, 1] - Q_twins[:, 0]  # of Right over Left, at each twin
assert same(torch.tensor([1.0, 0.5**2]) @ gain, torch.tensor(0.5))
assert same(torch.tensor([1.0, 1.0]) @ gain, torch.tensor(-1.0))

kept = climb(twins.visitation)  # 1, 0.5, 0.25, ...
forgotten = climb(lambda policy: torch.ones(4))  # each place is passed once, gamma^t left out

assert kept[-1] > 0.98 and (kept.diff() > 0).all()
assert forgotten[-1] < 0.52 and (forgotten.diff() < 0).all()  # control: gamma^t decides
print(f"J = {kept[0]:.2f} at first; kept {kept[-1]:.3f}, left out {forgotten[-1]:.3f}")

# %%
figure, ax = blank_panel(6.5, 3.6)
plot_ascent(ax, {"gamma^t kept": kept, "gamma^t left out": forgotten}, 1.0);

# %% [markdown]
# **What to notice.** The dashed curve is not noisy, it goes steadily the wrong way. In practice leaving out $\gamma^t$ often does no harm, because $\gamma$ is close to 1 and because what we want is often nearer to the undiscounted return anyway. **The homework keeps $\gamma^t$.**

# %% [markdown]
# ## What is it worth? Both sides of "usually" (C84)
#
# *Note, section 2.2.* The note says of (6) that its variance is *usually* lower than that of (3). Lecture 2 had one world for each side of that word. First our courier again, with four weights for the score that all give the right mean:

# %% tags=["C84"]
def total_variance(table):  # of one trajectory's estimate, summed over the parameters
    return torch.einsum("n,nsa->", probabilities, (table - exact) ** 2)


advantages_along = courier.advantages(policy)[states, actions]  # (N, T)
forms = {
    "whole return R": whole_form,
    "rewards-to-go G": weighted(to_go),
    "action value Q": weighted(Q_along),
    "advantage A": weighted(advantages_along),
}
variances = {name: total_variance(table).item() for name, table in forms.items()}
for name, table in forms.items():
    assert same(over_all(probabilities, table), exact)  # only right means are compared
    wrong = probabilities @ (along(table) < -1e-12).double()
    print(f"{name:16} variance {variances[name]:5.1f}, {wrong:.0%} of the rides point downhill")
assert sorted(variances.values(), reverse=True) == list(variances.values())

# %%
figure, ax = blank_panel(7.5, 4.0)
progress = {name: along(table) for name, table in forms.items()}
figures.plot_progress(ax, probabilities, progress, exact.norm().item());

# %% [markdown]
# **What to notice.** Each mark is a ride, its area the ride's probability. All rows have the same mean, the dashed line. Rewards-to-go pull the marks together, the exact $Q$ only a little more. The big gain is the last: $A = Q - V$ leaves out what was to be expected anyway (lecture 8).
#
# Is that the rule? We take 2,000 random worlds: three steps, two states each, random odds and policies. A trajectory is a choice of three states and three actions, 64 in all, so we can compute the exact variance in every world.

# %%
ways = torch.cartesian_prod(*[torch.arange(2)] * 6)  # (64, 6)
s, a, t = ways[:, :3], ways[:, 3:], torch.arange(3)
odds = torch.rand(2000, 3, 2, 2, 2, generator=generator) + 0.05  # (M, step, state, action, next)
odds = odds / odds.sum(-1, keepdim=True)
tables = torch.randn(2000, 3, 2, 2, generator=generator).softmax(-1)  # (M, step, state, action)
p_first = odds[:, 2, 0, 0][:, s[:, 0]]  # any distribution will do for the start
p_moves = odds[:, t[:2], s[:, :2], a[:, :2], s[:, 1:]].prod(-1)  # (M, 64)
p_ways = p_first * p_moves * tables[:, t, s, a].prod(-1)  # (M, 64)
score_rows = torch.nn.functional.one_hot(a, 2) - tables[:, t, s]  # (M, 64, 3, A)
assert same(p_ways.sum(1), torch.ones(2000))

# %% [markdown]
# In these worlds no state is met twice, so the scores of different steps stand in different rows of the table. Hence the mean square length of the estimate is $\mathbb{E}\big[\sum_t w_t^2\,\lVert\nabla\log\pi(a_t\mid s_t)\rVert^2\big]$, with $w_t$ the weight of step $t$. The variance is that minus the squared length of the mean, which is the same for $R$ and $G$.

# %%
def both_variances(paid):  # rewards (M, step, state, action) -> variance with R, variance with G
    r = 0.8**t * paid[:, t, s, a]  # (M, 64, 3)
    weights = {"R": r.sum(-1, keepdim=True).expand_as(r), "G": torch.einsum("mnu,tu->mnt", r, later)}
    answers, means = [], []
    for w in weights.values():
        rows = torch.einsum("mn,mnt,mnta->mnta", p_ways, w, score_rows)
        per_state = [rows * (s == state)[:, :, None] for state in range(2)]
        mean = torch.stack([part.sum(1) for part in per_state], 2)  # (M, 3, 2, A)
        second = torch.einsum("mn,mnt,mnta->m", p_ways, w**2, score_rows**2)
        answers.append(second - mean.square().sum((1, 2, 3)))
        means.append(mean)
    assert same(*means)  # R and G agree on the gradient, in every world
    return answers

# %% tags=["C84", "E7"]
paid = torch.rand(2000, 3, 2, 2, generator=generator)  # in [0, 1]
with_R, with_G = both_variances(paid)
mixed_R, mixed_G = both_variances(2 * paid - 1)  # the same, stretched to [-1, 1]
share_lower = (mixed_G < mixed_R).double().mean()

assert (with_G < with_R).all()  # rewards of one sign: lower, every time
assert 0.95 < share_lower < 1  # rewards of both signs: usually, and not always
assert (mixed_G / mixed_R).max() > 1.5  # and where not, it can cost a lot
assert not (mixed_G < mixed_R).all()  # control: with both signs "always" would be false
print(f"lower in {share_lower:.1%} of the worlds with rewards of both signs")
print(f"worst ratio {(mixed_G / mixed_R).max():.2f}, median {(mixed_G / mixed_R).median():.2f}")

# %%
figure, ax = blank_panel()
families = ["rewards in [-1, 1]", "rewards in [0, 1]"]
ratios = dict(zip(families, [mixed_G / mixed_R, with_G / with_R]))
figures.plot_variance_ratios(ax, ratios);

# %% [markdown]
# **What to notice.** To the left of the line rewards-to-go are better, and nearly everything is there: typically they halve the variance. The dotted family never crosses the line. If no reward is negative, $R \ge \gamma^t G_t \ge 0$, so every $w_t^2$ is at least as large with $R$. The hatched family has a tail across the line, where past and future rewards cancel each other.
#
# > **Erratum E7, the word "usually" (slide 28; note, section 2.2).**
# >
# > - **The slide says:** dropping past rewards reduces the variance. **The note says:** usually.
# > - **Right is:** the note's word. It is guaranteed only in special cases, such as rewards that are never negative and states that are met once.
# > - **The numbers:** lower in 100 % of 2,000 random worlds with rewards in $[0,1]$, and in about 97 % of those with rewards in $[-1,1]$. In the game below it goes from **0** to **0.5**.

# %% tags=["C84", "E7"]
game = worlds.cancelling_rewards()  # pays +1, then -1, whatever one does
even = torch.full((3, 2), 0.5)
plays = trajectories(game, even, 2)
at = plays.states[:, :2]
game_scores = torch.zeros(4, 2, 3, 2)  # (N, T, S, A)
for n in range(4):
    for step in range(2):
        game_scores[n, step, at[n, step]] = torch.eye(2)[plays.actions[n, step]] - 0.5
whole = torch.einsum("nu,ntsa->nsa", plays.rewards, game_scores)
ahead = torch.einsum("nu,tu,ntsa->nsa", plays.rewards, later[:2, :2], game_scores)
assert whole.abs().max() == 0  # R = 0 on every play: REINFORCE-1 makes no error at all
assert over_all(plays.probabilities, ahead).abs().max() < 1e-12  # the mean is right here too
noise = torch.einsum("n,nsa->", plays.probabilities, ahead**2)
assert same(noise, torch.tensor(0.5))  # control: by dropping the past we added this noise

# %% [markdown]
# ## What we have
#
# | equation | weight of the score | needs | averages over |
# |---|---|---|---|
# | (2) | $R(\tau)$ | the model | all trajectories |
# | (4) | $Q^\pi$ | the model | states and actions |
# | (3), REINFORCE-1 | $R(\tau)$ | rides | one ride, variance 18.6 |
# | (6), REINFORCE-2 | $\gamma^t G_t$ | rides | one ride, variance 11.2 |
# | (6) with advantages | $\gamma^t A^\pi$ | rides and a value function | one ride, variance 1.2 |
#
# All five have the same gradient as their mean. The last line shows what there is to gain, and why the rest of the course keeps estimating advantages.
#
# ## Exercises
#
# 1. (C75) Add 0.1 to the logit of *hasty* at the depot. About how many rides must you count to tell the new policy from the old by the share of hasty starts, with 2 standard errors between them?
# 2. (C36) A state leads back to itself with probability $q$, otherwise the episode ends. What is its $\rho$ if we start there? What happens as $\gamma q\to1$?
# 3. (C81) Show that the time on the road, `on_the_road`, is $\mathbb{E}\big[\frac{1-\gamma^k}{1-\gamma}\big]$ with $k$ the length of a ride.
# 4. (C82) Choose $f$ so that C82 becomes: (a) $J$; (b) the expected discounted number of hasty actions; (c) $1/(1-\gamma)$.
# 5. (C80) Prove (4) without trajectories: differentiate $V(s) = \sum_a\pi(a\mid s)\,Q(s,a)$ and unroll.
# 6. (E8) For which $\gamma$ does leaving out $\gamma^t$ turn the twins the wrong way? Which objective does it climb instead?
#
# ## To the homework
#
# - [hw1, question 1](../homework/hw1.ipynb#1.-Rewards-to-go): **`returns_to_go`** is the $G_t$ of C83. Its mean, given state and action, is $Q$.
# - [hw1, question 6](../homework/hw1.ipynb#6.-Planning:-the-exact-gradient): **`exact_gradient`** is the sum of C76, for any small world.
# - [hw1, question 7](../homework/hw1.ipynb#7.-The-gradient-from-one-episode:-REINFORCE-1): **`reinforce_1`** is $\hat g_1$ of C77: the whole discounted return times the sum of the scores.
# - [hw1, question 8](../homework/hw1.ipynb#8.-The-gradient-with-rewards-to-go:-REINFORCE-2): **`reinforce_2`** is line (6b) of C83 for one ride, with $\gamma^t$ kept (E8).
# - [hw1, question 9](../homework/hw1.ipynb#9.-What-rewards-to-go-are-worth): **`estimator_variances`** computes both sides of "usually", as C84 does.
