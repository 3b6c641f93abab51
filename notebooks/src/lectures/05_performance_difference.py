# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How far may one step go?
#
# **Lecture 5** of the policy-gradient course. Reading time: about 15 minutes. It runs in a few seconds.
#
# A gradient tells us which way is up. It does not say how far up goes. This lecture finds an exact formula for the difference between two policies, replaces the one part of it that we cannot compute, and works out what that replacement costs. From the cost comes the first step size with a guarantee.
#
# | | |
# |---|---|
# | **Covers** | slides 39 to 48; note, section 3.1 up to the surrogate $L(\theta)$ |
# | **Assumes** | $V$, $Q$ and advantages (lecture 1), the policy gradient (lecture 2), discounted visitation (lecture 3, C36) |
# | **Prepares** | [homework 2](../homework/hw2.ipynb): `performance_difference`, `improvement_bounds`, `surrogate`; and lecture 6, which needs all of it |
#
# Headings carry the claim they establish, such as C34.

# %%
import torch
from torch.autograd.functional import hessian, jacobian
from torch.nn.functional import one_hot

from course_lib.figures import performance_difference as pictures
from course_lib.figures.style import blank_panel, two_panels
from course_lib.many_mdps import random_mdps, random_policies
from course_lib.mdp import TabularMDP, cliff_walk
from course_lib.policies import softmax_policy
from course_lib.sliders import Slider

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# ## Two worlds to test on
#
# **The icy road.** A van drives for ever, on *dry* road or on *ice*, *slow* (action 0) or *fast* (action 1), with $\gamma = 0.9$.
#
# | where | gear | pays | next step on ice |
# |---|---|---|---|
# | dry | slow | 1 | 2 % |
# | dry | fast | 2 | 20 % |
# | ice | slow | 1 | 50 % |
# | ice | fast | -1 | 90 % |
#
# So *fast* is good on dry road and bad on ice, and driving fast is also what brings you onto the ice. Today's van is a careful one: it drives fast one time in ten, everywhere.

# %%
gamma = 0.9
ice = torch.tensor([[0.02, 0.2], [0.5, 0.9]])  # (S, A): chance that the next step is on ice
transitions = torch.stack([1 - ice, ice], dim=-1)  # (S, A, S)
rewards = torch.tensor([[1.0, 2.0], [1.0, -1.0]])  # (S, A)
start, never = torch.tensor([1.0, 0.0]), torch.tensor([False, False])
road = TabularMDP(transitions, rewards, gamma, start, never)


def van(fast_on_dry, fast_on_ice):
    fast = torch.tensor([fast_on_dry, fast_on_ice])
    return torch.stack([1 - fast, fast], dim=-1)  # (S, A)


old = van(0.1, 0.1)
for where, (slow, fast) in zip(("dry road", "ice"), road.advantages(old)):
    print(f"advantages on {where}: slow {slow:+.2f}, fast {fast:+.2f}")

# %% [markdown]
# **Random worlds.** One example can agree with a formula by luck, so every identity and every bound here also meets thousands of random MDPs, solved side by side. They range from nearly deterministic to well mixed, with $\gamma$ between 0.5 and 0.95, and each has two random policies.

# %%
M, S, A = 4000, 4, 3
generator = torch.Generator().manual_seed(0)
many = random_mdps(M, S, A, generator)
olds = random_policies(M, S, A, generator, spread=2.0)  # (M, S, A)
news = random_policies(M, S, A, generator, spread=2.0)
advantages = many.advantages(olds)  # (M, S, A), of the old policies


def gains(policies):  # (M,): how much better than the old policy, from two linear solves
    return many.expected_return(policies) - many.expected_return(olds)


print(f"{M} MDPs; the new policy is better in {(gains(news) > 0).double().mean():.0%} of them")

# %% [markdown]
# ### Policy iteration never steps back (C32)
#
# *Slide 39.* The standard to live up to is policy iteration: evaluate the policy, then take the greedy action everywhere. Its values never fall, $V^{\pi_{k+1}}(s) \ge V^{\pi_k}(s)$, in any state. (Why, we see in C38.)
#
# The catch is in "evaluate". A greedy step is as large as steps get, and it trusts every sign. Below, the same loop runs twice on a **cliff walk**: 12 places, a cliff between start and goal, and wind towards it. Once it reads exact action values, once values that are a little off, as a network's would be (noise of standard deviation 2, where a fall costs 10).

# %%
cliff = cliff_walk(slip=0.1)


def policy_iteration(noise, iterations=8):
    generator, policy, values = torch.Generator().manual_seed(1), torch.full((12, 4), 0.25), []
    for _ in range(iterations):
        values.append(cliff.values(policy))
        error = torch.randn(12, 4, generator=generator)
        read_off = cliff.action_values(policy) + noise * error
        policy = one_hot(read_off.argmax(1), 4).double()
    return torch.stack(values)  # (K, S)

# %% tags=["C32"]
exact_values, noisy_values = policy_iteration(noise=0.0), policy_iteration(noise=2.0)

rises = exact_values.diff(dim=0)  # (K - 1, S): change of every state's value
assert rises.min() > -1e-10
assert same(exact_values[-1], cliff.optimal_values())  # and it arrives
assert noisy_values.diff(dim=0).min() < -1  # control: greedy on values that are a little off
print(f"worst change: exact {rises.min():.1e}, noisy {noisy_values.diff(dim=0).min():.1f}")

# %%
figure, ax = blank_panel()
curves = {"exact values": exact_values[:, 8], "values a little off": noisy_values[:, 8]}
pictures.plot_iterations(ax, curves, "value of the start state, V(s_0)");

# %% [markdown]
# **What to notice.** With exact values the line climbs and stays. With noise it is thrown about for ever, since each step replaces the whole policy. What we want is the guarantee of policy iteration together with the small steps of a gradient method.

# %% [markdown]
# ## The same objective under another name (C33)
#
# *Slide 40.* From here on the slides write $\eta(\pi)$ for the discounted return that was $J(\theta)$ before:
#
# $$\eta(\pi) = \mathbb{E}\Big[\sum_{t=0}^{\infty}\gamma^t r(s_t,a_t)\Big] = \sum_s \rho_0(s)\,V^\pi(s) = J.$$
#
# Only the letter is new. We follow the distribution of $s_t$ through time, add up the discounted pay, and compare with $J$ from the linear solve.

# %% tags=["C33"]
def summed_over_time(policy, gamma, steps=400):  # gamma^400 is 5e-19
    at, total = start, 0.0  # at (S,): distribution of s_t
    for t in range(steps):
        total = total + gamma**t * (at[:, None] * policy * rewards).sum()
        at = torch.einsum("s,sa,sat->t", at, policy, transitions)
    return total


eta = road.expected_return  # a function of the policy
assert same(summed_over_time(old, gamma), eta(old))
assert same(start @ road.values(old), eta(old))
assert not same(summed_over_time(old, 0.95), eta(old))  # control: another discount is noticed
print(f"eta of the careful van: {eta(old):.3f}")

# %% [markdown]
# > **Erratum E18, letters with two meanings (slides 13, 40, 43, 59).**
# >
# > - **The lecture writes:** $\eta$ for the learning rate (slide 13) and for the return (slide 40); $\rho_0$ for the start, $\rho_\pi$ for visits (slide 43) and $\rho_t(\theta)$ for the probability ratio (slide 59), which the next line calls $r_t$, the letter of the reward.
# > - **We write:** `learning_rate` and $\eta(\pi)$; `start`, `visitation` and `ratio`.
# > - **The numbers** tell them apart, for the van and a faster one: the start sums to **1**, the visits to $1/(1-\gamma) =$ **10**, and the ratio has mean **1** under the old policy, in each state.

# %% tags=["C33", "E18"]
visits = road.visitation(old)  # (S,): rho_old(s), see C36 in lecture 3
ratio = van(0.5, 0.5) / old  # (S, A)
assert same(start.sum(), torch.tensor(1.0))
assert same(visits.sum(), torch.tensor(1 / (1 - gamma)))
assert same((old * ratio).sum(1), torch.ones(2))
assert not same(visits, start)  # control: two things called rho, and they differ
print(f"visits: dry {visits[0]:.2f}, ice {visits[1]:.2f}")

# %% [markdown]
# ### The performance difference (C34)
#
# *Slide 41; note, Lemma 1.* For any two policies $\pi$ and $\tilde\pi$:
#
# $$\eta(\tilde\pi) - \eta(\pi) = \mathbb{E}_{\tau\sim\tilde\pi}\Big[\sum_{t=0}^\infty \gamma^t A_\pi(s_t,a_t)\Big] = \sum_s \rho_{\tilde\pi}(s)\sum_a\tilde\pi(a\mid s)\,A_\pi(s,a).$$
#
# **Why.** Follow the new policy and let the old one's value function watch. The advantage is the surprise of one step, $A_\pi(s_t,a_t) = \mathbb{E}[\,r_t + \gamma V_\pi(s_{t+1}) - V_\pi(s_t)\mid s_t, a_t]$. Add up the surprises, discounted. Every $\gamma^{t+1}V_\pi(s_{t+1})$ meets its own negative in the next term, and what stays is
#
# $$\sum_t \gamma^t r_t - V_\pi(s_0),\quad\text{on average}\quad \eta(\tilde\pi)-\eta(\pi).$$
#
# The second form collects the terms of each state: $\rho_{\tilde\pi}(s) = \sum_t\gamma^t P(s_t = s)$ are the **new** policy's visits, the advantages are the **old** one's. No derivative, no small step: this is an identity.

# %% tags=["C34"]
def weighed(visits, policies, table):  # sum_s rho(s) sum_a pi(a|s) table(s, a), for each MDP
    return (visits[:, :, None] * policies * table).sum((1, 2))


old_visits, new_visits = many.visitation(olds), many.visitation(news)  # (M, S)
difference = weighed(new_visits, news, advantages)

assert same(difference, gains(news))
assert not same(weighed(old_visits, news, advantages), gains(news))  # control: the old visits
own = many.advantages(news)
assert not same(weighed(new_visits, news, own), gains(news))  # nor with its own advantages
print(f"{M} MDPs: largest deviation {(difference - gains(news)).abs().max():.1e}")

# %% [markdown]
# The two controls are the mistakes one really makes. With the old visits the formula is off by up to 15, and that very formula comes back as $L$ in C39. With its own advantages the new policy earns exactly nothing, which is the next point.

# %% [markdown]
# ### Advantages weigh to zero (C35)
#
# *Slide 42.* $V^\pi(s)$ is the mean of $Q^\pi(s,a)$ under $\pi$, and $A^\pi = Q^\pi - V^\pi$ is the distance from it. So under $\pi$ itself advantages average to zero, in every state:
#
# $$\sum_a \pi(a\mid s)\,A^\pi(s,a) = 0.$$
#
# Advantages are relative. An action is good only compared with what $\pi$ does on average.

# %% tags=["C35"]
means = (olds * advantages).sum(-1)  # (M, S)
assert same(means, torch.zeros(M, S))
assert not same((news * advantages).sum(-1), torch.zeros(M, S))  # control: other weights

# %% [markdown]
# > **Erratum E13 (slide 42).**
# >
# > - **The lecture shows:** four actions with advantages +1.4, -1.2, 0 and +1.8 around the mean.
# > - **Right is:** they are advantages only together with a policy that weighs them to zero.
# > - **The numbers:** the uniform policy averages them to **0.5**, so it cannot be the one. Probabilities (0.3, 0.5, 0.1, 0.1) do it: $0.42 - 0.60 + 0 + 0.18 =$ **0**.

# %% tags=["C35", "E13"]
slide_advantages = torch.tensor([1.4, -1.2, 0.0, 1.8])
weights = torch.tensor([0.3, 0.5, 0.1, 0.1])
assert same(weights @ slide_advantages, torch.tensor(0.0))
assert same(slide_advantages.mean(), torch.tensor(0.5))  # control: uniform weights do not
figure, ax = blank_panel()
pictures.plot_advantages(ax, weights, slide_advantages);

# %% [markdown]
# **What to notice.** A block is as wide as its action is likely, so its area is $\pi(a\mid s)\,A(s,a)$. The blue area above the line equals the hatched area below. The one bad action needs half of the probability to hold the two good ones in balance.

# %% [markdown]
# ### No state worse, no harm done (C37)
#
# *Slide 44.* Look at the difference formula again: visits are never negative. If the new policy's **expected advantage** $\bar A(s) = \sum_a\tilde\pi(a\mid s)A_\pi(s,a)$ is at least zero in *every* state, no term of the sum is negative, and the return cannot fall. We never need to know the new visits.

# %% tags=["C37"]
nudged = (olds.log() + torch.randn(M, S, A, generator=generator) / 2).softmax(-1)
policies = torch.stack([news, nudged])  # two candidates for each MDP
expected = (policies * advantages).sum(-1)  # (2, M, S)
gained = torch.stack([gains(news), gains(nudged)])  # (2, M)
nowhere_worse = (expected >= 0).all(-1)

assert nowhere_worse.sum() > 400
assert gained[nowhere_worse].min() > 0
mixed = (expected.mean(-1) >= 0) & ~nowhere_worse  # control: good on average over states
assert (gained[mixed] < 0).any()  # is not enough
print(f"{nowhere_worse.sum()} safe pairs, least gain {gained[nowhere_worse].min():.4f}")
print(f"good on average only: {(gained[mixed] < 0).sum()} of {mixed.sum()} lose")

# %% [markdown]
# > **Erratum E15 (slide 44).**
# >
# > - **The lecture says:** such an update is guaranteed to increase $\eta$, or leave it constant when the expected advantage is zero everywhere.
# > - **Right is:** $\eta$ rises strictly only if some state has a positive expected advantage *and the new policy visits it*.
# > - **The number:** give the van a garage that no road leads to, where it could earn 5 rather than 1. Learning to earn it has expected advantage **+4** there, zero elsewhere, and changes $\eta$ by **0**.

# %% tags=["C37", "E15"]
garage = torch.eye(3)[2].expand(1, 2, 3)  # state 2 leads to itself
wide = torch.cat([torch.nn.functional.pad(transitions, (0, 1)), garage])  # (3, 2, 3)
pay = torch.cat([rewards, torch.tensor([[1.0, 5.0]])])
lazy, keen = torch.cat([old, torch.eye(2)[:1]]), torch.cat([old, torch.eye(2)[1:]])
for first, change in ((0, 0.0), (2, 4 / (1 - gamma))):  # start on the road, start in the garage
    world = TabularMDP(wide, pay, gamma, torch.eye(3)[first], torch.zeros(3).bool())
    expected_advantage = (keen * world.advantages(lazy)).sum(1)
    assert same(expected_advantage, torch.tensor([0.0, 0.0, 4.0]))
    gain = world.expected_return(keen) - world.expected_return(lazy)
    assert same(gain, torch.tensor(change))  # control: started in the garage it does gain
    print(f"start in state {first}: eta changes by {gain:.1f}")

# %% [markdown]
# ### Why greedy policy iteration works (C38)
#
# *Slide 44.* Choose $\tilde\pi(s) = \arg\max_a A_\pi(s,a)$. The largest of some numbers is at least their mean, and the mean is zero (C35):
#
# $$\max_a A_\pi(s,a) \;\ge\; \sum_a\pi(a\mid s)A_\pi(s,a) = 0 \quad\text{in every state.}$$
#
# That is the condition of C37, so policy iteration never loses. The argument holds whatever the start, hence for each $V(s)$ by itself.

# %% tags=["C38"]
greedy = one_hot(advantages.argmax(-1), A).double()  # (M, S, A)
worst = one_hot(advantages.argmin(-1), A).double()

assert advantages.amax(-1).min() > -1e-10
assert gains(greedy).min() > -1e-10
assert (many.values(greedy) - many.values(olds)).min() > -1e-10  # in each state
assert gains(worst).max() < 1e-10  # control: the least advantage does the opposite
print(f"greedy step: gains between {gains(greedy).min():.3f} and {gains(greedy).max():.3f}")

# %% [markdown]
# ## The local approximation (C39)
#
# *Slide 45.* Why not simply maximise the difference formula? Since $\rho_{\tilde\pi}$ belongs to the policy we are looking for: to know its visits we would have to run it. So use the visits we have:
#
# $$L_\pi(\tilde\pi) = \eta(\pi) + \sum_s\rho_{\pi}(s)\sum_a\tilde\pi(a\mid s)\,A_\pi(s,a).$$
#
# This has a meaning of its own. Suppose the new policy decides at **one** step $t$ only, and the old one before and after. That changes the return by $\gamma^t\sum_s P(s_t = s\mid\pi)\,\bar A(s)$. Add this up over all $t$ and you have $L_\pi(\tilde\pi) - \eta(\pi)$. So **$L$ counts each change as if it were the only one**. What it misses is how changes work together: where the first one takes you, the second one acts.
#
# We check this without advantages or visits, by following 400 drivers through time, each of whom changes policy at one step of their own.

# %%
def L(new):
    return eta(old) + visits @ (new * road.advantages(old)).sum(1)


def gains_of_single_changes(new, steps=400):  # (T,): driver t uses `new` at step t alone
    at, earned = start.expand(steps, 2), torch.zeros(steps)
    for t in range(steps):
        policies = old.repeat(steps, 1, 1)  # (T, S, A)
        policies[t] = new
        earned += gamma**t * (at[:, :, None] * policies * rewards).sum((1, 2))
        at = torch.einsum("ns,nsa,sat->nt", at, policies, transitions)
    return earned - eta(old)

# %% tags=["C39"]
bold = van(0.8, 0.8)
single = gains_of_single_changes(bold)

assert same(single.sum(), L(bold) - eta(old))
assert not same(single.sum(), eta(bold) - eta(old))  # control: all changes at once
print(f"each change alone, added up: {single.sum():+.3f}")
print(f"all changes together:        {eta(bold) - eta(old):+.3f}")

# %% [markdown]
# Each single moment of boldness pays. Together they lose. In the picture a block is as wide as a state is visited, and as high as its expected advantage $\bar A(s)$. So the areas add up to $L - \eta(\pi)$ on the left, and to the true difference on the right.

# %%
figure, panels = two_panels()
expected = (bold * road.advantages(old)).sum(1)  # (S,)
for ax, whose, policy in zip(panels, ("old", "new"), (old, bold)):
    rho = road.visitation(policy)
    pictures.plot_contributions(ax, rho, expected, ["dry", "ice"])
    ax.set_title(f"{whose} visits: {rho @ expected:+.2f} in all")

# %% [markdown]
# **What to notice.** The heights are the same; only the widths differ. Bold driving fills the road with ice, where boldness is a mistake, and $L$ does not see it coming.

# %% [markdown]
# ### The note's surrogate, line by line (C85)
#
# *Note, section 3.1.* The note arrives at the same place through importance sampling. With $d^\pi(s,a) = \rho_\pi(s)\,\pi(a\mid s)$:
#
# | line | $J(\pi_\theta) - J(\pi_{\text{old}})$ | why |
# |---|---|---|
# | 1 | $= \mathbb{E}_{(s,a)\sim d^{\pi_\theta}}[A_{\text{old}}(s,a)]$ | performance difference |
# | 2 | $= \mathbb{E}_{s\sim d^{\pi_\theta},\,a\sim\pi_\theta}[A_{\text{old}}(s,a)]$ | split the pair |
# | 3 | $= \mathbb{E}_{s\sim d^{\pi_\theta},\,a\sim\pi_{\text{old}}}\big[\tfrac{\pi_\theta(a\mid s)}{\pi_{\text{old}}(a\mid s)}A_{\text{old}}(s,a)\big]$ | importance sampling of the **action**, exact |
# | 4 | $\approx \mathbb{E}_{s\sim d^{\pi_{\text{old}}},\,a\sim\pi_{\text{old}}}\big[\tfrac{\pi_\theta}{\pi_{\text{old}}}A_{\text{old}}\big]$ | the **states** are swapped: here, and only here, it is wrong |
# | 5 | $= \mathbb{E}_{(s,a)\sim d^{\pi_{\text{old}}}}\big[\tfrac{\pi_\theta}{\pi_{\text{old}}}A_{\text{old}}\big] = L(\theta)$ | join the pair |
#
# Lines 4 and 5 are the slides' $L_\pi(\tilde\pi)$ without its first term, $\eta(\pi)$.

# %% tags=["C85", "C79"]
ratio, A_old = bold / old, road.advantages(old)
d_old, d_new = road.occupancy(old), road.occupancy(bold)  # (S, A)
states_old, states_new = d_old.sum(1, keepdim=True), d_new.sum(1, keepdim=True)  # (S, 1)
lines = {
    1: (d_new * A_old).sum(),
    2: (states_new * bold * A_old).sum(),
    3: (states_new * old * ratio * A_old).sum(),
    4: (states_old * old * ratio * A_old).sum(),
    5: (d_old * ratio * A_old).sum(),
}
truth = eta(bold) - eta(old)
assert all(same(lines[n], truth) for n in (1, 2, 3))
assert all(same(lines[n], L(bold) - eta(old)) for n in (4, 5))
assert not same(lines[4], lines[3])  # control: the one step that is not an equality

# %%
for number, value in lines.items():
    off = (value - truth).round(decimals=4) + 0.0  # no "-0.0000"
    print(f"line {number}: {value:+.4f}   off by {off:+.4f}")

# %% [markdown]
# The ratio corrects which *actions* are taken. It does nothing about which *states* are met. All of the error is in the exchange of states, $\sum_s(\rho_{\text{old}}(s) - \rho_\theta(s))\,\bar A(s)$.
#
# > **Erratum E19, the part that belongs here (note, section 3.1).**
# >
# > - **The note says:** $\max_\theta J(\theta)$ is equivalent to maximising "$J(\pi_\theta)\;J(\pi_{\theta_{\text{old}}})$", and line 3 comes without a condition.
# > - **Right is:** a minus is missing, $J(\pi_\theta) - J(\pi_{\theta_{\text{old}}})$. And importance sampling needs **support**: $\pi_{\text{old}}(a\mid s) > 0$ wherever $\pi_\theta(a\mid s) > 0$.
# > - **The number:** let the old van never drive fast, and the new one always. The data hold no fast action, so line 3 adds up to **0.00**: "no difference". In truth the change costs **4.59**. What is never tried cannot be reweighted.

# %% tags=["C85", "E19"]
timid = van(0.0, 0.0)
visits_of_lever = road.visitation(van(1.0, 1.0))[:, None]  # (S, 1)


def line_3(old, ratio):
    return (visits_of_lever * old * ratio * road.advantages(old)).sum()


data_only = torch.where(timid > 0, van(1.0, 1.0) / timid, 0.0)  # (S, A): what was never tried: 0
truth = eta(van(1.0, 1.0)) - eta(timid)
assert line_3(timid, data_only).abs() < 1e-10 and abs(truth + 4.59) < 0.005
almost = van(1e-6, 1e-6)  # control: with support, however thin, line 3 is exact
assert same(line_3(almost, van(1.0, 1.0) / almost), eta(van(1.0, 1.0)) - eta(almost))
print(f"line 3 without support {line_3(timid, data_only):.2f}, truth {truth:.2f}")

# %% [markdown]
# ### Same value, same slope (C40)
#
# *Slide 45.* At the old policy itself nothing has changed yet, so the two visits agree. $L$ touches $\eta$ in value and in slope:
#
# $$L_{\theta_0}(\theta_0) = \eta(\theta_0),\qquad \nabla_\theta L_{\theta_0}(\theta)\big|_{\theta_0} = \nabla_\theta\eta(\theta)\big|_{\theta_0}.$$
#
# For the slope, apply the product rule to the difference formula. One term differentiates $\tilde\pi$ and is $\nabla L$. The other differentiates $\rho_{\tilde\pi}$, and there it is multiplied by $\bar A(s)$, which at $\theta_0$ is zero (C35). **The gradient of $L$ at the old policy is the policy gradient.**

# %% tags=["C40"]
theta_0 = old.log()


def eta_of(theta):
    return eta(softmax_policy(theta))


def L_of(theta):
    return L(softmax_policy(theta))


assert same(L_of(theta_0), eta_of(theta_0))
assert same(jacobian(L_of, theta_0), jacobian(eta_of, theta_0))
assert same(jacobian(L_of, theta_0), road.policy_gradient(theta_0))
assert not same(hessian(L_of, theta_0), hessian(eta_of, theta_0))  # control: not the curvature
elsewhere = theta_0 + torch.tensor([[0.0, 0.5], [0.0, 0.0]])
assert not same(jacobian(L_of, elsewhere), jacobian(eta_of, elsewhere))  # nor the slope elsewhere

# %% [markdown]
# ### A step too far (C41)
#
# *Slide 46.* "A small enough step that raises $L$ raises $\eta$" says nothing about how small. Let our van have **one gear lever for all roads**: it cannot see the ice, and drives fast with probability $x$ everywhere. (A network shares its weights between states in the same way.) We push the lever from $x = 0.1$ ($\alpha = 0$) to $x = 1$ ($\alpha = 1$) and watch both.

# %%
alphas = torch.linspace(0, 1, 91)
lever = van(1.0, 1.0)  # the end of the line


def along(target, function):  # the value at every mixture of old and target
    return torch.stack([function((1 - a) * old + a * target) for a in alphas])


true_line, L_line = along(lever, eta), along(lever, L)

# %% tags=["C41"]
free = one_hot(A_old.argmax(1), 2).double()  # may choose for each road by itself
true_free = along(free, eta)

assert L_line.diff().min() > 0  # L promises more with every step
assert true_line.argmax() not in (0, 90)  # the truth rises at first
assert true_line[-1] < true_line[0] - 5  # and ends far below where it began
assert true_free.diff().min() > 0  # control: if no state gets worse, there is no such fall
print(f"L: {L_line[0]:.2f} to {L_line[-1]:.2f};  eta: {true_line[0]:.2f} to {true_line[-1]:.2f}")

# %%
figure, ax = blank_panel()
pictures.plot_line(ax, alphas, true_line, L_line)
best = int(true_line.argmax())
ax.plot(alphas[best], true_line[best], "o", color="#0072B2");

# %% [markdown]
# **What to notice.** The lines leave the same point in the same direction, and that is all they share. $L$ is straight and sees no danger: on the careful van's visits ice is rare (0.62 of 10). The truth bends, peaks at about $\alpha = 1/3$, and in the end half of the return is lost. We need to know how far below $L$ the truth can be.

# %% [markdown]
# ## Conservative policy iteration (C42)
#
# *Slide 47.* Kakade and Langford's answer: do not replace the policy, **mix** it. In each state toss a coin that shows $\pi'$ with probability $\alpha$:
#
# $$\pi_{\text{new}}(a\mid s) = (1-\alpha)\,\pi_{\text{old}}(a\mid s) + \alpha\,\pi'(a\mid s),\qquad \pi' = \arg\max_{\pi'} L_{\pi_{\text{old}}}(\pi').$$
#
# The old policy earns no advantage against itself, so the mixture's expected advantage is $\alpha$ times that of $\pi'$, and along this line $L$ is exactly straight. For the lever the best $\pi'$ is "always fast".

# %% tags=["C42"]
levers = torch.stack([L(van(x, x)) for x in torch.linspace(0, 1, 101).tolist()])
assert levers.argmax() == 100  # pi' = always fast has the largest L of all levers

mixtures = (1 - alphas[:, None, None]) * old + alphas[:, None, None] * lever  # (P, S, A)
assert same(mixtures.sum(-1), torch.ones(91, 2)) and mixtures.min() >= 0
straight = L(old) + alphas * (L(lever) - L(old))
assert same(torch.stack([L(mixture) for mixture in mixtures]), straight)

theta_1 = van(0.9, 0.9).log()  # control: a mixture of logits is another line, and bends
bent = torch.stack([L_of((1 - a) * theta_0 + a * theta_1) for a in alphas])
assert not same(bent, L_of(theta_0) + alphas * (L_of(theta_1) - L_of(theta_0)))

# %% [markdown]
# ### What the mixture can lose (C43)
#
# *Slide 47.* With $\varepsilon = \max_s\big|\mathbb{E}_{a\sim\pi'}[A_\pi(s,a)]\big|$:
#
# $$\eta(\pi_{\text{new}}) \;\ge\; L_{\pi_{\text{old}}}(\pi_{\text{new}}) - \frac{2\varepsilon\gamma}{(1-\gamma)^2}\,\alpha^2.$$
#
# **Why**, in three moves:
#
# 1. Up to the first coin that shows $\pi'$, new and old drive alike. By step $t$ at least one of $t$ coins has done so with probability $1-(1-\alpha)^t \le \alpha t$. Only then can the visits at $t$ differ.
# 2. In any state the mixture's expected advantage lies in $\pm\alpha\varepsilon$. Where the visits differ, $L$ counts one such number in place of another: off by at most $2\alpha\varepsilon$.
# 3. Multiply and add up: $\sum_t\gamma^t\cdot\alpha t\cdot 2\alpha\varepsilon = 2\varepsilon\alpha^2\sum_t t\gamma^t = 2\varepsilon\alpha^2\,\frac{\gamma}{(1-\gamma)^2}$.
#
# One $\alpha$ is for leaving the known road, the other for doing something new there.

# %% tags=["C43"]
G = many.gammas


def gap_and_penalty(target, alpha):  # (M,) each
    mixture = (1 - alpha) * olds + alpha * target
    promised = weighed(old_visits, mixture, advantages)  # L(new) - eta(old)
    epsilon = (target * advantages).sum(-1).abs().amax(-1)  # (M,)
    return promised - gains(mixture), 2 * epsilon * G / (1 - G) ** 2 * alpha**2


tests = [(target, a) for target in (news, greedy, worst) for a in (0.01, 0.03, 0.1, 0.3, 1.0)]
gap, penalty = map(torch.stack, zip(*(gap_and_penalty(*test) for test in tests)))  # (15, M)
assert (gap <= penalty).all()
assert (gap.abs() <= penalty).all()  # the argument bounds both sides
assert (gap > penalty * 0.1).any()  # control: a tenth of the penalty would be violated
print(f"{gap.numel():,} steps: largest gap is {(gap / penalty).max():.0%} of the penalty")

# %% [markdown]
# On random worlds the bound has room to spare. Is the constant careless? No: there is a world that uses it up. The old policy waits for ever and earns nothing. Trying something new pays $+1$ the first time and from then on costs $1$ each time, since it has led to a place where it is a bad idea.

# %% tags=["C43"]
trap = TabularMDP(
    torch.tensor([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]]),  # trying leads from state 0 to 1
    torch.tensor([[0.0, 1], [0, -1]]), gamma, start, never,
)  # fmt: skip
wait, attempt = van(0.0, 0.0), van(1.0, 1.0)
alpha = 0.001
mixture = (1 - alpha) * wait + alpha * attempt
promised = trap.visitation(wait) @ (mixture * trap.advantages(wait)).sum(1)
missing = promised - trap.expected_return(mixture)  # eta(wait) = 0, and epsilon = 1
charged = 2 * gamma / (1 - gamma) ** 2 * alpha**2
assert 0.98 * charged < missing <= charged  # hence no smaller constant can hold for all worlds
assert missing > charged / 2  # control: half of the penalty is violated here
print(f"the trap uses {missing / charged:.1%} of the penalty")

# %% [markdown]
# ### Gain in alpha, penalty in alpha squared (C44)
#
# *Slide 47.* The promise grows like $\alpha$, the possible loss like $\alpha^2$. A square is the smaller one near zero, so **some step is always safe**, provided that there is anything to gain. We fit both exponents on the icy road.

# %% tags=["C44"]
steps = torch.logspace(-4, -2, 9)
points = [(1 - a) * old + a * lever for a in steps]
promises = torch.stack([L(point) - eta(old) for point in points])
misses = torch.stack([(eta(point) - L(point)).abs() for point in points])


def exponent(series):  # slope of the line through the points in the log-log plane
    x, y = steps.log() - steps.log().mean(), series.log()
    return (x * (y - y.mean())).sum() / x.pow(2).sum()


assert abs(exponent(promises) - 1) < 1e-8
assert abs(exponent(misses) - 2) < 0.02
actual = torch.stack([eta(point) - eta(old) for point in points])
assert abs(exponent(actual) - 2) > 0.9  # control: the true gain is of first order as well
print(f"exponents: promise {exponent(promises):.4f}, error of L {exponent(misses):.4f}")

# %%
figure, ax = blank_panel()
pictures.plot_gain_and_error(ax, steps, promises, misses);

# %% [markdown]
# **What to notice.** Ten times shorter a step costs ten times the gain and a hundred times the error. The two lines cross further right, near $\alpha = 0.64$: that is where the van really begins to lose. Slide along the line and see what the *guarantee* knows of that.

# %%
penalty_of_road = 2 * (lever * A_old).sum(1).abs().max() * gamma / (1 - gamma) ** 2


def zoom(alpha):  # the line from 0 to twice alpha, marked at alpha
    line = torch.linspace(0, min(2 * alpha, 1.0), 41)
    mixtures = [(1 - a) * old + a * lever for a in line]
    truth, surrogate = (torch.stack([f(p) for p in mixtures]) for f in (eta, L))
    bound = surrogate - penalty_of_road * line**2
    figure, ax = blank_panel()
    pictures.plot_line(ax, line, truth, surrogate, bound, at=alpha)
    ax.set_ylim(float(min(truth.min(), 2 * eta(old) - L(mixtures[-1]))), None)
    return figure


Slider(zoom, [0.003, 0.009, 0.02, 0.05, 0.1, 0.3, 0.6, 1.0], 0.009, "alpha")

# %% [markdown]
# **What to notice.** At $\alpha = 0.009$ the guaranteed return is at its best and above the start (dotted). By 0.02 the guarantee is gone, while the van would still gain at twenty times that. (Where the bound dives below the picture it is cut off.)

# %% [markdown]
# ## How conservative is that? (C45)
#
# *Slide 48.* Take $\gamma = 0.99$ and $\varepsilon = 1$. The constant is $C = 2\cdot 0.99/0.01^2 = 19{,}800$, and $\alpha = 0.01$ is charged $C\alpha^2 = 1.98$.
#
# > **Erratum E10 (slide 48).**
# >
# > - **The lecture says:** a penalty of 1.98 requires a substantial improvement of the surrogate to guarantee progress.
# > - **Right is:** no improvement can be that large. The gain in $L$ is at most $\alpha\varepsilon\sum_s\rho(s) = \alpha\varepsilon/(1-\gamma)$, so nothing at all can be guaranteed above $\alpha = \frac{1-\gamma}{2\gamma}$.
# > - **The number:** at $\alpha = 0.01$ the largest possible gain is **1.0**, less than 1.98. The last $\alpha$ with any guarantee is **0.00505**.

# %% tags=["C45", "E10"]
def largest_gain(alpha, gamma, epsilon=1.0):
    return alpha * epsilon / (1 - gamma)


def charge(alpha, gamma, epsilon=1.0):
    return 2 * epsilon * gamma / (1 - gamma) ** 2 * alpha**2


assert abs(charge(1.0, 0.99) - 19_800) < 1e-6 and abs(charge(0.01, 0.99) - 1.98) < 1e-10
assert largest_gain(0.01, 0.99) < charge(0.01, 0.99)  # 1.0 against 1.98
last = (1 - 0.99) / (2 * 0.99)
assert abs(largest_gain(last, 0.99) - charge(last, 0.99)) < 1e-12 and round(last, 5) == 0.00505
assert largest_gain(0.01, 0.9) > charge(0.01, 0.9)  # control: a nearer horizon allows the step

# %% tags=["C45", "E10"]
promised = weighed(old_visits, greedy, advantages)  # (M,): gain in L of a whole greedy step
epsilon = (greedy * advantages).sum(-1).abs().amax(-1)
assert (promised <= epsilon / (1 - G)).all()  # the largest gain, on 4,000 MDPs
assert (promised > 0.9 * epsilon / (1 - G)).any()  # control: nine tenths of it would not do

figure, ax = blank_panel()
x = torch.linspace(0, 0.012, 121)
pictures.plot_guarantee(ax, x, largest_gain(x, 0.99), charge(x, 0.99), last);

# %% [markdown]
# **What to notice.** A guarantee lives only in the green sliver, and only if every state is as improvable as the best. At its widest, half way to 0.00505, it is worth 0.126 of return, where the whole step might be worth a hundred.
#
# Why so little? The argument assumes the worst at every turn: that one deviation ruins all that follows, in all states at once. The trap of C43 does exactly that. Most worlds do not.
#
# The second limit is the mixture itself. A network cannot be mixed with another one: we can move its weights, and the policy moves as it will. Lecture 6 replaces $\alpha$ by a distance between policies.

# %% [markdown]
# ## What we have
#
# | | formula | is |
# |---|---|---|
# | difference (C34) | $\eta(\tilde\pi)-\eta(\pi) = \sum_s\rho_{\tilde\pi}(s)\bar A(s)$ | exact, needs the new visits |
# | surrogate (C39) | $L_\pi(\tilde\pi)-\eta(\pi) = \sum_s\rho_{\pi}(s)\bar A(s)$ | computable, right to first order |
# | price (C43) | $\lvert\eta - L\rvert\le\frac{2\varepsilon\gamma}{(1-\gamma)^2}\alpha^2$ | exact in the worst case, far off in most |
#
# ## Exercises
#
# 1. (C34) Write the telescoping sum out for an episode of three steps that ends in a terminal state. Where does $V_\pi(s_3)$ go?
# 2. (C35) Find another policy that weighs the four advantages of E13 to zero. How many are there?
# 3. (C37) Build a pair of policies with $\bar A(s) < 0$ in one state and $\eta(\tilde\pi) > \eta(\pi)$ all the same. Which of the two visits saves it?
# 4. (C39) Let all places of a world be equally likely next, whatever one does. Show that $L = \eta$ for every pair of policies.
# 5. (C43) Where in the three moves is $\gamma = 0$ special, and why is there no penalty then?
# 6. (C44) The bound is a parabola in $\alpha$. At which $\alpha$ is it highest, and how much is then guaranteed? Check with the slider.
#
# ## To the homework
#
# - [hw2](../homework/hw2.ipynb), **`performance_difference`** is the sum over states of C34, from tables; **`improvement_bounds`** begins with the mixture of C43 (lecture 6 has the other two bounds).
# - [hw2](../homework/hw2.ipynb), **`surrogate`** is line 5 of C85 with the expectation replaced by a mean over a batch of the old policy's steps. The table says which factor carries the gradient.
# - The written questions there ask what the bound of C43 says of a given step, and what happens to line 3 of C85 if the states are weighed as well.
