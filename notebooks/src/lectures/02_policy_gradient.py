# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The policy gradient, one line at a time
#
# **Lecture 2** of the policy-gradient course. Reading time: about 15 minutes. It runs in a few seconds.
#
# We want the gradient of an average, and what we average over changes with the parameters. That is the whole difficulty. We derive the answer in small steps, and after every step we compute both sides in a world so small that nothing needs to be taken on trust.
#
# | | |
# |---|---|
# | **Covers** | slides 15 to 28; note, section 2.1, equations (2) and (3), and the form of equation (6) |
# | **Assumes** | [lecture 1](01_objective.ipynb): the objective (C08), the probability of a trajectory (C09); softmax, the chain rule, what a standard error is |
# | **Prepares** | [homework 1](../homework/hw1.ipynb): the two questions in words, `trajectory_log_prob`, `reinforce_1`, `returns_to_go`, `reinforce_2` |
#
# Headings carry the claim they establish, such as C14. The boxes correct the sources and may wait for a second reading.

# %%
import matplotlib.pyplot as plt
import torch
from torch.autograd.functional import jacobian, jvp

from course_lib.episodes import sample_episodes
from course_lib.figures import policy_gradient as figures
from course_lib.figures.basic import world_map
from course_lib.figures.style import blank_panel
from course_lib.mdp import TabularMDP, finite_difference_gradient, trajectories
from course_lib.policies import softmax_policy

torch.set_default_dtype(torch.float64)  # identities below are checked to 1e-10


def same(left, right):
    return left.shape == right.shape and torch.allclose(left, right, rtol=0, atol=1e-10)

# %% [markdown]
# ## A world small enough to write out
#
# A courier rides from the depot over two more places home. At each of the three she goes *steady* (action 0) or *hasty* (action 1). Her choice shifts the odds of the next place but does not settle them.

# %%
places = {"depot": (0, 0.5), "street": (1, 1), "park": (1, 0), "bridge": (2, 1), "ferry": (2, 0)}
roads = [(a, b) for a in places for b in places if places[b][0] - places[a][0] == 1]
figure, ax = blank_panel(6.4, 1.9)
world_map(ax, {**places, "home": (3, 0.5)}, [*roads, ("bridge", "home"), ("ferry", "home")]);

# %% [markdown]
# There are $2^3$ sequences of actions and $2^2$ routes, so 32 trajectories in all: we can list them. Rewards depend on place and action, and are discounted by $\gamma = 0.8$.

# %%
gamma, T = 0.8, 3
transitions = torch.zeros(6, 2, 6)  # (S, A, S)
transitions[0, :, 1:3] = torch.tensor([[0.8, 0.2], [0.3, 0.7]])  # depot to street, park
transitions[1, :, 3:5] = torch.tensor([[0.9, 0.1], [0.4, 0.6]])  # street to bridge, ferry
transitions[2, :, 3:5] = torch.tensor([[0.6, 0.4], [0.1, 0.9]])  # park to bridge, ferry
transitions[3:, :, 5] = 1.0
rewards = torch.tensor([[1, 2], [0, 1], [3, -1], [2, 4], [0, 5], [0, 0]]).double()  # (S, A)
start, home = torch.eye(6)[0], torch.eye(6)[5].bool()
courier = TabularMDP(transitions, rewards, gamma, start, home)

theta = torch.tensor([[0.3, -0.2], [0.5, 0.1], [-0.4, 0.4], [0.2, -0.6], [0.7, 0.0], [0.0, 0.0]])

# %% [markdown]
# The policy is a softmax of a table $\theta$ with one row a state: $\pi_\theta(a\mid s) = e^{\theta_{s,a}} / \sum_b e^{\theta_{s,b}}$.
#
# - A **trajectory** of $T = 3$ steps is $\tau = (s_0, a_0, \dots, s_{T-1}, a_{T-1}, s_T)$. Each row of `paths` holds one.
# - $\pi_\theta(\tau)$ is its **probability**: `probabilities` (N,).
# - $R(\tau) = \sum_{t=0}^{T-1} \gamma^t r_t$ is its **discounted return**: `returns` (N,).
# - $J(\theta) = \sum_\tau \pi_\theta(\tau)\, R(\tau)$ is what we want to raise: `probabilities @ returns`.

# %%
paths = trajectories(courier, softmax_policy(theta), T)
probabilities, states, actions = paths.probabilities, paths.states[:, :T], paths.actions
discounts = gamma ** torch.arange(T)
discounted = discounts * paths.rewards  # (N, T): gamma^t r_t
returns = discounted.sum(1)  # (N,): R(tau)

J = probabilities @ returns
assert len(returns) == 32 and same(probabilities.sum(), torch.tensor(1.0))
assert same(J, courier.expected_return(softmax_policy(theta)))
print(f"J by listing all trajectories: {J:.6f}")

# %% [markdown]
# All that follows is judged by a gradient from elsewhere: `policy_gradient` solves linear equations and never looks at a trajectory. Nudging each parameter by a little (C74) agrees with it.

# %%
exact = courier.policy_gradient(theta)  # (S, A)
nudged = finite_difference_gradient(
    lambda theta: courier.expected_return(softmax_policy(theta)), theta
)
assert torch.allclose(exact, nudged, rtol=0, atol=1e-8)
assert exact.norm() > 0.5  # far from zero, so agreeing with it means something
print(exact)

# %% [markdown]
# ## From the gradient of an average to an average
#
# ### The tempting mistake (C14)
#
# *Slide 15.* It looks harmless to take the gradient inside the average:
#
# $$\nabla_\theta\, \mathbb{E}_{\tau\sim\pi_\theta}[R(\tau)] \;\overset{?}{=}\; \mathbb{E}_{\tau\sim\pi_\theta}[\nabla_\theta R(\tau)].$$
#
# But look at $R(\tau)$: once the trajectory is written down, its return is a number. No $\theta$ is left in it, so the right-hand side is always zero. If that were the gradient, no policy could be improved.

# %% tags=["C14"]
def path_returns(theta):
    return trajectories(courier, softmax_policy(theta), T).rewards @ discounts  # (N,)


gradient_of_each_return = jacobian(path_returns, theta)  # (N, S, A)
inside = torch.einsum("n,nsa->sa", probabilities, gradient_of_each_return)

assert inside.abs().max() == 0  # what the mistake claims
assert not same(inside, exact)  # control: the true gradient is not zero
print(f"gradient inside the average: {inside.norm():.3f}   true gradient: {exact.norm():.3f}")

# %% [markdown]
# In supervised learning the swap is fine. There the data come from a fixed distribution $q$, and $\theta$ stands only inside the average. What forbids the swap here is that the *distribution* depends on $\theta$. So as a control we average something over a fixed $q$, and see that both orders agree.

# %% tags=["C14"]
def path_log_probs(theta):
    return trajectories(courier, softmax_policy(theta), T).probabilities.log()  # (N,)


q = torch.full_like(probabilities, 1 / len(probabilities))  # a data set: it does not move
outside = jacobian(lambda theta: q @ path_log_probs(theta), theta)
inside = torch.einsum("n,nsa->sa", q, jacobian(path_log_probs, theta))
assert same(outside, inside) and outside.norm() > 0.1  # control: a fixed q lets the swap through

# %% [markdown]
# ### Write the average out, then differentiate (C15)
#
# *Slide 16.* To see every $\theta$, we write the expectation out. In general it is an integral, here a sum:
#
# $$\nabla_\theta J(\theta) = \nabla_\theta \sum_\tau R(\tau)\, \pi_\theta(\tau) = \sum_\tau R(\tau)\, \nabla_\theta \pi_\theta(\tau).$$
#
# The gradient of a finite sum is the sum of the gradients, and only the factor $\pi_\theta(\tau)$ holds a $\theta$.

# %% tags=["C15"]
def path_probabilities(theta):
    return trajectories(courier, softmax_policy(theta), T).probabilities  # (N,)


slopes = jacobian(path_probabilities, theta)  # (N, S, A): grad pi(tau), for every tau
gradient_of_sum = jacobian(lambda theta: path_probabilities(theta) @ returns, theta)
sum_of_gradients = torch.einsum("n,nsa->sa", returns, slopes)

assert same(sum_of_gradients, gradient_of_sum)
assert same(sum_of_gradients, exact)
one_missing = torch.einsum("n,nsa->sa", returns[1:], slopes[1:])
assert not same(one_missing, exact)  # control: one trajectory of 32 left out is noticed

# %% [markdown]
# > **Erratum E16 (slide 16).**
# >
# > - **The lecture says:** the gradient may go inside the integral because the bounds do not depend on $\theta$.
# > - **Right is:** fixed bounds are not enough. It suffices, for instance, that the absolute slope of the integrand stays below one integrable function for all $\theta$ nearby (dominated convergence).
# > - **The number:** for $f(\theta, x) = \frac{\theta^3}{x^2}\, e^{-\theta^2/x}$ on the fixed interval $0 < x \le 1$ the integral is $\theta e^{-\theta^2}$, with slope **1** at $\theta = 0$. But $\partial_\theta f(0, x) = 0$ for every $x$, so the other order gives **0**.
# >
# > For us no harm is done: a finite sum always allows the exchange.

# %% tags=["C15", "E16"]
x = torch.logspace(-14, 0, 200_001)  # (0, 1], crowded near 0 where f hides its mass


def f(theta):
    return theta**3 / x**2 * torch.exp(-(theta**2) / x)


def area(theta):
    return torch.trapezoid(f(theta), x)


at = torch.tensor(0.5)
assert torch.isclose(area(at), at * torch.exp(-(at**2)), atol=1e-6)  # the closed form
zero, step = torch.tensor(0.0), 1e-3
slope_of_area = (area(zero + step) - area(zero - step)) / (2 * step)
_, slopes_of_f = jvp(f, zero, torch.tensor(1.0))  # d f / d theta, at every x
area_of_slope = torch.trapezoid(slopes_of_f, x)
assert abs(slope_of_area - 1) < 1e-4 and area_of_slope == 0
print(f"slope of the integral {slope_of_area:.5f}, integral of the slope {area_of_slope:.0f}")

# %% [markdown]
# ### The log-derivative trick (C16)
#
# *Slide 17.* We have a sum over all trajectories, but no average any more: the weights $\pi_\theta(\tau)$ are gone, so we cannot estimate the sum by riding. The chain rule for the logarithm brings them back:
#
# $$\nabla_\theta \log \pi_\theta(\tau) = \frac{\nabla_\theta \pi_\theta(\tau)}{\pi_\theta(\tau)} \quad\Longleftrightarrow\quad \nabla_\theta \pi_\theta(\tau) = \pi_\theta(\tau)\, \nabla_\theta \log \pi_\theta(\tau).$$
#
# It needs $\pi_\theta(\tau) > 0$; a softmax never gives an action probability 0. The vector $\nabla_\theta \log \pi_\theta(\tau)$ is called the **score**. It says which way to turn $\theta$ to make this trajectory more likely, in relative terms.

# %% tags=["C16", "C79"]
scores = jacobian(path_log_probs, theta)  # (N, S, A)

assert same(slopes, probabilities[:, None, None] * scores)
assert not same(slopes, scores)  # control: the factor pi(tau) is not optional
print(f"largest score {scores.abs().max():.3f}, largest slope {slopes.abs().max():.3f}")

# %% [markdown]
# ### Now it is an average, so sample it (C17)
#
# *Slide 18.* Put the trick into the sum:
#
# $$\nabla_\theta J = \sum_\tau \pi_\theta(\tau)\, R(\tau)\, \nabla_\theta \log\pi_\theta(\tau) = \mathbb{E}_{\tau\sim\pi_\theta}\big[R(\tau)\, \nabla_\theta \log\pi_\theta(\tau)\big] \approx \frac1K \sum_{k=1}^{K} R(\tau_k)\, \nabla_\theta\log\pi_\theta(\tau_k).$$
#
# The $\tau_k$ are rides of the *current* policy. The estimate points *uphill*; an optimiser that goes downhill needs its negative as the gradient of a loss.
#
# Now we let the courier ride 4,000 times, look up each ride in our table, and average. Every component should lie within 4 standard errors of the exact gradient. (For ten right components that fails less than once in a thousand seeds.)

# %% tags=["C17"]
rides = sample_episodes(courier, softmax_policy(theta), 4000, torch.Generator().manual_seed(0))
row_of = {key: n for n, key in enumerate(map(str, torch.cat([states, actions], 1).tolist()))}
# each ride's row in the table of trajectories
rows = torch.tensor([row_of[str(torch.cat([r.states, r.actions]).tolist())] for r in rides])


def mean_and_error(table):  # (N, S, A) -> mean over the rides and its standard error, (5, A)
    seen = table[rows, :5]
    return seen.mean(0), seen.std(0) / len(rows) ** 0.5


score_form = returns[:, None, None] * scores  # (N, S, A): R(tau) grad log pi(tau)
mean, error = mean_and_error(score_form)
assert ((mean - exact[:5]).abs() < 4 * error).all()
assert ((mean - 1.5 * exact[:5]).abs() > 4 * error).any()  # control: 50 % too long is noticed

# %% [markdown]
# How fast does the error fall? The variance of a mean of $K$ independent terms is that of one term divided by $K$. So the root-mean-square error is $\sqrt{v/K}$, where $v$ adds up the variances of all components of one term. In a log-log plot that is a line with slope $-\tfrac12$: **four times the trajectories halve the error.** To measure it we take 200 means at each of many sizes.

# %%
sizes = 2 ** torch.arange(4, 15)  # 16 ... 16,384 trajectories
generator = torch.Generator().manual_seed(1)


def errors_of(table, repeats=200):  # RMS distance of means of K draws from the exact gradient
    errors = []
    for K in sizes.tolist():
        draws = torch.multinomial(probabilities, repeats * K, True, generator=generator)
        counts = torch.zeros(repeats, len(table))
        counts.scatter_add_(1, draws.view(repeats, K), torch.ones(repeats, K))
        means = torch.einsum("kn,nsa->ksa", counts / K, table)
        errors.append((means - exact).pow(2).sum((1, 2)).mean().sqrt())
    return torch.stack(errors)

# %% tags=["C17"]
def log_log_slope(errors):
    x, y = sizes.log(), errors.log()
    return ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).pow(2).sum()


errors = errors_of(score_form)
variance = torch.einsum("n,nsa->", probabilities, (score_form - exact) ** 2)
predicted = (variance / sizes).sqrt()

assert abs(log_log_slope(errors) + 0.5) < 0.015  # 4 standard errors of the fit
assert abs(log_log_slope(errors.square()) + 0.5) > 0.3  # control: the variance falls as 1/K
assert (errors / predicted - 1).abs().max() < 0.1  # not only the slope, the height too
print(f"fitted slope {log_log_slope(errors):.3f}")

# %% [markdown]
# ### What happens without the trick (C18)
#
# *Slide 19.* Suppose we skip the trick and average $R(\tau_k)\,\nabla_\theta\pi_\theta(\tau_k)$ over sampled trajectories. Sampling weighs each trajectory by $\pi_\theta(\tau)$, so that mean settles on
#
# $$\sum_\tau \pi_\theta(\tau)\, R(\tau)\, \nabla_\theta \pi_\theta(\tau) \;\neq\; \sum_\tau R(\tau)\, \nabla_\theta \pi_\theta(\tau).$$
#
# It converges, with shrinking error bars, to the wrong vector. More data do not help.

# %% tags=["C18"]
naive = returns[:, None, None] * slopes  # (N, S, A): R(tau) grad pi(tau)
settles_on = torch.einsum("n,nsa->sa", probabilities, naive)

naive_mean, naive_error = mean_and_error(naive)
standard_errors_off = ((naive_mean - exact[:5]) / naive_error).abs().max()
assert standard_errors_off > 50  # misses the gradient by far
assert ((naive_mean - settles_on[:5]).abs() < 4 * naive_error).all()  # and hits something else
assert ((mean - exact[:5]) / error).abs().max() < 4  # control: with the trick the same test passes

naive_errors = errors_of(naive)
assert log_log_slope(naive_errors) > -0.1  # more samples do not help
print(f"without pi(tau): {standard_errors_off:.0f} standard errors off")

# %%
figure, ax = blank_panel()
figures.plot_convergence(
    ax, sizes, {"with the trick": errors, "without it": naive_errors}, predicted
);

# %% [markdown]
# **What to notice.** The dots lie *on* the line: theory gives the height as well as the slope. The squares stay level however many trajectories we take. Their distance is bias, and averaging removes only noise. (At 16 rides the biased estimate is even the nearer one.) The next picture shows where the two means lie.

# %%
figure, ax = blank_panel(7.0, 4.8)
zeros = torch.zeros(5)
estimates = {
    "R(tau) grad log pi(tau), 4,000 rides": (mean[:, 1], error[:, 1]),
    "R(tau) grad pi(tau), 4,000 rides: pi(tau) missing": (naive_mean[:, 1], naive_error[:, 1]),
    "grad R(tau): gradient taken inside the average": (zeros, zeros),
}
figures.plot_gradient_estimates(ax, exact[:5, 1], estimates, list(places))
ax.set_xlabel("logit of hasty at");

# %% [markdown]
# **What to notice.** Each bar is the slope of $J$ in the logit of *hasty* at that place. Only the circles reach the ends of the bars. The squares look precise and are wrong, most of them even in sign. The triangles are the mistake of C14.

# %% [markdown]
# ## The score needs no model (C19)
#
# *Slides 20 and 21.* So far the score belongs to a whole trajectory. Its probability is a product, so its logarithm is a sum:
#
# $$\log\pi_\theta(\tau) = \log p(s_0) + \sum_{t=0}^{T-1}\Big(\log p(s_{t+1}\mid s_t,a_t) + \log\pi_\theta(a_t\mid s_t)\Big).$$
#
# Start and dynamics hold no $\theta$, and the gradient of what holds no $\theta$ is zero:
#
# $$\nabla_\theta\log\pi_\theta(\tau) = \sum_{t=0}^{T-1}\nabla_\theta\log\pi_\theta(a_t\mid s_t).$$
#
# This is what makes the estimate practical: it needs the policy and the ride, and no model of the world. Read the sum slowly. A state met twice is counted twice. Each term scores the action that was *taken*, not the policy's favourite. And it is a sum: a mean over the steps would shorten the gradient of long episodes.

# %%
def world_log_probs(theta):  # (N,): log p(s_0) + sum of log p(s_{t+1} | s_t, a_t)
    first = courier.start[paths.states[:, 0]].log()
    return first + courier.transitions[states, actions, paths.states[:, 1:]].log().sum(1)


def action_log_probs(theta):  # (N, T): log pi(a_t | s_t)
    return softmax_policy(theta)[states, actions].log()

# %% tags=["C19", "C79"]
step_scores = jacobian(action_log_probs, theta)  # (N, T, S, A): grad log pi(a_t | s_t)

assert same(path_log_probs(theta), world_log_probs(theta) + action_log_probs(theta).sum(1))
assert jacobian(world_log_probs, theta).abs().max() == 0  # the world's terms vanish
assert same(step_scores.sum(1), scores)
assert not same(step_scores[:, :-1].sum(1), scores)  # control: the last step counts too

# %% [markdown]
# Here is one ride in pictures. For a softmax, $\partial\log\pi_\theta(a\mid s)/\partial\theta_{s,b} = \mathbb 1[a=b] - \pi_\theta(b\mid s)$: in the row of the state, *taken minus expected*, and 0 in all other rows. The score of the ride is the sum over its steps.

# %%
by_park_and_ferry = (states == torch.tensor([0, 2, 4])).all(1)
ride = int((by_park_and_ferry & (actions == torch.tensor([1, 0, 1])).all(1)).nonzero())
figure, panels = plt.subplots(
    1, 4, figsize=(8.4, 2.6), sharey=True, facecolor="white", layout="constrained"
)
titles = ["t = 0: hasty", "t = 1: steady", "t = 2: hasty", "sum: the ride's score"]
tables = [*step_scores[ride], scores[ride]]
for ax, title, table in zip(panels, titles, tables):
    figures.plot_score(ax, table[:5], list(places), ["steady", "hasty"], title)

# %% [markdown]
# **What to notice.** Blue raises the logit, red lowers it, and each row sums to zero: an action can only gain what the other loses. The less an action was expected, the more its row moves: *hasty* had probability 0.38 at the depot and scores 0.62. Places that the ride did not visit have no say.
#
# The dynamics vanish from the *score*. They do not vanish from the *expectation*: they still decide which trajectories we get to see. On an icy day, with other odds for the next place, every score stays as it was, and the gradient changes.

# %% tags=["C19"]
icy_transitions = courier.transitions.clone()
icy_transitions[:3] = icy_transitions[:3].flip(1)  # haste now does what steadiness did
icy = TabularMDP(icy_transitions, rewards, gamma, start, home)
icy_paths = trajectories(icy, softmax_policy(theta), T)
icy_scores = jacobian(
    lambda theta: trajectories(icy, softmax_policy(theta), T).probabilities.log(), theta
)
assert torch.equal(icy_paths.states, paths.states)  # the same 32 rows in the same order
assert torch.equal(icy_paths.actions, actions)
assert same(icy_scores, scores)
assert not same(icy_paths.probabilities, probabilities)  # control: the world did change
assert not same(icy.policy_gradient(theta), exact)

# %% [markdown]
# ### The derivation in one go, every line computed (C20)
#
# *Slides 22 to 25.* All steps together, each line evaluated over all 32 trajectories by its own formula.
#
# | line | slide | $\nabla_\theta J(\theta) =$ | why |
# |---|---|---|---|
# | 1a | 22 | $\sum_\tau \nabla_\theta\pi_\theta(\tau)\; R(\tau)$ | gradient inside the sum (C15) |
# | 1b | 22 | $\sum_\tau \pi_\theta(\tau)\, \frac{\nabla_\theta\pi_\theta(\tau)}{\pi_\theta(\tau)}\; R(\tau)$ | multiply and divide |
# | 2 | 23 | $\mathbb{E}_\tau\big[\nabla_\theta\log\pi_\theta(\tau)\; R(\tau)\big]$ | log-derivative trick (C16) |
# | 3 | 24 | $\mathbb{E}_\tau\big[\nabla_\theta\log\big(p(s_0)\prod_t p(s_{t+1}\mid s_t,a_t)\,\pi_\theta(a_t\mid s_t)\big)\, R(\tau)\big]$ | expand the probability |
# | 4 | 25 | $\mathbb{E}_\tau\big[\big(\sum_t\nabla_\theta\log\pi_\theta(a_t\mid s_t)\big)\, R(\tau)\big]$ | the dynamics drop out (C19) |
#
# Line 4 is the note's equation (2) and, read as an expectation to sample from, its equation (3): **REINFORCE-1**.

# %%
def log_of_product(theta):  # line 3, the product written out before the logarithm is taken
    moves = courier.transitions[states, actions, paths.states[:, 1:]]  # (N, T)
    chosen = softmax_policy(theta)[states, actions]  # (N, T)
    return (courier.start[states[:, 0]] * (moves * chosen).prod(1)).log()


def over_all(weights, table):  # sum over trajectories of weight times vector
    return torch.einsum("n,nsa->sa", weights, table)

# %% tags=["C20"]
p = probabilities[:, None, None]
lines = {
    "1a": over_all(returns, slopes),
    "1b": over_all(returns, p * (slopes / p)),
    "2 ": over_all(probabilities * returns, scores),
    "3 ": over_all(probabilities * returns, jacobian(log_of_product, theta)),
    "4 ": over_all(probabilities * returns, step_scores.sum(1)),
}
for line, value in lines.items():
    assert same(value, exact), line
    print(f"line {line}: off by at most {(value - exact).abs().max():.1e}")
pi_for_log_pi = jacobian(lambda theta: softmax_policy(theta)[states, actions], theta).sum(1)
assert not same(over_all(probabilities * returns, pi_for_log_pi), exact)  # control: log forgotten

# %% [markdown]
# ## Which reward speaks to which action
#
# ### Two sums, two clocks (C21)
#
# *Slide 26.* Line 4 multiplies two sums over time, and they must not share an index. Let $t$ count actions and $t'$ rewards:
#
# $$\nabla_\theta J = \mathbb{E}_\tau\Big[\sum_{t=0}^{T-1}\nabla_\theta\log\pi_\theta(a_t\mid s_t)\;\sum_{t'=0}^{T-1}\gamma^{t'} r_{t'}\Big] = \sum_{t}\sum_{t'}\;\underbrace{\mathbb{E}_\tau\big[\nabla_\theta\log\pi_\theta(a_t\mid s_t)\,\gamma^{t'} r_{t'}\big]}_{B_{t,t'}}.$$
#
# So the gradient is a sum of $T\times T$ blocks. Block $B_{t,t'}$ says what the reward at $t'$ tells about the action at $t$. Note that $\gamma^{t'}$ goes with the time of the reward.

# %% tags=["C21"]
blocks = torch.einsum("n,ntsa,nu->tusa", probabilities, step_scores, discounted)  # (T, T, S, A)

assert same(blocks.sum((0, 1)), exact)
same_clock = torch.einsum("ttsa->sa", blocks)  # one index for both sums: only t = t'
assert not same(same_clock, exact)  # control: each action paired with its own reward alone
print(f"with one shared index the gradient is off by {(same_clock - exact).norm():.3f}")

# %% [markdown]
# ### Rewards of the past contribute nothing (C22)
#
# *Slide 27.* Take a block with $t' < t$: the reward was paid before the action was chosen. Let $h_t$ be all that happened before that action. Given $h_t$, the state and the reward are fixed, and we average over the action alone:
#
# $$\mathbb{E}\big[\nabla_\theta\log\pi_\theta(a_t\mid s_t)\, r_{t'}\,\big|\,h_t\big] = r_{t'}\sum_a \pi_\theta(a\mid s_t)\,\nabla_\theta\log\pi_\theta(a\mid s_t) = r_{t'}\,\nabla_\theta\underbrace{\sum_a\pi_\theta(a\mid s_t)}_{=\,1} = 0.$$
#
# The middle step is the log-derivative trick read backwards. In words: **a score has mean zero under its own policy**, and a constant times zero is zero.

# %% tags=["C22"]
sizes_of_blocks = blocks.flatten(2).norm(dim=2)  # (T, T)
past = torch.ones(T, T).tril(-1).bool()  # t' < t

assert sizes_of_blocks[past].max() < 1e-12
assert sizes_of_blocks[~past].min() > 0.01  # control: no other block vanishes
mean_score = torch.einsum("n,ntsa->tsa", probabilities, step_scores)
assert mean_score.abs().max() < 1e-12  # the reason: each step's score averages to zero

# %%
figure, ax = blank_panel(4.6, 4.0)
figures.plot_credit(ax, sizes_of_blocks);

# %% [markdown]
# **What to notice.** Row $t$, column $t'$ shows the length of $B_{t,t'}$. Below the diagonal all is zero: no action is credited with what was paid before it. Right of the diagonal are delayed consequences, which is why C21 needs two indices.

# %% [markdown]
# > **Erratum E7, first half (slide 28).**
# >
# > - **The lecture says:** past rewards may be dropped since they do not depend on the action $a_t$.
# > - **Right is:** they may be dropped because $\mathbb{E}[\nabla_\theta\log\pi_\theta(a_t\mid s_t)\mid s_t] = 0$ when the actions come from $\pi_\theta$ itself. A past reward *can* be correlated with $a_t$, through the state. And where the score does not average to zero, the past does not drop out.
# > - **The numbers:** here the correlation of $r_0$ with "$a_1$ is hasty" is not 0 but +0.14. And if the rides come from a courier who tosses a coin for every action, so that $\pi_\theta$'s scores no longer average to zero, the past blocks add up to a vector of length 0.45. The gradient itself is 0.72 long.

# %% tags=["C22", "E7"]
def correlation(x, y):  # of two functions of the trajectory, under pi
    x, y = x - probabilities @ x, y - probabilities @ y
    return probabilities @ (x * y) / ((probabilities @ x**2) * (probabilities @ y**2)).sqrt()


coin = trajectories(courier, torch.full((6, 2), 0.5), T).probabilities
past_of_coin = torch.einsum("n,ntsa,nu,tu->sa", coin, step_scores, discounted, past.double())
related = correlation(paths.rewards[:, 0], (actions[:, 1] == 1).double())
assert abs(related) > 0.1  # a past reward and a later action are not independent
assert past_of_coin.norm() > 0.3  # control: under another policy the past does not vanish
print(f"correlation {related:+.2f}; past blocks under a coin {past_of_coin.norm():.2f} long")

# %% [markdown]
# ### Rewards-to-go (C23)
#
# *Slide 28.* We drop the zero blocks, and each action keeps only its own reward and what comes after it:
#
# $$\begin{aligned}
# \nabla_\theta J &= \mathbb{E}_\tau\Big[\sum_{t=0}^{T-1}\nabla_\theta\log\pi_\theta(a_t\mid s_t)\sum_{t'=t}^{T-1}\gamma^{t'} r_{t'}\Big] \\
# &= \mathbb{E}_\tau\Big[\sum_{t=0}^{T-1}\gamma^t\, G_t\,\nabla_\theta\log\pi_\theta(a_t\mid s_t)\Big], \qquad G_t = \sum_{t'=t}^{T-1}\gamma^{t'-t} r_{t'}.
# \end{aligned}$$
#
# This is **REINFORCE-2**. Beware of the name $G_t$: slide 28 gives it to the whole inner sum, with $\gamma^{t'}$ inside. The note's equation (6) starts discounting afresh at $t$ and puts $\gamma^t$ in front. **The homework follows the note**: $G_t$ is discounted from step $t$ on.

# %% tags=["C23"]
later = torch.ones(T, T).triu()  # 1 where t' >= t
to_go_form = torch.einsum("ntsa,nu,tu->nsa", step_scores, discounted, later)  # (N, S, A)
assert same(over_all(probabilities, to_go_form), exact)

too_late = torch.ones(T, T).triu(1)  # t' > t: the action's own reward is lost
off_by_one = torch.einsum("ntsa,nu,tu->nsa", step_scores, discounted, too_late)
assert not same(over_all(probabilities, off_by_one), exact)  # control: starting a step late

# %% [markdown]
# The mean is the same. The noise is not: we removed terms that average to zero but are seldom zero on a single ride. We compute the total variance of one ride's estimate, that is the variances of all components added up, exactly.

# %% tags=["C23"]
def total_variance(table):  # of one trajectory's estimate, summed over the parameters
    return torch.einsum("n,nsa->", probabilities, (table - over_all(probabilities, table)) ** 2)


whole_form = torch.einsum("ntsa,nu->nsa", step_scores, discounted)  # R(tau) on every step
assert same(over_all(probabilities, whole_form), over_all(probabilities, to_go_form))
ratio = total_variance(to_go_form) / total_variance(whole_form)
assert ratio < 0.6
shrunk = to_go_form / 2  # control: small variance alone is no merit, the mean must be right
assert total_variance(shrunk) < total_variance(to_go_form)
assert not same(over_all(probabilities, shrunk), exact)
print(f"rewards-to-go need {ratio:.0%} of the rides for the same accuracy")

# %% [markdown]
# > **Erratum E7, second half (slide 28; note, section 2.2).**
# >
# > - **The lecture says:** dropping past rewards reduces the variance. (The note, more carefully: "usually".)
# > - **Right is:** it often does, and it need not. Write whole return = to-go + past. Then the variance of the whole is $\operatorname{Var}(\text{to-go}) + \operatorname{Var}(\text{past}) + 2\operatorname{Cov}(\text{to-go},\text{past})$, and a negative covariance can outweigh the rest.
# > - **The number:** let the courier leave a deposit of 4 at the depot, refunded with interest (divided by $\gamma^2$) at the last step. No trajectory's return changes, so with whole returns the variance stays 20.3. Rewards-to-go drop the deposit from the weights of steps 1 and 2 but keep the refund, and their variance goes from 11.7 up to **41.7**.

# %% tags=["C23", "E7"]
def variances_with(advance):  # paid out at step 0, taken back at step 2 (below 0: a deposit)
    moved = rewards.clone()
    moved[0] += advance
    moved[3:5] -= advance / gamma**2
    paid = discounts * moved[states, actions]  # (N, T)
    whole = torch.einsum("ntsa,nu->nsa", step_scores, paid)
    to_go = torch.einsum("ntsa,nu,tu->nsa", step_scores, paid, later)
    assert same(over_all(probabilities, whole), exact)  # the same gradient, all the same
    assert same(over_all(probabilities, to_go), exact)
    return torch.stack([total_variance(whole), total_variance(to_go)])

# %% tags=["C23", "E7"]
whole_variance, to_go_variance = variances_with(-4.0)
assert same(whole_variance, total_variance(whole_form))  # blind to the deposit
assert to_go_variance > 2 * whole_variance  # here rewards-to-go are the noisier estimator
assert variances_with(0.0)[1] < variances_with(0.0)[0]  # control: without a deposit they are not
print(f"deposit of 4: whole return {whole_variance:.1f}, rewards-to-go {to_go_variance:.1f}")

# %%
advances = torch.linspace(-5, 8, 131)
curves = torch.stack([variances_with(advance) for advance in advances])
figure, ax = blank_panel()
figures.plot_variance_of_shifted_pay(ax, advances, curves[:, 0], curves[:, 1]);

# %% [markdown]
# **What to notice.** At 0 stands our courier: with rewards-to-go the variance is much lower. If pay moves between the first and the last step, it draws a parabola across a flat line: below over a wide middle, above at both ends. So rewards-to-go are a good default, and no theorem ([lecture 3](03_rewards_to_go.ipynb), C84, says how good). What helps at the ends is to subtract what we expect of the future: a *baseline*, [lecture 8](08_advantages.ipynb).

# %% [markdown]
# > **E8, a convention to state (slide 28; note, equation (6)).**
# >
# > - **Both sources keep** the factor $\gamma^t$ before the score. Much code drops it.
# > - **Right is:** without it the mean is no longer the gradient of $J$. This course keeps $\gamma^t$; where a question wants the other form, it says so.
# > - **The numbers:** in this town, where each place belongs to one step, dropping it makes the rows of step 1 exactly $1/\gamma = 1.25$ times too long, those of step 2 $1.5625$ times. Lecture 3 shows a world where it leads downhill.

# %% tags=["C23", "E8"]
afresh = later * discounts / discounts[:, None]  # (T, T): gamma^(t'-t) where t' >= t
dropped = torch.einsum("n,ntsa,nu,tu->sa", probabilities, step_scores, paths.rewards, afresh)
rows_of_step = torch.tensor([0, 1, 1, 2, 2])  # depot; street, park; bridge, ferry
assert same(dropped[:5], exact[:5] / discounts[rows_of_step, None])
assert not same(dropped, exact)  # control: without gamma^t it is another vector

# %% [markdown]
# ## What we have
#
# | estimator from one trajectory | mean | total variance here |
# |---|---|---|
# | $R(\tau)\,\nabla\log\pi_\theta(\tau)$, the same as $R(\tau)\sum_t\nabla\log\pi_\theta(a_t\mid s_t)$: REINFORCE-1 | the gradient | 20.3 |
# | $\sum_t\gamma^t G_t\,\nabla\log\pi_\theta(a_t\mid s_t)$: REINFORCE-2 | the gradient | 11.7 |
# | $\nabla R(\tau)$ | zero (C14) | - |
# | $R(\tau)\,\nabla\pi_\theta(\tau)$ | something else (C18) | - |
# | $\sum_t G_t\,\nabla\log\pi_\theta(a_t\mid s_t)$ | too heavy on late steps (E8) | - |
#
# The first two need no model of the world. They need trajectories from the *current* policy and the gradients of its log-probabilities.
#
# ## Exercises
#
# 1. (C19) Derive "taken minus expected" for the softmax table by hand. What does each row sum to, and why? Compare with `step_scores`.
# 2. (C18) You draw trajectories uniformly from the 32 rows instead of from $\pi_\theta$. By what must $R(\tau)\,\nabla\pi_\theta(\tau)$ be multiplied so that the sample mean is right?
# 3. (C22) Replace $r_{t'}$ by any function $b(s_t)$. Show that the block is still zero. Where does the proof break if $b$ may look at $a_t$?
# 4. (E8) For which $\gamma$ does dropping $\gamma^t$ change nothing? If a place can be met at step 0 *and* at step 1, is the bias still a plain factor for each row?
#
# ## To the homework
#
# - [hw1, question 1](../homework/hw1.ipynb#1.-Rewards-to-go): **`returns_to_go`** is the $G_t$ of C23, discounted from step $t$ on.
# - [hw1, questions 3](../homework/hw1.ipynb#3.-The-wrong-derivative) and [5](../homework/hw1.ipynb#5.-A-world-that-holds-your-policy), in words: C14 to C18 and C19, each with a twist.
# - [hw1, question 4](../homework/hw1.ipynb#4.-The-log-probability-of-a-trajectory): **`trajectory_log_prob`** is the first sum of C19, and its gradient the second.
# - [hw1, question 7](../homework/hw1.ipynb#7.-The-gradient-from-one-episode:-REINFORCE-1): **`reinforce_1`** is line 4 of C20 for a single trajectory, note (3).
# - [hw1, question 8](../homework/hw1.ipynb#8.-The-gradient-with-rewards-to-go:-REINFORCE-2): **`reinforce_2`** is the last formula of C23, note (6), with $\gamma^t$ kept (E8).
