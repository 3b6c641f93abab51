# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework 1: REINFORCE
#
# You will write REINFORCE from its parts, see it learn, and answer two questions in words. Each part takes what it needs as arguments, so a mistake in one costs you nothing in the next, and you may do them in any order.
#
# {questions}
#
# *Slide 30* and *the note* are the slides and the lecture note that the course follows; the lectures are the notebooks in the folder `lectures`, and *section C24* is the heading there that ends in (C24).
#
# **How to work.** Write your code where it says `YOUR CODE HERE` and run the cell below it. It tries your function on a few examples and says whether it is right; many mistakes it knows by name. When your homework is graded, the same questions are asked on other numbers. From a terminal, `course check hw1.ipynb` runs the whole notebook at once.
#
# **How it is graded.** A question gives its points in parts: what is right in one respect, say for $\gamma = 1$, has its points even if the rest is wrong (a few parts, such as leaving the arguments alone, count only if something else is right too), and the check says which parts you have. Any way to the right numbers is fine: loops or not, autograd or a formula, torch or numpy inside. Arguments must be left as they came in (their numbers, their `requires_grad`, their `.grad`): if you need to change one, change a copy. You need not check arguments for errors: the `validate` lines that stand in the functions do that. Beside Python's own modules and the course's, {modules} are there when it is graded, and no others; a file or folder of your own that you import is there if you hand it in too.

# %% [markdown]
# ## Conventions
#
# An episode is $s_0, a_0, r_0, \dots, s_{T-1}, a_{T-1}, r_{T-1}$. Time counts from 0, and the state in which it ends is not listed.
#
# - `states`, `actions` are `(T,)` tensors of whole numbers, `rewards` is `(T,)`.
# - `theta` is `(S, A)`: one logit a state and action. The policy is its softmax along each row, $\pi_\theta(a \mid s) = e^{\theta_{s,a}} / \sum_{b} e^{\theta_{s,b}}$.
# - The objective is the **discounted** return from the start, $J(\theta) = \mathbb{E}\big[\sum_t \gamma^t r_t\big]$. So the factor $\gamma^t$ in front of the score stays wherever a formula below has it. Much code that you will find elsewhere drops it; lecture 2, section C23, shows what that does.

# %%
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from autograder.student.check import check, in_doubles
from course_lib import validate
from course_lib.episodes import sample_episodes
from course_lib.mdp import three_state_chain
from course_lib.policies import softmax_policy

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # the tensors here are small: more threads would wait for each other

# %% [markdown]
# ## 1. Rewards-to-go
#
# The reward-to-go of step $t$ is what the episode still pays from that step on, discounted back to it:
#
# $$G_t = \sum_{k=t}^{T-1} \gamma^{k-t} r_k \qquad\text{or, step by step,}\qquad G_t = r_t + \gamma\, G_{t+1}, \quad G_T = 0.$$
#
# Note that time is counted from $t$: the step's own reward has weight 1.
#
# **By hand.** For rewards $(1, 0, 2)$ and $\gamma = 0.5$: $G_2 = 2$, then $G_1 = 0 + 0.5 \cdot 2 = 1$, then $G_0 = 1 + 0.5 \cdot 1 = 1.5$. The answer is $(1.5, 1, 2)$.
#
# *Lecture 2, section C23.*

# %% answer="returns_to_go"

# %% check="returns_to_go" points=2

# %% [markdown]
# ## 2. The log-derivative trick
#
# *In words and formulas, a few lines. Lecture 2, sections C15 to C18.*
#
# Let $P_\theta(\tau)$ be the probability of a trajectory $\tau$ and $R(\tau)$ its return.
#
# 1. Show that $\nabla_\theta P_\theta(\tau) = P_\theta(\tau)\, \nabla_\theta \log P_\theta(\tau)$ where $P_\theta(\tau) > 0$, and use it to write $\nabla_\theta \sum_\tau R(\tau) P_\theta(\tau)$ as an expectation.
# 2. Why is it not enough to sample trajectories from the policy and average $R(\tau)\, \nabla_\theta P_\theta(\tau)$? What does that average converge to?

# %% [markdown] written="log_derivative" points=3
# **1.** By the chain rule $\nabla_\theta \log P_\theta(\tau) = \nabla_\theta P_\theta(\tau) / P_\theta(\tau)$ wherever $P_\theta(\tau) > 0$; multiply by $P_\theta(\tau)$. The returns do not depend on $\theta$ and the sum is finite, so the gradient may be taken term by term:
#
# $$\nabla_\theta \sum_\tau R(\tau) P_\theta(\tau) = \sum_\tau R(\tau)\, P_\theta(\tau)\, \nabla_\theta \log P_\theta(\tau) = \mathbb{E}_{\tau \sim \pi_\theta}\big[R(\tau)\, \nabla_\theta \log P_\theta(\tau)\big].$$
#
# **2.** A sample mean over $\tau_k \sim P_\theta$ converges to the expectation of what is averaged, which weighs each $\tau$ with $P_\theta(\tau)$ once more: it tends to $\sum_\tau P_\theta(\tau) R(\tau) \nabla_\theta P_\theta(\tau)$, not to $\sum_\tau R(\tau) \nabla_\theta P_\theta(\tau)$. Likely trajectories count too much. Dividing by $P_\theta(\tau)$ repairs it, and that quotient is the gradient of the logarithm.
#
# === BEGIN MARK SCHEME ===
# - **1 point** for the identity: derivative of the logarithm, or the chain rule, named or shown.
# - **1 point** for the expectation: the weight is P(tau) and the integrand is R(tau) times the gradient of log P(tau). An argument that R(tau) does not depend on theta, or that the gradient may go inside the sum, is welcome but not needed.
# - **1 point** for part 2: sampling already brings in a factor P(tau), so the average converges to the sum of P(tau) R(tau) grad P(tau) (formula or clear words). "It is biased" alone: no point. "It has high variance": no point.
# - An integral in place of the sum is as good.
# === END MARK SCHEME ===

# %% [markdown]
# ## 3. Where the dynamics go
#
# *In words and formulas, a few lines. Lecture 2, section C19.*
#
# The probability of a trajectory holds the start distribution, the policy and the environment's transitions. Show that its score $\nabla_\theta \log P_\theta(\tau)$ holds the policy only. Then say in a sentence what this is worth to someone who has an environment to act in, but no model of it.

# %% [markdown] written="dynamics_cancel" points=2
# The logarithm turns the product into a sum:
#
# $$\log P_\theta(\tau) = \log p(s_0) + \sum_{t} \log \pi_\theta(a_t \mid s_t) + \sum_{t} \log p(s_{t+1} \mid s_t, a_t).$$
#
# The first and the last term do not hold $\theta$, so their gradient is zero, and what is left is $\nabla_\theta \log P_\theta(\tau) = \sum_t \nabla_\theta \log \pi_\theta(a_t \mid s_t)$. The estimate can therefore be computed from sampled states, actions and rewards and from the policy itself; nobody needs to know, or differentiate, the transition probabilities. They still decide which trajectories are sampled.
#
# === BEGIN MARK SCHEME ===
# - **1 point** for the derivation: the logarithm of the product is a sum, and the terms of the start and of the transitions have gradient zero **because they do not depend on theta**. "They are constant" is enough; "they are known" or "they cancel" without a reason is not.
# - **1 point** for what it is worth: the gradient can be estimated from sampled episodes without knowing the transition probabilities (model-free). Half a point is not given.
# === END MARK SCHEME ===

# %% [markdown]
# ## 4. The gradient from one episode: REINFORCE-1
#
# The note's equation (3) takes the whole return of the episode and lets every action share it:
#
# $$\hat g(\tau) = R(\tau) \sum_{t=0}^{T-1} \nabla_\theta \log \pi_\theta(a_t \mid s_t), \qquad R(\tau) = \sum_{t=0}^{T-1} \gamma^t r_t.$$
#
# Here time is counted from the start of the episode, and there is no further $\gamma^t$ in front of the scores.
#
# Either let autograd differentiate, or use the score of a softmax: with respect to the row of state $s$ it is $\nabla_{\theta_s} \log \pi_\theta(a \mid s) = e_a - \pi_\theta(\cdot \mid s)$, where $e_a$ is 1 at $a$ and 0 elsewhere; all other rows are zero.
#
# **By hand.** Two states, two actions, `theta` all zero, so every probability is $\tfrac12$. The episode visits states $(0, 1)$, takes actions $(1, 0)$ and is paid $(1, 2)$; $\gamma = 0.5$. Then $R = 1 + 0.5 \cdot 2 = 2$, the scores are $(-\tfrac12, \tfrac12)$ in row 0 and $(\tfrac12, -\tfrac12)$ in row 1, and the estimate is
#
# $$\begin{pmatrix} -1 & 1 \\ 1 & -1 \end{pmatrix}.$$
#
# *Lecture 2, sections C19 to C21.*

# %% answer="reinforce_1"

# %% check="reinforce_1" points=3

# %% [markdown]
# ## 5. The gradient with rewards-to-go: REINFORCE-2
#
# What was paid before step $t$ adds nothing to the mean of its term, only noise. Leaving it out gives the note's equation (6), and slide 28:
#
# $$\hat g(\tau) = \sum_{t=0}^{T-1} \gamma^t\, G_t\, \nabla_\theta \log \pi_\theta(a_t \mid s_t).$$
#
# The rewards-to-go $G_t$ come in as the argument `returns`, already computed. The factor $\gamma^t$ is kept: $G_t$ counts time from $t$, and $J$ counts it from the start.
#
# **By hand.** The episode of question 4, now with `returns` $= (3, 4)$ just to have round numbers, and $\gamma = 0.5$. Row 0 gets $1 \cdot 3 \cdot (-\tfrac12, \tfrac12)$ and row 1 gets $0.5 \cdot 4 \cdot (\tfrac12, -\tfrac12)$:
#
# $$\begin{pmatrix} -1.5 & 1.5 \\ 1 & -1 \end{pmatrix}.$$
#
# *Lecture 2, sections C22 and C23.*

# %% answer="reinforce_2"

# %% check="reinforce_2" points=3

# %% [markdown]
# ## 6. A loss with a baseline
#
# In larger programs nobody adds up gradients by hand: one writes down a loss, and an optimiser makes it small. Subtracting a baseline $b_t$, a guess of $G_t$ that does not depend on the action, leaves the mean of the gradient as it is and can lower its variance:
#
# $$L = -\sum_{t=0}^{T-1} \gamma^t\, (G_t - b_t)\, \log \pi_\theta(a_t \mid s_t).$$
#
# The argument `log_probs` holds $\log \pi_\theta(a_t \mid s_t)$ and knows its graph; `returns` holds $G_t$, and `values` holds $b_t$. **The baseline is a constant in this formula**, even when a network that is learning has made it: no gradient may flow into `values`. The result is a scalar tensor with a graph. It is a sum over the steps, and $\gamma^t$ is kept.
#
# **By hand.** For `log_probs` $= (-0.5, -1)$, `returns` $= (3, 4)$, `values` $= (1, 2)$ and $\gamma = 0.5$: $L = -\big(1 \cdot 2 \cdot (-0.5) + 0.5 \cdot 2 \cdot (-1)\big) = 2$.
#
# *Lecture 2, section C23, for what stands in front of the score; baselines follow in the lecture on advantages.*

# %% answer="baseline_loss"

# %% check="baseline_loss" points=3

# %% [markdown]
# ## 7. REINFORCE
#
# Now the loop around it. In each of `iterations` rounds:
#
# 1. call `sample_episodes(theta)` with the **current** `theta`: it gives a list of episodes of that policy;
# 2. call `estimate_gradient(theta, episode)` for each of them, and take the mean;
# 3. $\theta \leftarrow \theta + \alpha \cdot$ mean, with $\alpha$ the `learning_rate`: uphill, since the estimate is of $\nabla J$.
#
# Return the last `theta`. You need not know what an episode is made of: hand it on as it is. The `theta` that came in must stay as it was.
#
# **By hand.** With $\theta = 0$, two episodes whose estimates are 1 and 3, and $\alpha = 0.5$, one round leads to $0 + 0.5 \cdot 2 = 1$.
#
# *Slide 30; the note's Algorithm 1. Lecture on REINFORCE, section C24.*

# %% answer="reinforce"

# %% check="reinforce" points=4

# %% [markdown]
# ## See it learn
#
# Nothing to do here: this runs your own functions on the chain of slide 5. The chain is small enough that the return of any policy can be computed exactly, and so can the best one, the dashed line. Both of your estimators climb towards it; each thin line is one run with its own random numbers.
#
# *What to notice.* The first steps are long and the last ones short: as the policy gets sure of itself, its scores shrink. And neither estimator wins every run: on three states there is little past to leave out.

# %%
chain = three_state_chain()


@torch.enable_grad()  # whatever they are called from
def with_whole_return(theta: Tensor, episode: Any) -> Tensor:
    theta = in_doubles(theta)
    gradient = reinforce_1(theta, episode.states, episode.actions, episode.rewards, chain.gamma)
    return in_doubles(gradient)


@torch.enable_grad()
def with_rewards_to_go(theta: Tensor, episode: Any) -> Tensor:
    theta, returns = in_doubles(theta), in_doubles(returns_to_go(episode.rewards, chain.gamma))
    gradient = reinforce_2(theta, episode.states, episode.actions, returns, chain.gamma)
    return in_doubles(gradient)


def exact_returns_on_the_way(estimate: Callable[[Tensor, Any], Tensor], seed: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    curve = []

    def sample(theta: Tensor) -> list[Any]:
        policy = softmax_policy(in_doubles(theta))
        curve.append(chain.expected_return(policy).item())
        return sample_episodes(chain, policy, 8, generator, max_steps=100)

    reinforce(torch.zeros(3, 2), sample, estimate, 0.05, 50)  # by position: names may differ
    return curve


try:
    fig, ax = plt.subplots(figsize=(7, 4), facecolor="white")
    for estimate, label, colour, line in (
        (with_whole_return, "REINFORCE-1", "#0072B2", "-"),
        (with_rewards_to_go, "REINFORCE-2", "#D55E00", ":"),
    ):
        for seed in range(2):
            curve = exact_returns_on_the_way(estimate, seed)
            ax.plot(curve, line, color=colour, label=label if seed == 0 else None)
    best = chain.expected_return(chain.optimal_policy()).item()
    ax.axhline(best, color="black", linestyle="--", label=f"best possible, {best:.2f}")
    ax.set_xlabel("iterations of 8 episodes")
    ax.set_ylabel("expected discounted return")
    ax.legend()
    plt.show()
except NotImplementedError as missing:
    plt.close()
    print(f"Not yet: {missing}. The picture comes once questions 1, 4, 5 and 7 are written.")
except Exception as error:
    plt.close()
    print(f"No picture: {type(error).__name__}: {error}. First get 1, 4, 5 and 7 right.")

# %% [markdown]
# ## Before you hand in
#
# Restart the kernel and run all cells: every check should print a line that ends in "examples", and the questions in words should hold your words. Then hand in this file, with its name unchanged.
