# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Values, policies and the objective
#
# **Lecture 1** of the policy-gradient course. Reading time: about 15 minutes. It runs in a few seconds.
#
# Before we climb a hill we should know which hill. This lecture says what a policy is, what number makes one policy better than another, and where that number depends on the parameters. All of it happens in worlds so small that every quantity can be computed exactly.
#
# | | |
# |---|---|
# | **Covers** | slides 3 to 14; note, section 1 and equation (1) |
# | **Assumes** | probability, gradients, some Python and torch; nothing about reinforcement learning |
# | **Prepares** | [lecture 2](02_policy_gradient.ipynb), which starts where this one ends; [homework 1](../homework/hw1.ipynb): `values_and_advantages`, `reinforce` |
#
# **How to read.** The course follows two sources: *the slides* (Peter Henderson, *Policy Gradients*) and *the note* (Qi Zhang, *Policy Optimization*). A heading carries the number of the claim it establishes, such as C06, and the code below it checks that claim. A line marked `control:` tries the check on something wrong, to show that it would notice. The argument is in the text; code may be skipped.

# %%
import matplotlib.pyplot as plt
import torch
from torch.autograd.functional import jacobian

from course_lib.episodes import sample_episodes
from course_lib.figures import objective as figures
from course_lib import mdp as worlds
from course_lib.figures.style import blank_panel
from course_lib.many_mdps import random_mdps
from course_lib.mdp import TabularMDP, finite_difference_gradient, trajectories
from course_lib.policies import softmax_policy

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# ## Where the course goes (C01)
#
# *Slide 3.* A **policy** is a rule for acting. Two ideas for making one better grew up apart. The first improves it step by step and can *prove* that it got better. The second follows a gradient and can be *run* with a neural network. They meet in TRPO. The names below need not mean anything yet: the course visits them one by one.

# %% tags=["C01"]
methods = {  # name: (year, column, lane)
    "policy iteration": (1960, 0, 2),
    "policy gradient\n(REINFORCE)": (1992, 1, 1),
    "natural PG": (2001, 2, 1),
    "CPI": (2002, 2, 2),
    "TRPO": (2015, 3, 1),
    "DDPG": (2015, 3, 0),
    "PPO": (2017, 4, 1),
    "GRPO": (2024, 5, 1),
}
names = list(methods)
PI, PG, NPG, CPI, TRPO, DDPG, PPO, GRPO = names
leads_to = [(PI, CPI), (PG, NPG), (CPI, TRPO), (NPG, TRPO), (TRPO, PPO), (PPO, GRPO), (PG, DDPG)]

# %% [markdown]
# A map can be wrong, so we check it. It must never lead back in time, each method must lead on to GRPO or to DDPG, and both old ideas must reach TRPO.

# %% tags=["C01"]
def reached_from(method, arrows):
    found = {method}
    for _ in names:
        found |= {head for tail, head in arrows if tail in found}
    return found


assert all(methods[tail][0] <= methods[head][0] for tail, head in leads_to)
assert all(reached_from(method, leads_to) & {GRPO, DDPG} for method in names)
assert TRPO in reached_from(PI, leads_to) & reached_from(PG, leads_to)
without_cpi = [arrow for arrow in leads_to if arrow != (CPI, TRPO)]
assert TRPO not in reached_from(PI, without_cpi)  # control: CPI is the bridge

# %%
figure, ax = blank_panel(9.5, 3.6)
lanes = ["deterministic policies", "follow the gradient", "improve, with proof"]
figures.plot_roadmap(ax, methods, leads_to, lanes);

# %% [markdown]
# **What to notice.** TRPO has two parents. So this course derives a gradient first (lectures 2 to 4), a guarantee second (lecture 5), and then puts them together.
#
# | on the map | where to read about it | here |
# |---|---|---|
# | policy iteration | [Sutton and Barto, chapter 4](http://incompleteideas.net/book/the-book-2nd.html) | [lecture 5](05_performance_difference.ipynb) |
# | policy gradient, REINFORCE | [Williams 1992](https://doi.org/10.1007/BF00992696) | [lecture 2](02_policy_gradient.ipynb), [lecture 3](03_rewards_to_go.ipynb), [lecture 4](04_reinforce.ipynb) |
# | natural policy gradient | [Kakade 2001](https://papers.nips.cc/paper/2001/hash/4b86abe48d358ecf194c56c69108433e-Abstract.html) | [lecture 6](06_trpo.ipynb) |
# | conservative policy iteration, CPI | [Kakade and Langford 2002](https://dl.acm.org/doi/10.5555/645531.656005) | [lecture 5](05_performance_difference.ipynb) |
# | TRPO | [Schulman et al. 2015](https://arxiv.org/abs/1502.05477) | [lecture 6](06_trpo.ipynb) |
# | PPO | [Schulman et al. 2017](https://arxiv.org/abs/1707.06347) | [lecture 7](07_ppo.ipynb) |
# | GRPO | [Shao et al. 2024](https://arxiv.org/abs/2402.03300) | [lecture 8](08_advantages.ipynb) |
# | DDPG | [Lillicrap et al. 2015](https://arxiv.org/abs/1509.02971) | a side road we leave |

# %% [markdown]
# ## Three numbers for each state (C02)
#
# A world answers what we do. At step $t$ we are in a **state** $s_t$ and take an **action** $a_t$. The world pays a **reward** $r(s_t, a_t)$ and moves on to a next state, drawn from $p(\cdot\mid s_t, a_t)$. That is a *Markov decision process*: the next state depends on the present state and action, and on nothing earlier. One run from the start to the end is an **episode**. A policy $\pi(a\mid s)$ gives the probability of each action in each state.
#
# *Slide 5.* Our first world is the slides' chain of three states. *Left* leads to $s_1$, *Right* one to the right. The goal $s_3$ ends the episode.
#
# ```text
#   +------+   Right    +------+   Right    +------+
#   |  s1  | ---------> |  s2  | ---------> |  s3  |  goal
#   +------+ <--------- +------+            +------+
#   Left: stay          Left
# ```
#
# *Right* pays 0.03 at $s_1$ and 7.5 at $s_2$; *Left* pays $-1.5$ and $0.4$. (The slide prints no rewards. With these, its tables come out.) Rewards that come later count less: each step multiplies by the **discount** $\gamma = 0.9$.
#
# Three quantities say how good things are **under a policy** $\pi$, by the discounted sum of the rewards to come:
#
# - $V^\pi(s)$, the **value**: its expectation from $s$ on.
# - $Q^\pi(s,a)$, the **action value**: the same, if we take $a$ first and follow $\pi$ afterwards.
# - $A^\pi(s,a) = Q^\pi(s,a) - V^\pi(s)$, the **advantage**: how much better $a$ is than what $\pi$ does on average.
#
# They are tied to each other by the **Bellman equation**. An action is worth its reward plus, one step later, the value of where it leads:
#
# $$Q^\pi(s,a) = r(s,a) + \gamma\sum_{s'} p(s'\mid s,a)\,V^\pi(s'), \qquad V^\pi(s) = \sum_a\pi(a\mid s)\,Q^\pi(s,a).$$
#
# At the goal nothing is paid any more, so $V(s_3) = 0$. We take the policy that tosses a coin in every state.

# %%
chain = worlds.three_state_chain()
uniform = torch.full((3, 2), 0.5)
values = chain.values(uniform)  # (S,)
action_values = chain.action_values(uniform)  # (S, A)
advantages = chain.advantages(uniform)  # (S, A)
print("Q", action_values, "\nV", values)

# %% [markdown]
# `values` solves the Bellman equation as a system of linear equations. For a second opinion we start from $V = 0$ and apply it again and again, until nothing changes.

# %% tags=["C02"]
printed_Q = torch.tensor([[1.2, 4.8], [3.1, 7.5], [0.0, 0.0]])  # slide 5
printed_V = torch.tensor([3.0, 5.3, 0.0])

backed_up = torch.zeros(3)
for _ in range(400):
    one_step = chain.rewards + chain.gamma * chain.transitions @ backed_up  # (S, A)
    backed_up = (uniform * one_step).sum(1)
assert same(values, backed_up) and same(action_values, one_step)
assert same(values, printed_V) and same(action_values, printed_Q)
assert same(advantages, printed_Q - printed_V[:, None])
assert not same(one_step.max(1).values, values)  # control: the best action's value is not V

# %%
figure, ax = blank_panel()
places = ["s1 (far)", "s2 (near)", "s3 (goal)"]
figures.plot_action_values(ax, action_values, values, places, ["Left", "Right"]);

# %% [markdown]
# **What to notice.** Each black bar, $V$, lies between its two marks, $Q$. The two advantages of a state are equal and opposite: with a fair coin they have to be. The next section says what holds for other policies.

# %% [markdown]
# ### V is the average of Q (C03)
#
# *Slide 5.* First the policy picks an action, then the world goes on. So a value is an average of action values, weighted by the policy, and the weighted advantages cancel:
#
# $$V^\pi(s) = \sum_a \pi(a\mid s)\, Q^\pi(s,a) \qquad\Longleftrightarrow\qquad \sum_a \pi(a\mid s)\, A^\pi(s,a) = 0.$$
#
# We test it on a random world with a random policy, where no symmetry can help. (`softmax_policy` makes a policy of any table of numbers; C04 tells how.)

# %% tags=["C03"]
generator = torch.Generator().manual_seed(0)
world = worlds.random_mdp(6, 3, 0.95, generator)
policy = softmax_policy(torch.randn(6, 3, generator=generator))
V, Q, A = world.values(policy), world.action_values(policy), world.advantages(policy)

assert same((policy * Q).sum(1), V)
assert same((policy * A).sum(1), torch.zeros(6))
assert not same(Q.mean(1), V)  # control: the plain mean over actions is not V

# %% [markdown]
# > **Erratum E1 (slides 5 and 6).**
# >
# > - **The lecture says:** in this chain $V = (3.0,\ 5.3,\ 0)$, and on the next slide the policy of "the same example" is $(0.1, 0.9;\ 0.2, 0.8;\ 0.5, 0.5)$.
# > - **Right is:** the two tables do not belong together. The printed $V$ is the *uniform* policy's. Weighing the printed $Q$ by the printed policy gives other values.
# > - **The numbers:** $(4.44,\ 6.62,\ 0)$ in place of $(3.0,\ 5.3,\ 0)$. And even those are no values of that policy, since the printed $Q$ is the uniform policy's too. With the rewards above, the policy of slide 6 is worth $(6.28,\ 7.21,\ 0)$.
# >
# > Also, *Left* leads to $s_1$ from $s_1$ and from $s_2$. So $Q(s_1, \text{Left})$ and $Q(s_2, \text{Left})$ can differ only by their rewards, here by 1.9, whatever the policy.

# %% tags=["C03", "E1"]
printed_policy = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.5, 0.5]])  # slide 6

assert same((uniform * printed_Q).sum(1), printed_V)
assert same((printed_policy * printed_Q).sum(1), torch.tensor([4.44, 6.62, 0.0]))
true_values = chain.values(printed_policy)
assert same((printed_policy * chain.action_values(printed_policy)).sum(1), true_values)
assert not same(true_values, torch.tensor([4.44, 6.62, 0.0]))  # control: Q moves with the policy
for policy in (uniform, printed_policy):
    Q_left = chain.action_values(policy)[:, 0]
    assert same(Q_left[1] - Q_left[0], chain.rewards[1, 0] - chain.rewards[0, 0])
print("slide 6's policy is worth", true_values)

# %% [markdown]
# ## A policy is a distribution (C04)
#
# *Slide 6.* For each state, $\pi(\cdot\mid s)$ gives every action a probability: none below 0, together 1. To learn, we give the policy **parameters** $\theta$, numbers that a gradient may change. A gradient knows nothing of those constraints. The softmax takes care of them: let $\theta$ be a table with one number, a **logit**, for each state and action. Whatever stands in it, the rows of
#
# $$\pi_\theta(a\mid s) = \frac{e^{\theta_{s,a}}}{\sum_b e^{\theta_{s,b}}}$$
#
# are distributions. So $\theta$ may go wherever the gradient leads. (In larger worlds a network computes the logits.)

# %% tags=["C04"]
def is_policy(table):
    return bool((table >= 0).all()) and same(table.sum(1), torch.ones(len(table)))


wild = 10 * torch.randn(1000, 4, generator=generator)  # (S, A), far from probabilities
assert is_policy(softmax_policy(wild)) and is_policy(printed_policy)
assert is_policy(softmax_policy(wild + 0.5 * torch.randn(1000, 4, generator=generator)))
assert not is_policy(wild.exp())  # control: without the division it is none
assert not is_policy(printed_Q)  # action values are not probabilities either

# %% [markdown]
# ### Two ways to a good policy (C05)
#
# *Slide 6.* **Value-based** methods learn $Q$ and then act by $\arg\max_a Q(s,a)$. **Policy-based** methods leave out the detour and learn $\pi$ itself.
#
# From here on the floor of our chain is icy: one move in five fails, and we stay where we are. And three episodes in ten begin at $s_2$. `J` is the return that a policy can expect from there; the section on the objective says more.

# %%
stay = torch.eye(3)[:, None, :].expand(3, 2, 3)
ice = TabularMDP(
    0.8 * chain.transitions + 0.2 * stay,
    chain.rewards,
    0.9,
    torch.tensor([0.7, 0.3, 0.0]),
    chain.terminal,
)


def J(theta):
    return ice.expected_return(softmax_policy(theta))

# %% [markdown]
# Value-based first: apply the Bellman equation with the *best* next action, $Q(s,a) \leftarrow r(s,a) + \gamma\sum_{s'}p(s'\mid s,a)\max_b Q(s',b)$, until nothing changes; then take the argmax. Policy-based second: 200 small steps uphill on $J$. The slope is found by nudging each number of $\theta$ and looking at $J$. No $Q$ is needed.

# %% tags=["C05"]
Q = torch.zeros(3, 2)
for _ in range(400):
    Q = ice.rewards + ice.gamma * ice.transitions @ Q.max(1).values
greedy = torch.nn.functional.one_hot(Q.argmax(1), 2).double()
best = ice.start @ ice.optimal_values()

theta = torch.zeros(3, 2)
before = J(theta)
for _ in range(200):
    theta = theta + 0.5 * finite_difference_gradient(J, theta)

assert same(ice.expected_return(greedy), best)
assert J(theta) > 0.99 * best
assert before < 0.6 * best  # control: without learning the policy is far from it
print(f"J: best {best:.3f}, argmax of Q {ice.expected_return(greedy):.3f}, learned {J(theta):.3f}")

# %% [markdown]
# Both arrive. They differ on the way. An argmax is a switch: where two actions are nearly tied, an error of $10^{-9}$ in $Q$ turns the whole policy round. A softmax is a dial: its probability moves at most a quarter as far as the difference of its logits.

# %% tags=["C05"]
gaps = torch.linspace(-4, 4, 801)
switch = (gaps > 0).double()
logits = torch.stack([torch.zeros(801), gaps], 1)  # (801, A): Left, Right
dial = softmax_policy(logits)[:, 1]

steepest = (dial.diff() / gaps.diff()).max()
assert steepest <= 0.25 and steepest > 0.2499
assert (switch.diff() / gaps.diff()).max() > 10 * steepest  # control: the switch has no slope limit

# %%
figure, ax = blank_panel(6.5, 3.4)
figures.plot_choice(ax, gaps, {"argmax of Q": switch, "softmax of theta": dial});

# %% [markdown]
# **What to notice.** The dashed curve has a slope everywhere. The solid one is flat and then jumps: no gradient to follow. It also never mixes two actions, and sometimes one has to.

# %% [markdown]
# ## When the best policy is stochastic (C06)
#
# *Slide 7, which leaves the example to the audience.* Here is a corridor of three cells that **look alike**. In the middle cell the two buttons are swapped. Every step costs 1, until one leaves on the right. ([Sutton and Barto](http://incompleteideas.net/book/the-book-2nd.html), example 13.1.)
#
# ```text
#   +-------+-------+-------+
#   | start |swapped|       | -> out
#   +-------+-------+-------+
# ```
#
# If we cannot tell the cells apart, we have one number to choose: the probability $p$ of *Right*. Always *Right* bounces for ever between the first two cells. Always *Left* never leaves the first. In between, the Bellman equations of the three cells (exercise 3) give
#
# $$J(p) = \frac{2p - 4}{p\,(1-p)}, \qquad\text{with its maximum at } p = 2 - \sqrt 2 \approx 0.586.$$

# %% tags=["C06"]
corridor, looks_like = worlds.aliased_corridor()  # which row of the table each state gets


def J_blind(p):
    table = torch.stack([torch.stack([1 - p, p]), torch.tensor([0.5, 0.5])])
    return corridor.expected_return(table[looks_like])


chances = torch.linspace(0.02, 0.98, 961)
returns = torch.stack([J_blind(p) for p in chances])
best_p, best_blind = chances[returns.argmax()], returns.max()
assert same(returns, (2 * chances - 4) / (chances * (1 - chances)))
assert abs(best_p - (2 - 2**0.5)) < 1e-3
assert best_blind > returns[0] + 80 and best_blind > returns[-1] + 80  # nearly pure: terrible
seeing = corridor.start @ corridor.optimal_values()
assert same(seeing, torch.tensor(-3.0))  # control: told the state, a deterministic policy is best

# %%
figure, ax = blank_panel()
figures.plot_blind_corridor(ax, chances, returns, best_p.item(), seeing.item());

# %% [markdown]
# **What to notice.** The curve falls without end at both sides: *no* deterministic policy ever arrives, so no argmax can solve this. A gradient on $p$ can, since $J$ is smooth in it. If we see the state, some deterministic policy is always among the best, here at $J = -3$.

# %% [markdown]
# ## When there are too many actions to compare (C07)
#
# *Slide 7, again left to the audience.* We throw a parcel $a$ metres far, at a balcony 1.3 metres away. The reward falls off within about half a metre: $r(a) = e^{-(a-1.3)^2/(2w^2)}$ with $w = 0.5$. No table has an entry for each real number $a$, and a grid of ten values for each of the seven joints of a robot arm already has $10^7$.
#
# A policy can be a *density* instead. A Gaussian $\mathcal N(\mu, \sigma^2)$ has two parameters, and two more for each further joint. What it can expect is an integral over a product of two bell curves, which is known exactly:
#
# $$J(\mu,\sigma) = \int r(a)\,\mathcal N(a;\mu,\sigma^2)\,da = \frac{w}{\sqrt{w^2+\sigma^2}}\; e^{-(\mu-1.3)^2/(2(w^2+\sigma^2))}.$$

# %%
balcony, width = 1.3, 0.5
throws = torch.linspace(-14, 16, 30_001)  # wide and fine enough for the integral to be exact


def reward(a):
    return torch.exp(-((a - balcony) ** 2) / (2 * width**2))


def density(theta):  # theta = (mu, log sigma)
    return torch.distributions.Normal(theta[0], theta[1].exp()).log_prob(throws).exp()


def J_throw(theta):
    total = width**2 + (2 * theta[1]).exp()
    return width / total.sqrt() * torch.exp(-((theta[0] - balcony) ** 2) / (2 * total))

# %% tags=["C07"]
def J_by_integral(theta):
    return torch.trapezoid(reward(throws) * density(theta), throws)


first = torch.tensor([0.0, 0.0])  # mean 0, spread 1
thrown = first[0] + first[1].exp() * torch.randn(100_000, generator=generator)
sampled = reward(thrown)
error = sampled.std() / len(sampled) ** 0.5
assert same(J_by_integral(first), J_throw(first))
assert same(jacobian(J_by_integral, first), jacobian(J_throw, first))
assert (sampled.mean() - J_throw(first)).abs() < 4 * error
at_the_mean = reward(first[0])
assert (sampled.mean() - at_the_mean).abs() > 4 * error  # control: J is not the mean's reward
print(f"J exact {J_throw(first):.4f}, sampled {sampled.mean():.4f} +- {2 * error:.4f}")

# %% [markdown]
# (The check allows 4 standard errors, which a right number misses once in 16,000 seeds. Printed is the usual 95 % interval.) Now we climb, with small steps along the gradient.

# %% tags=["C07"]
last, frozen = first, first
for _ in range(400):
    last = last + 0.5 * jacobian(J_throw, last)
    frozen = frozen + torch.tensor([0.5, 0.0]) * jacobian(J_throw, frozen)

grid = torch.arange(-2.0, 3.0)  # five actions, a metre apart
assert J_throw(last) > 0.99 > reward(grid).max()
assert abs(last[0] - balcony) < 0.01 and last[1].exp() < 0.1
ceiling = torch.tensor(width / (width**2 + 1) ** 0.5)
assert same(J_throw(frozen), ceiling)  # control: with the spread kept at 1 it stops at 0.447
print(f"J {J_throw(last):.3f}, best of five grid throws {reward(grid).max():.3f}")

# %%
figure, ax = blank_panel()
shown = (throws > -3) & (throws < 4)
later = first
for _ in range(20):
    later = later + 0.5 * jacobian(J_throw, later)
densities = {"policy before": density(first)[shown], "after 20 steps": density(later)[shown]}
figures.plot_throws(ax, throws[shown], reward(throws)[shown], densities);

# %% [markdown]
# **What to notice.** The policy moves to the balcony, and it narrows. At first its spread is useful: without it no throw would come near. In the end spread only costs.

# %% [markdown]
# ## The objective (C08)
#
# *Slide 9.* What should "good" mean for a whole policy? Chance enters an episode in three places, and we average over all three:
#
# $$J(\theta) = \mathbb{E}\Big[\sum_t \gamma^t\, r(s_t,a_t)\Big], \qquad \underbrace{s_0\sim p(s_0)}_{\text{where it starts}},\quad \underbrace{a_t\sim\pi_\theta(\cdot\mid s_t)}_{\text{what we do}},\quad \underbrace{s_{t+1}\sim p(\cdot\mid s_t,a_t)}_{\text{what the world does}}.$$
#
# That is one number for each policy, the **expected discounted return**. Only the middle one of the three is ours to change. To see that the exact $J$ is what happens on average, we play 20,000 episodes on the ice.

# %% tags=["C08"]
theta = torch.tensor([[0.2, -0.1], [-0.3, 0.4], [0.0, 0.0]])  # (S, A)
policy = softmax_policy(theta)
episodes = sample_episodes(ice, policy, 20_000, torch.Generator().manual_seed(1))
discounts = ice.gamma ** torch.arange(max(map(len, episodes)))
lived = torch.stack([discounts[: len(e)] @ e.rewards for e in episodes])  # (N,)
error = lived.std() / len(lived) ** 0.5

assert (lived.mean() - J(theta)).abs() < 4 * error
undiscounted = torch.stack([e.rewards.sum() for e in episodes]).mean()
assert (undiscounted - J(theta)).abs() > 4 * error  # control: without gamma it is another number
print(f"exact {J(theta):.4f}, sampled {lived.mean():.4f} +- {2 * error:.4f} (95 %)")

# %%
figure, ax = blank_panel()
figures.plot_returns(ax, lived, J(theta).item());

# %% [markdown]
# **What to notice.** Single episodes are all over the place, and $J$ is where they balance. A third of them are quick and return about 7. The left tail went *Left* again and again at $s_1$, which costs 1.5 each time. A good $J$ does not rule out terrible episodes.

# %% [markdown]
# ### The same number from values (C73)
#
# *Note, section 1.* From a start $s_0$ we can expect $V^\pi(s_0)$. It remains to average over where we start:
#
# $$J(\pi) = \mathbb{E}_{s_0\sim p(s_0)}\big[V^\pi(s_0)\big] = \sum_s p(s_0 = s)\, V^\pi(s).$$
#
# For a second opinion we unroll time: we push the distribution over states forward step by step and collect the discounted rewards.

# %% tags=["C73"]
P = torch.einsum("sa,sat->st", policy, ice.transitions)  # (S, S): one step under the policy
r = (policy * ice.rewards).sum(1)  # (S,)
where, unrolled = ice.start, torch.tensor(0.0)
for t in range(600):
    unrolled = unrolled + ice.gamma**t * where @ r
    where = where @ P

V = ice.values(policy)
assert same(ice.start @ V, unrolled) and same(unrolled, J(theta))
assert not same(V[0], unrolled)  # control: the value of one start is not J
assert not same(V.mean(), unrolled)

# %% [markdown]
# ## The probability of a trajectory (C09)
#
# *Slide 10.* A **trajectory** $\tau = (s_0, a_0, s_1, a_1, \dots)$ is one way an episode may go. Each draw depends only on the present state and action, so the probability of the whole is a product:
#
# $$\pi_\theta(\tau) = p(s_0)\prod_{t=0}^{T-1} \pi_\theta(a_t\mid s_t)\; p(s_{t+1}\mid s_t,a_t).$$
#
# (The slides let $t$ run to $T$ inclusive. We count $T$ steps, as the note does.) We list all possible first $T = 5$ steps: there are 697. Some have reached the goal by then (and wait there, whatever they do), others are still on the way.

# %%
T = 5
paths = trajectories(ice, policy, T)
states, actions, after = paths.states[:, :T], paths.actions, paths.states[:, 1:]  # (N, T) each
probabilities = paths.probabilities  # (N,)

# %% tags=["C09"]
first_factor = ice.start[states[:, 0]]  # (N,)
ours = policy[states, actions]  # (N, T): pi(a_t | s_t)
worlds_part = ice.transitions[states, actions, after]  # (N, T): p(s_{t+1} | s_t, a_t)

assert len(probabilities) == 697
assert same(first_factor * (ours * worlds_part).prod(1), probabilities)
assert same(probabilities.sum(), torch.tensor(1.0))
ends_in = torch.zeros(3).index_add(0, paths.states[:, T], probabilities)
assert same(ends_in, ice.start @ torch.linalg.matrix_power(P, T))  # where T steps lead
without_dynamics = (first_factor * ours.prod(1)).sum()
assert not same(without_dynamics, torch.tensor(1.0))  # control: all three factors are needed
print(f"without the dynamics the 'probabilities' sum to {without_dynamics:.2f}")

# %% [markdown]
# ### Only one factor knows theta (C10)
#
# *Slide 10.* Look at the product again. The start and the **dynamics** $p(s_{t+1}\mid s_t,a_t)$ hold no $\theta$. So if we divide a trajectory's probability by our own factors, what remains must be the same number for *every* policy, and its derivative must be zero. Lecture 2 rests on this small fact.

# %% tags=["C10"]
def of_the_world(theta):  # (N,): pi(tau) without our own factors
    policy = softmax_policy(theta)
    return trajectories(ice, policy, T).probabilities / policy[states, actions].prod(1)


elsewhere = theta + torch.randn(3, 2, generator=generator)
assert same(of_the_world(theta), of_the_world(elsewhere))
assert jacobian(of_the_world, theta).abs().max() < 1e-10
slopes = jacobian(lambda theta: trajectories(ice, softmax_policy(theta), T).probabilities, theta)
assert slopes.abs().max() > 0.01  # control: with our factors it does depend on theta

# %% [markdown]
# ### The compact form (C11)
#
# *Slide 11.* Give a trajectory's discounted return a name, $R(\tau) = \sum_t\gamma^t r(s_t,a_t)$, and the objective fits into one line:
#
# $$J(\theta) = V(\pi_\theta) = \mathbb{E}_{\tau\sim\pi_\theta}[R(\tau)] = \sum_\tau \pi_\theta(\tau)\,R(\tau).$$
#
# On the ice a trajectory may go on for long, and we have listed five steps only. Nothing is lost if we credit each unfinished one with what it can still expect, $\gamma^T V(s_T)$.

# %% tags=["C11"]
V = ice.values(policy)
so_far, to_come = [], []
for steps in range(1, 9):
    some = trajectories(ice, policy, steps)
    R = some.rewards @ discounts[:steps]  # (N,)
    rest = discounts[steps] * V[some.states[:, -1]]  # 0 at the goal
    assert same(some.probabilities @ (R + rest), J(theta))
    so_far.append(some.probabilities @ R)
    to_come.append(some.probabilities @ rest)
R, rest = paths.rewards @ discounts[:T], discounts[T] * V[paths.states[:, T]]
assert not same(probabilities @ R, J(theta))  # control: five steps alone do not make up J
assert not same((R + rest).mean(), J(theta))  # nor does the mean without the weights pi(tau)

# %%
figure, ax = blank_panel(6.5, 3.4)
figures.plot_credited(ax, torch.stack(so_far), torch.stack(to_come), J(theta).item());

# %% [markdown]
# **What to notice.** Each bar has the same height: below what was paid in the listed steps, on top what the unfinished trajectories can still expect. The more steps we list, the smaller the upper part.

# %% [markdown]
# ## The slope, by nudging (C74)
#
# *Note, equation (1).* We want to go uphill, so we need the slope of $J$ in each parameter. The definition is a recipe: nudge one parameter, evaluate again, divide.
#
# $$\frac{\partial J}{\partial\theta_i} = \lim_{h\to 0}\frac{J(\theta + h\,e_i) - J(\theta)}{h}, \qquad e_i = (0,\dots,0,\underbrace{1}_{i},0,\dots,0).$$
#
# Nudging to both sides, $\frac{J(\theta + h e_i) - J(\theta - h e_i)}{2h}$, costs one evaluation more and is far more accurate. We compare both with the exact gradient, which `policy_gradient` gets from linear equations (lecture 3 shows how).

# %%
exact = ice.policy_gradient(theta)  # (S, A)


def one_sided(h):
    nudges = torch.eye(6).view(6, 3, 2) * h
    return torch.stack([(J(theta + nudge) - J(theta)) / h for nudge in nudges]).view(3, 2)


nudge_sizes = torch.logspace(-1, -12, 45)
errors = {
    "one side": torch.stack([(one_sided(h) - exact).norm() for h in nudge_sizes]),
    "both sides": torch.stack(
        [(finite_difference_gradient(J, theta, h) - exact).norm() for h in nudge_sizes.tolist()]
    ),
}

# %% tags=["C74"]
def log_log_slope(x, y):
    x, y = x.log() - x.log().mean(), y.log()
    return (x * y).sum() / x.pow(2).sum()


coarse = nudge_sizes > 1e-3  # before rounding is felt
assert abs(log_log_slope(nudge_sizes[coarse], errors["one side"][coarse]) - 1) < 0.05
assert abs(log_log_slope(nudge_sizes[coarse], errors["both sides"][coarse]) - 2) < 0.05
assert errors["both sides"].min() < 1e-9 and exact.norm() > 1
downhill = (one_sided(1e-6) + exact).norm()
assert downhill > 1  # control: against minus the gradient the error does not vanish

# %%
figure, ax = blank_panel()
figures.plot_difference_errors(ax, nudge_sizes, errors);

# %% [markdown]
# **What to notice.** From right to left both errors fall, with slopes 1 and 2. Then they turn: two nearly equal numbers are subtracted, and rounding takes over.
#
# To check a gradient this is excellent. For learning it is hopeless: with the 4,610 parameters of a small network, one gradient needs 9,220 evaluations of $J$, each of them many episodes. Lecture 2 gets the whole gradient from one batch.

# %% [markdown]
# > **Erratum E19, first part (note, equation (1)).**
# >
# > - **The note says:** $\frac{\partial J}{\partial\theta_i} = \lim \frac{J(\pi_{\theta+\Delta\theta_i}) - J(\pi_\theta)}{\Delta\theta_i}$ with a number $\Delta\theta_i$.
# > - **Right is:** a number cannot be added to a vector; what is meant is $\theta + \Delta\theta_i\, e_i$, with the unit vector $e_i$.
# > - **The number:** if we add the number to all six components (as Python does), we get the *sum* of all partial derivatives. For a softmax table that is **0.000**, since shifting all logits of a row changes no probability. The largest single slope is 2.622.

# %% tags=["C74", "E19"]
h = 1e-6
literal = (J(theta + h) - J(theta)) / h  # h lands on all six parameters
assert literal.abs() < 1e-8
assert literal.sub(exact.sum()).abs() < 1e-8  # the sum of the partial derivatives
assert (one_sided(h) - exact).norm() < 1e-4  # control: with unit vectors it is the gradient
assert exact.abs().max() > 2.6
print(exact)

# %% [markdown]
# ## A step uphill (C12)
#
# *Slide 13.* **Gradient ascent** repeats $\theta \leftarrow \theta + \eta\,\nabla_\theta J(\theta)$ with a step size $\eta > 0$. For a small step, Taylor's formula says what we gain:
#
# $$J(\theta + \eta\nabla J) = J(\theta) + \eta\,\lVert\nabla J\rVert^2 + O(\eta^2).$$
#
# The first-order gain is a square, so it is never negative. We take one small step in each of 1,000 random worlds.

# %% tags=["C12"]
many = random_mdps(1000, 4, 3, generator)  # M = 1,000 worlds, S = 4, A = 3
at = torch.randn(1000, 4, 3, generator=generator, requires_grad=True)
heights = lambda logits: many.expected_return(logits.softmax(-1))  # (M,): J in every world

(slope,) = torch.autograd.grad(heights(at).sum(), at)
with torch.no_grad():
    here, up, down = heights(at), heights(at + 0.01 * slope), heights(at - 0.01 * slope)
gains, losses = up - here, down - here
predicted = 0.01 * slope.pow(2).sum((1, 2))
assert (gains > 0).all() and (gains / predicted - 1).abs().max() < 0.05
assert (losses < 0).all()  # control: the same step downhill loses, every time
print(f"gain over prediction: {(gains / predicted).min():.3f} to {(gains / predicted).max():.3f}")

# %% tags=["C12"]
curves = {}
for rate in (0.03, 0.1, 0.5):
    at, curve = theta, [J(theta)]
    for _ in range(60):
        at = at + rate * ice.policy_gradient(at)
        curve.append(J(at))
    curves[f"step size {rate}"] = torch.stack(curve)
assert all((curve.diff() > 0).all() for curve in curves.values())
figure, ax = blank_panel()
figures.plot_ascent(ax, curves, best.item());

# %% [markdown]
# **What to notice.** Every curve rises at every step, even with large steps. But the promise was for a *small enough* step, and nobody has told us how small that is: half of the course (lectures 4 to 7) is about it.

# %% [markdown]
# ## The data move with us (C13)
#
# *Slide 14.* Isn't this just supervised learning with another loss? There is one difference. In supervised learning the average runs over a fixed data set $\mathcal D$:
#
# $$\max_\theta\ \mathbb{E}_{(x,y)\sim\mathcal D}\big[\log p_\theta(y\mid x)\big] \qquad\text{against}\qquad \max_\theta\ \mathbb{E}_{\tau\sim\pi_\theta}\big[R(\tau)\big].$$
#
# In reinforcement learning $\theta$ stands *below* the $\mathbb E$. If we change the policy, we change which states it sees. We measure that by the discounted visits of each state, $\rho(s) = \sum_t\gamma^t P(s_t = s)$, before and after one step of gradient ascent.

# %% tags=["C13"]
after_step = theta + 0.5 * ice.policy_gradient(theta)
visits = {
    "before the step": ice.visitation(softmax_policy(theta)),
    "after the step": ice.visitation(softmax_policy(after_step)),
}
moved = (visits["after the step"] - visits["before the step"]).abs().sum()
assert moved > 1

same_for_all = ice.transitions.mean(1, keepdim=True).expand(3, 2, 3)
bandit = TabularMDP(same_for_all, ice.rewards, ice.gamma, ice.start, ice.terminal)
still = bandit.visitation(softmax_policy(theta))
assert bandit.policy_gradient(theta).norm() > 0.1  # there is something to learn
after_step = theta + 0.5 * bandit.policy_gradient(theta)
assert same(bandit.visitation(softmax_policy(after_step)), still)  # control: actions move nothing

# %% [markdown]
# The control is a world in which the action does not influence the next state. There the visits are as fixed as a data set. It is the *consequences* of actions that move them.

# %%
figure, ax = blank_panel()
figures.plot_visitation(ax, visits, places);

# %% [markdown]
# **What to notice.** After one step the far state is visited much less: the policy has got better at leaving it. Episodes from before the step tell about states that the new policy seldom sees. (Time at the goal counts too, so the bars of one colour sum to $1/(1-\gamma) = 10$.)

# %% [markdown]
# ## What we have
#
# | | |
# |---|---|
# | a policy | $\pi_\theta(a\mid s)$, a distribution for each state; softmax of a table, a Gaussian, a network |
# | its worth | $J(\theta) = \mathbb{E}_{\tau\sim\pi_\theta}[R(\tau)] = \mathbb{E}_{s_0}[V(s_0)]$ |
# | where $\theta$ hides | in the factors $\pi_\theta(a_t\mid s_t)$ of $\pi_\theta(\tau)$, and nowhere else |
# | how to improve | $\theta\leftarrow\theta+\eta\nabla_\theta J(\theta)$ |
# | what is missing | a way to get $\nabla_\theta J$ from episodes alone, without knowing the dynamics and without a nudge for each parameter |
#
# The last line is the subject of [lecture 2](02_policy_gradient.ipynb).
#
# ## Exercises
#
# 1. (C02) Solve the Bellman equations of the icy chain for the uniform policy by hand. Two unknowns remain. Check with `ice.values(uniform)`.
# 2. (C05) Let *Left* and *Right* be exactly tied, and add Gaussian noise of size $10^{-3}$ to both $Q$. How often does the argmax change? How much does a softmax with $Q$ as logits?
# 3. (C06) Derive $J(p)$ for the corridor from three Bellman equations, and its maximum by calculus.
# 4. (C07) Start the Gaussian at $\mu = -3$, $\sigma = 0.1$. What happens to the ascent, and why? What would you change?
# 5. (C11) How many steps must be listed before the unfinished trajectories contribute less than 1 % of $J$? How many trajectories is that?
#
# ## To the homework
#
# - [hw1, question 2](../homework/hw1.ipynb#2.-Values-and-advantages): **`values_and_advantages`** solves the Bellman equation of C02 for a policy that is given.
# - [hw1, question 11](../homework/hw1.ipynb#11.-REINFORCE): **`reinforce`** is the loop of C12, with an estimate in place of the exact gradient. C13 is the reason why it must sample anew from the *current* policy before each step.
# - [hw1, questions 7](../homework/hw1.ipynb#7.-The-gradient-from-one-episode:-REINFORCE-1) and [8](../homework/hw1.ipynb#8.-The-gradient-with-rewards-to-go:-REINFORCE-2): **`reinforce_1`** and **`reinforce_2`** estimate the gradient of the objective of C08, in which a reward at step $t$ counts $\gamma^t$.
