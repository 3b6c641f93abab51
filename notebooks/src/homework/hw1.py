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
# You will write REINFORCE from its parts, first for worlds so small that everything can be worked out exactly, in the end for a network that balances a pole; and you will answer two questions in words. Each part takes what it needs as arguments, so a mistake in one costs you nothing in the next, and you may do them in any order.
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
# - A small world that is known is given by tables, for $S$ states and $A$ actions: `start` `(S,)` holds the probabilities $p(s_0 = s)$, `transitions` `(S, A, S)` holds `transitions[s, a, s2]` $= p(s_2 \mid s, a)$, and `rewards` `(S, A)` holds $r(s, a)$. A state in which an episode ends leads to itself and pays 0, so no formula has to treat it apart.
# - `theta` is `(S, A)`: one logit a state and action. The policy is its softmax along each row, $\pi_\theta(a \mid s) = e^{\theta_{s,a}} / \sum_{b} e^{\theta_{s,b}}$.
# - The objective is the **discounted** return from the start, $J(\theta) = \mathbb{E}\big[\sum_t \gamma^t r_t\big]$. So the factor $\gamma^t$ in front of the score stays wherever a formula below has it. Much code that you will find elsewhere drops it; lecture 2, section C23, shows what that does.

# %%
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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

# %% check="returns_to_go" points=6

# %% [markdown]
# ## 2. Values and advantages
#
# How good is a policy in each state, and which actions are better than what it does? In a world that is known there is nothing to estimate. The value of a state and the value of an action hang together,
#
# $$V(s) = \sum_a \pi(a \mid s)\, Q(s, a), \qquad Q(s, a) = r(s, a) + \gamma \sum_{s'} p(s' \mid s, a)\, V(s'),$$
#
# and the advantage is the difference, $A(s, a) = Q(s, a) - V(s)$. Put one equation into the other, and $V$ alone is left: $S$ linear equations for $S$ numbers. Solve them, or start from $V = 0$ and apply the equation until nothing changes by more than $10^{-8}$; with $\gamma < 1$ that settles.
#
# `policy` is `(S, A)`, the table $\pi(a \mid s)$: probabilities, not logits. Return the pair `values, advantages`, of shapes `(S,)` and `(S, A)`.
#
# **By hand.** Three states in a row, the last one the end; *Left* leads to the first, *Right* one on; only *Right* in the middle pays, 1; $\gamma = \tfrac12$. The policy goes right in the first state and tosses a coin in the middle. Then $V_0 = \tfrac12 V_1$ and $V_1 = \tfrac12 \cdot \tfrac12 V_0 + \tfrac12 \cdot 1$, so $V = (\tfrac27, \tfrac47, 0)$. In the middle $Q = (\tfrac12 \cdot \tfrac27,\ 1)$, and the advantages are $(-\tfrac37, \tfrac37)$; in the first state they are $(-\tfrac17, 0)$.
#
# *Slide 5. Lecture 1, sections C02 and C03.*

# %% answer="values_and_advantages"

# %% check="values_and_advantages" points=9

# %% [markdown]
# ## 3. The wrong derivative
#
# *In words and formulas, about ten lines. Lecture 2, sections C14 to C18, has the tools.*
#
# A single decision: action 1 is taken with probability $p = 1 / (1 + e^{-\theta})$ and pays $1 + c$; action 0 pays $c$. So the actions differ by 1, and $c$ is what one gets anyway. A program forgets the logarithm: it draws actions from the policy, averages $R(\tau)\, \nabla_\theta P_\theta(\tau)$ over many of them, and steps in that direction.
#
# 1. Work out $\nabla_\theta J$, and what the program's average converges to, both as formulas in $p$ and $c$. (Note that $dp/d\theta = p\,(1 - p)$.)
# 2. Let $p = \tfrac14$. For which $c$ does the program make the better action *rarer*?
# 3. "It only gets the length of the step wrong, and the learning rate takes care of that." What do you answer? And why does $c$ drop out of the gradient, but not out of the program's average?

# %% [markdown] written="wrong_derivative" points=9
# **1.** $P(1) = p$ and $P(0) = 1 - p$, with derivatives $p(1-p)$ and $-p(1-p)$. So $J = p\,(1 + c) + (1 - p)\,c = p + c$ and $\nabla J = p\,(1-p)$. The average converges to the expectation of what is averaged, in which each action counts with its probability:
#
# $$p \cdot (1 + c)\, p(1-p) \;-\; (1-p) \cdot c\, p(1-p) = p(1-p)\,\big(p + c\,(2p - 1)\big).$$
#
# **2.** For $p = \tfrac14$ the bracket is $\tfrac14 - \tfrac{c}{2}$. It is negative, and the step leads down, for $c > \tfrac12$.
#
# **3.** The sign can be wrong, as in part 2, and no learning rate mends a direction (in more dimensions the two vectors are not even parallel). Drawing the actions brings in each probability once already; $\nabla P$ has it built in, so it counts twice. In the gradient $c$ multiplies $\nabla P(1) + \nabla P(0) = \nabla 1 = 0$. In the average it multiplies $\sum_a P(a)\,\nabla P(a) = \tfrac12 \nabla \sum_a P(a)^2$, which pushes towards whatever is likelier now. Dividing by $P$, that is $\nabla \log P$ in place of $\nabla P$, takes the second factor away.
#
# === BEGIN MARK SCHEME ===
# - **2 points** for the gradient, p (1 - p). One of them, **1 point**, for J = p + c alone.
# - **2 points** for the limit of the average, in any form equal to p (1 - p) (p + c (2 p - 1)). One of them if the two terms stand there and are put together wrongly.
# - **2 points** for part 2: c > 1/2. A wrong formula from part 1, used rightly, has both. One if the sign is turned round.
# - **3 points** for part 3. One: the direction can be wrong, not only the length ("it is biased" alone: no point). One: the probability counts twice, once by sampling and once in grad P. One: c multiplies the sum of grad P, which is zero since probabilities sum to 1; with weights P it is not.
# === END MARK SCHEME ===

# %% [markdown]
# ## 4. The log-probability of a trajectory
#
# What is the probability that everything happens just so: the first state, each action, each move? It is a product, and its logarithm a sum:
#
# $$\log P_\theta(\tau) = \log p(s_0) + \sum_{t=0}^{T-1} \Big( \log \pi_\theta(a_t \mid s_t) + \log p(s_{t+1} \mid s_t, a_t) \Big).$$
#
# Only here `states` is `(T + 1,)`: its last entry $s_T$ is where the last action led, and that move has a probability too. `start` and `transitions` are the world's tables. The result is a scalar tensor with a graph, since later its gradient in `theta` is wanted: do not detach `theta`.
#
# **By hand.** Two states, two actions, `theta` all zero. The trajectory is in the states $(0, 1, 1)$ with actions $(1, 0)$; it starts in either state with probability $\tfrac12$, and its two moves have the probabilities 0.8 and 0.5. So $P = \tfrac12 \cdot \tfrac12 \cdot 0.8 \cdot \tfrac12 \cdot 0.5 = 0.05$ and $\log P = -2.9957$. Its gradient is $(-\tfrac12, \tfrac12)$ in row 0 and $(\tfrac12, -\tfrac12)$ in row 1, whatever the world's numbers are.
#
# *Slides 10 and 20. Lecture 1, section C09; lecture 2, section C19; lecture 3, section C75, for the last move.*

# %% answer="trajectory_log_prob"

# %% check="trajectory_log_prob" points=8

# %% [markdown]
# ## 5. A world that holds your policy
#
# *In words and formulas, about ten lines. Compare lecture 2, section C19.*
#
# A board game for two, learned by **self-play**: one and the same $\pi_\theta$ moves for both sides. Seen from player 1, the opponent is a part of the world: $s_t$ is the board when player 1 is to move, and his move $a_t$ turns it into the board $s'_t$; then the opponent draws $b_t$ from $\pi_\theta(\cdot \mid s'_t)$, which turns that into $s_{t+1}$. There is no other chance in the game. $R(\tau)$ is what player 1 gets.
#
# 1. Write down $\log P_\theta(\tau)$ and its gradient, the moves of both sides being recorded. At which point does the usual argument for leaving out the world's part fail?
# 2. A program multiplies $R(\tau)$ with $\sum_t \nabla_\theta \log \pi_\theta(a_t \mid s_t)$, player 1's moves alone. Of what is this an unbiased estimate? (Let $J(\theta, \varphi)$ be what player 1 can expect with parameters $\theta$ against an opponent with parameters $\varphi$.)
# 3. Let the game be such that $J(\theta, \theta) = 0$ for every $\theta$: what one side wins the other loses, and neither has an advantage. What is then the mean of $R(\tau)\, \nabla_\theta \log P_\theta(\tau)$ with the whole gradient of part 1, and which of the two estimates would you train with?

# %% [markdown] written="self_play" points=8
# **1.** The opponent's moves are drawn from $\pi_\theta$ as well:
#
# $$\log P_\theta(\tau) = \log p(s_0) + \sum_t \log \pi_\theta(a_t \mid s_t) + \sum_t \log \pi_\theta(b_t \mid s'_t),$$
#
# and the gradient has both sums; only $\log p(s_0)$ drops out. The argument needs that $\theta$ does not stand in $p(s_{t+1} \mid s_t, a_t)$. Here it does: that probability is $\pi_\theta(b_t \mid s'_t)$, so its gradient is not zero.
#
# **2.** Of $\partial J(\theta, \varphi) / \partial \theta$ at $\varphi = \theta$: how the result changes if player 1 alone changes, against an opponent who stays as he is. For with $\varphi$ held fixed the opponent's factors hold no $\theta$, they are a world like any other, and REINFORCE-1 is unbiased in it.
#
# **3.** It is the mean of an unbiased estimate of $\nabla_\theta J(\theta, \theta)$, and that function is constant: zero. All of it is noise, since what player 1 gains by the step the opponent gains as well. Train with the estimate of part 2, which says how to play better against the opponent of today.
#
# === BEGIN MARK SCHEME ===
# - **3 points** for part 1. One: the opponent's factors stand in log P. One: the gradient has both sums. One: the argument fails since the transition probability depends on theta (its gradient is not zero). A transition written as a sum over the moves b that lead to the same board is as good.
# - **3 points** for part 2. Two: the derivative of J in its first argument only, the opponent held fixed (in words or as a formula). One: why, for instance since with the opponent fixed his moves are ordinary dynamics. "A biased estimate of the gradient of J" alone: **1 point**.
# - **2 points** for part 3. One: the mean is zero, since J(theta, theta) is constant. One: the estimate of part 2, with a reason.
# === END MARK SCHEME ===

# %% [markdown]
# ## 6. Planning: the exact gradient
#
# Whoever knows the world need not play to learn the gradient. Episodes of $T$ steps are finite in number, so the expectation can be written out, trajectory by trajectory:
#
# $$\nabla_\theta J(\theta) = \sum_{\tau} P_\theta(\tau)\, R(\tau) \sum_{t=0}^{T-1} \nabla_\theta \log \pi_\theta(a_t \mid s_t), \qquad R(\tau) = \sum_{t=0}^{T-1} \gamma^t\, r(s_t, a_t).$$
#
# The argument `horizon` is $T$. A trajectory is here $s_0, a_0, \dots, s_{T-1}, a_{T-1}$: `horizon` states and actions, and one move less, since where the last action leads is neither paid nor decided on. There are $(S A)^T$ of them, a few thousand at most in the checks; `itertools.product` and `torch.cartesian_prod` make such lists, and so does a function that calls itself for each next step. What is impossible has probability 0. Return the gradient, `(S, A)`.
#
# Some other way to the same gradient is as good: forwards through the distribution of the states, or backwards through the values. But not by sampling.
#
# **By hand.** One state, two actions, `theta` zero, $T = 2$, $\gamma = \tfrac12$; action 1 pays 1, action 0 nothing. The four sequences of actions $00, 01, 10, 11$ have probability $\tfrac14$ each, the returns $0, \tfrac12, 1, \tfrac32$, and in the logit of action 1 the scores $-1, 0, 0, 1$. So the gradient is $(-\tfrac38, \tfrac38)$. (Indeed $J = (1 + \tfrac12)\, p$ with $dp/d\theta_1 = p\,(1 - p) = \tfrac14$.)
#
# *The note's equation (2). Lecture 3, section C76.*

# %% answer="exact_gradient"

# %% check="exact_gradient" points=11

# %% [markdown]
# ## 7. The gradient from one episode: REINFORCE-1
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

# %% check="reinforce_1" points=8

# %% [markdown]
# ## 8. The gradient with rewards-to-go: REINFORCE-2
#
# What was paid before step $t$ adds nothing to the mean of its term, only noise. Leaving it out gives the note's equation (6), and slide 28:
#
# $$\hat g(\tau) = \sum_{t=0}^{T-1} \gamma^t\, G_t\, \nabla_\theta \log \pi_\theta(a_t \mid s_t).$$
#
# The rewards-to-go $G_t$ come in as the argument `returns`, already computed. The factor $\gamma^t$ is kept: $G_t$ counts time from $t$, and $J$ counts it from the start.
#
# **By hand.** The episode of question 7, now with `returns` $= (3, 4)$ just to have round numbers, and $\gamma = 0.5$. Row 0 gets $1 \cdot 3 \cdot (-\tfrac12, \tfrac12)$ and row 1 gets $0.5 \cdot 4 \cdot (\tfrac12, -\tfrac12)$:
#
# $$\begin{pmatrix} -1.5 & 1.5 \\ 1 & -1 \end{pmatrix}.$$
#
# *Lecture 2, sections C22 and C23.*

# %% answer="reinforce_2"

# %% check="reinforce_2" points=8

# %% [markdown]
# ## 9. What rewards-to-go are worth
#
# Both estimates have the same mean. They differ in how far a single one lies from it, and in a small world that can be computed instead of believed. The **total variance** of an estimate $\hat g(\tau)$ adds up the variances of all its entries (it is the trace of its covariance matrix):
#
# $$\operatorname{Var}(\hat g) = \sum_{\tau} P_\theta(\tau)\, \lVert \hat g(\tau) - \mathbb{E}[\hat g] \rVert^2, \qquad \mathbb{E}[\hat g] = \sum_{\tau} P_\theta(\tau)\, \hat g(\tau).$$
#
# The world is given as the list of all its trajectories: `states`, `actions` and `rewards` are `(N, T)`, a trajectory a row, and `probabilities` `(N,)` are theirs under the policy of `theta`. Return two numbers, as a tensor `(2,)` or as a pair: the total variance of REINFORCE-1 (question 7), then that of REINFORCE-2 (question 8), each of the estimate from **one** episode. You may call your functions from above, row by row, but then their mistakes count here too.
#
# **By hand.** The world of question 6, with the sequences $00, 01, 10, 11$. In the logit of action 1, REINFORCE-1 gives $0, 0, 0, \tfrac32$, and REINFORCE-2 gives $0, 0, \tfrac12, 1$. The means are both $\tfrac38$; the variances of this entry are $\tfrac{9}{16} - \tfrac{9}{64} = \tfrac{27}{64}$ and $\tfrac{5}{16} - \tfrac{9}{64} = \tfrac{11}{64}$. The other entry is always the opposite number, so the total variances are $\tfrac{27}{32}$ and $\tfrac{11}{32}$.
#
# *The note, section 2.2. Lecture 2, section C23; lecture 3, section C84.*

# %% answer="estimator_variances"

# %% check="estimator_variances" points=8

# %% [markdown]
# ## 10. A loss with a baseline
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

# %% check="baseline_loss" points=8

# %% [markdown]
# ## 11. REINFORCE
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

# %% check="reinforce" points=8

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

    reinforce(torch.zeros(3, 2), sample, estimate, 0.05, 30)  # by position: names may differ
    return curve


# %%
# Picture: grading does not run this cell.
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
    print(f"Not yet: {missing}. The picture comes once questions 1, 7, 8 and 11 are written.")
except Exception as error:
    plt.close()
    print(f"No picture: {type(error).__name__}: {error}. First get 1, 7, 8 and 11 right.")

# %% [markdown]
# ## 12. REINFORCE with a network
#
# A table has no room for the states of a pole on a cart: four real numbers each. There a network reads the observation and gives a logit for each action; a softmax makes the policy of them. All that REINFORCE needs of it is a loss. The batch holds $B$ episodes, and shorter ones are filled up to the length $T$ of the longest:
#
# $$L = -\frac1B \sum_{b=1}^{B} \sum_{t=0}^{T-1} m_{b,t}\; \gamma^t\, G_{b,t}\, \log \pi(a_{b,t} \mid s_{b,t}), \qquad m_{b,t} = 1 \text{ where the step happened, else } 0.$$
#
# - `network` takes observations `(..., O)` to logits `(..., A)`, so the whole table `(B, T, O)` at once if you like.
# - `actions` `(B, T)` are those taken, `returns` `(B, T)` the rewards-to-go $G_{b,t}$, already computed, and `mask` `(B, T)` is of type bool.
# - In the padding the other arguments hold anything, zeros or not: it must have no effect.
# - The result is a scalar with a graph that leads into the network. It is a sum over time and a mean over episodes.
#
# **By hand.** The network gives the logits $(0, 0)$ to everything, so each action has the log-probability $-\ln 2$. With $\gamma = \tfrac12$, one episode has two steps and the returns $(3, 4)$, the other one step and the return 1. Their sums of $\gamma^t G_t$ are $3 + 2 = 5$ and $1$, and $L = \tfrac12\,(5 + 1) \ln 2 = 2.0794$.
#
# *Slide 68 for the policy; the note's equation (6) and Algorithm 1. Lecture on REINFORCE, sections C24, C26 and C70.*

# %% answer="reinforce_loss"

# %% check="reinforce_loss" points=9

# %% [markdown]
# ## See it balance
#
# Nothing to do here: this is the whole of REINFORCE for CartPole, a plain loop around your `returns_to_go` and `reinforce_loss`. Play eight episodes with the policy as it is now, compute the loss, let the optimiser take one step, throw the episodes away. A step pays 1 as long as the pole stands; here an episode is cut off after 100 steps. It takes a few seconds.
#
# *What to notice.* The line climbs, from some 20 steps to most of the 100, and single episodes (dots) scatter widely around it all the way: the policy draws its actions, and one unlucky push may be enough. Nothing in the loop knows what a pole is. Then try other seeds, some of which reach only 60 in as many steps, and a learning rate of 0.3.

# %%
def play(env: Any, network: Any, generator: torch.Generator) -> tuple[Tensor, ...]:
    """One episode: observations (T, 4), actions (T,), rewards (T,)."""
    observation, _ = env.reset()
    steps, over = [], False
    while not over:
        now = torch.tensor(observation, dtype=torch.float64)
        with torch.no_grad():
            right = torch.softmax(network(now), dim=-1)[1]
        action = int(torch.rand((), generator=generator) < right)
        observation, reward, terminated, truncated, _ = env.step(action)
        steps.append((now, torch.tensor(action), torch.tensor(reward)))
        over = terminated or truncated
    return tuple(torch.stack(column) for column in zip(*steps, strict=True))


@torch.enable_grad()  # whatever it is called from
def balance(seed: int, learning_rate: float, gamma: float, steps: int) -> list[list[int]]:
    """Lengths of the episodes, batch by batch."""
    torch.manual_seed(seed)  # of the network's first weights
    network = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    generator = torch.Generator().manual_seed(seed)  # of the actions
    env = gymnasium.make("CartPole-v1", max_episode_steps=100)
    env.reset(seed=seed)
    lengths: list[list[int]] = []
    deadline = time.process_time() + 6  # seconds: slow functions see fewer batches
    while sum(map(sum, lengths)) < steps and time.process_time() < deadline:
        episodes = [play(env, network, generator) for _ in range(8)]
        observations, actions, rewards = zip(*episodes, strict=True)
        returns = [in_doubles(returns_to_go(each, gamma)) for each in rewards]
        mask = [torch.ones(len(each), dtype=torch.bool) for each in rewards]
        batch = [pad_sequence(x, batch_first=True) for x in (observations, actions, returns, mask)]
        loss = reinforce_loss(network, *batch, gamma)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lengths.append([len(each) for each in rewards])
    return lengths


# %%
# Training: grading does not run this cell. It takes a few seconds.
try:
    fig, ax = plt.subplots(figsize=(7, 4), facecolor="white")
    lengths = balance(seed=5, learning_rate=0.03, gamma=0.98, steps=6_000)
    for number, batch in enumerate(lengths):
        ax.plot([number] * len(batch), batch, ".", color="#0072B2", alpha=0.4)
    ax.plot([np.mean(batch) for batch in lengths], color="#D55E00", label="mean of the batch")
    ax.set_xlabel("batches of 8 episodes")
    ax.set_ylabel("steps until the pole falls (100 at most)")
    ax.legend()
    plt.show()
except NotImplementedError as missing:
    plt.close()
    print(f"Not yet: {missing}. The picture comes once questions 1 and 12 are written.")
except Exception as error:
    plt.close()
    print(f"No picture: {type(error).__name__}: {error}. First get 1 and 12 right.")

# %% [markdown]
# ## Before you hand in
#
# Restart the kernel and run all cells: every check should print a line that ends in "examples", and the questions in words should hold your words. Then hand in this file, with its name unchanged.
