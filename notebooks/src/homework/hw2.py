# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework 2: TRPO and PPO
#
# REINFORCE uses a batch once and throws it away. The two methods of this homework go farther on one batch, and each has its own way of not going too far. You will work out what a step is worth and what can be promised of it, write the pieces of both methods, watch them climb along a cliff, and in the end train a pole to stand with functions of your own.
#
# {questions}
#
# *Slide 57* and *the note* are the slides and the lecture note that the course follows; the lectures are the notebooks in the folder `lectures`, and *section C56* is the heading there that ends in (C56).
#
# Each piece takes what it needs as arguments, so a mistake in one costs you nothing in the next. Write your code where it says `YOUR CODE HERE` and run the cell below it; when your homework is graded, the same questions are asked on other numbers. A question gives its points in parts; if you do not have all of them, the check says which you have. Any way to the right numbers is fine. Arguments must be left as they came in (their numbers, their `requires_grad`, their `.grad`): if you need to change one, change a copy. Where a function takes other functions as arguments (a KL, an objective, a product with a matrix), call the ones you are given: the checks bring their own. Beside Python's own modules and the course's, {modules} are there when it is graded, and no others; a file or folder of your own that you import is there if you hand it in too.
#
# From a terminal, `course check hw2.ipynb` runs the whole notebook at once.

# %%
import time
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from autograder.student.check import check, in_doubles
from course_lib import validate
from course_lib.episodes import sample_episodes
from course_lib.mdp import cliff_walk
from course_lib.optimiser import Adam
from course_lib.policies import critic_for, policy_for, softmax_policy
from course_lib.rollout import make_envs
from course_lib.training import Batch, History, PPOConfig, Run, normalise, train_on_steps

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # the tensors here are small: more threads would wait for each other

# %% [markdown]
# ## 1. What a new policy is worth
#
# How much better than an old policy is a new one? The lemma of Kakade and Langford answers it exactly, for any two policies:
#
# $$J(\pi_{\text{new}}) - J(\pi_{\text{old}}) = \sum_s \rho_{\text{new}}(s) \sum_a \pi_{\text{new}}(a \mid s)\, A_{\text{old}}(s, a).$$
#
# Two policies stand in it, and each has its places. The visits $\rho_{\text{new}}(s) = \sum_t \gamma^t P(s_t = s)$ are those of the **new** policy, added up over time and not divided by anything; the advantages are those of the **old** one. Here all three are tables: `visitation` `(S,)`, `policy` `(S, A)` with the new policy's probabilities, `advantages` `(S, A)`. The result is a scalar, and nothing is sampled.
#
# **By hand.** Two states, $\gamma = 0.8$, visits $(4, 1)$, new policy $\begin{pmatrix} 0.25 & 0.75 \\ 0.5 & 0.5 \end{pmatrix}$, advantages $\begin{pmatrix} -1 & 1 \\ 2 & -3 \end{pmatrix}$. The inner sums are $0.5$ and $-0.5$, so $J$ grows by $4 \cdot 0.5 - 1 \cdot 0.5 = 1.5$, although the second state gets worse.
#
# *Slides 41 and 43; the note's Lemma 1. Lecture 5, section C34.*

# %% answer="performance_difference"

# %% check="performance_difference" points=6

# %% [markdown]
# ## 2. What a step is guaranteed
#
# The lemma needs the visits of a policy that nobody has tried. With the old visits in their place it becomes
#
# $$L(\pi_{\text{new}}) = J(\pi_{\text{old}}) + \sum_s \rho_{\text{old}}(s) \sum_a \pi_{\text{new}}(a \mid s)\, A_{\text{old}}(s, a),$$
#
# which may promise too much. How much too much at most? Take a step from the old policy towards a target, $\pi_{\text{new}} = (1 - \alpha)\, \pi_{\text{old}} + \alpha\, \pi_{\text{target}}$. Then three bounds hold:
#
# | | $J(\pi_{\text{new}}) \ge L(\pi_{\text{new}})$ less | with |
# |---|---|---|
# | CPI | $\dfrac{2\, \varepsilon_1 \gamma}{(1 - \gamma)^2}\, \alpha^2$ | $\varepsilon_1 = \max_s \big\lvert \sum_a \pi_{\text{target}}(a \mid s)\, A_{\text{old}}(s, a) \big\rvert$ |
# | TRPO | $\dfrac{4\, \varepsilon_2 \gamma}{(1 - \gamma)^2}\, D_{\text{TV}}^2$ | $\varepsilon_2 = \max_{s, a} \lvert A_{\text{old}}(s, a) \rvert$, $\;D_{\text{TV}} = \max_s \tfrac12 \sum_a \lvert \pi_{\text{old}}(a \mid s) - \pi_{\text{new}}(a \mid s) \rvert$ |
# | TRPO in KL | $\dfrac{4\, \varepsilon_2 \gamma}{(1 - \gamma)^2}\, \tfrac12 D_{\text{KL}}$ | the same $\varepsilon_2$, $\;D_{\text{KL}} = \max_s \sum_a \pi_{\text{old}}(a \mid s) \log \dfrac{\pi_{\text{old}}(a \mid s)}{\pi_{\text{new}}(a \mid s)}$ |
#
# The first is about mixtures, and its $\varepsilon_1$ is an **expected** advantage of the **target**. The other two are about any two policies; their $\varepsilon_2$ is the largest **single** advantage, and both distances are from the old policy to the **new** one, in the worst state. The $\tfrac12$ in the last row is Pinsker's inequality; slide 53 leaves it out, which makes its penalty twice too large (erratum E11). Return the three bounds in this order, as a tensor `(3,)`.
#
# `old_return` is the number $J(\pi_{\text{old}})$, `visitation` `(S,)` is the **old** policy's here, not normalised; `old_policy`, `target_policy` and `advantages` are `(S, A)`.
#
# **By hand.** $\gamma = \alpha = \tfrac12$, so $\gamma / (1 - \gamma)^2 = 2$. Visits $(1.5, 0.5)$, $J(\pi_{\text{old}}) = 1$, the old policy $(0.5, 0.5)$ and the target $(0.9, 0.1)$ in both states, advantages $\begin{pmatrix} 1 & -1 \\ -2 & 2 \end{pmatrix}$. The new policy is $(0.7, 0.3)$, and $L = 1 + 1.5 \cdot 0.4 - 0.5 \cdot 0.8 = 1.2$. The penalties: $\varepsilon_1 = 1.6$ gives $1.6$; $\varepsilon_2 = 2$ and $D_{\text{TV}} = 0.2$ give $0.64$; $D_{\text{KL}} = 0.0872$ gives $0.6974$. The bounds are $(-0.4, 0.56, 0.5026)$.
#
# *Slides 47, 51 and 53, with erratum E11. Lectures on the performance difference, section C43, and on TRPO, sections C47, C49 and C50.*

# %% answer="improvement_bounds"

# %% check="improvement_bounds" points=10

# %% [markdown]
# ## 3. What the bounds say, and what they do not
#
# *In words and formulas, about fifteen lines. Lectures on the performance difference (C43, C44) and TRPO (C46, C47).*
#
# 1. Take the world by hand of question 2, but leave $\alpha$ open. Write $L(\pi_{\text{new}}) - J(\pi_{\text{old}})$ and the first two penalties as functions of $\alpha$. For which $\alpha$ does CPI's bound guarantee a gain, and for which does TRPO's in total variation?
# 2. For the same mixture, which of these two bounds is the higher one? Show that it does not depend on $\alpha$, give the condition with $T = \max_s D_{\text{TV}}(\pi_{\text{old}}, \pi_{\text{target}})$, and make up a state (old policy, target, advantages) for each of the two answers.
# 3. At $\alpha = \tfrac12$ all three bounds by hand lie below $J(\pi_{\text{old}}) = 1$. "So this step makes the policy worse", says a friend. What does follow, and what would one have to find to be right with that sentence?

# %% [markdown] written="what_bounds_say" points=10
# **1.** The new policy is $(0.5 + 0.4 \alpha,\ 0.5 - 0.4 \alpha)$ in both states, so the expected advantages are $0.8 \alpha$ and $-1.6 \alpha$, and $L - J(\pi_{\text{old}}) = 1.5 \cdot 0.8 \alpha - 0.5 \cdot 1.6 \alpha = 0.4 \alpha$. CPI's penalty is $2 \cdot 1.6 \cdot 2\, \alpha^2 = 6.4 \alpha^2$: a gain is guaranteed for $0 < \alpha < 0.4 / 6.4 = 1/16$. For TRPO $D_{\text{TV}} = 0.4 \alpha$, the penalty is $4 \cdot 2 \cdot 2 \cdot 0.16\, \alpha^2 = 2.56 \alpha^2$, and a gain is guaranteed for $0 < \alpha < 0.4 / 2.56 = 5/32$.
#
# **2.** $L$ is the same in both, so the smaller penalty wins. Since $\pi_{\text{new}} - \pi_{\text{old}} = \alpha (\pi_{\text{target}} - \pi_{\text{old}})$, the distance of the mixture is $D_{\text{TV}} = \alpha T$. Both penalties have the factor $2 \gamma \alpha^2 / (1 - \gamma)^2$; what is left is $\varepsilon_1$ against $2\, \varepsilon_2 T^2$. CPI's bound is the higher one exactly if $\varepsilon_1 < 2\, \varepsilon_2 T^2$ (for $\gamma, \alpha > 0$), whatever $\alpha$. TRPO's is the higher one in the world by hand: $\varepsilon_1 = 1.6$ and $2 \cdot 2 \cdot 0.16 = 0.64$. CPI's is the higher one where the target moves much and gains nothing: four actions, old policy uniform, advantages $(1, 1, -1, -1)$, target $(0.5, 0, 0.5, 0)$. Then $T = 0.5$, $\varepsilon_1 = 0$ and $2 \varepsilon_2 T^2 = 0.5$.
#
# **3.** Nothing about the direction follows: that a lower bound lies below $J(\pi_{\text{old}})$ leaves it open whether $J(\pi_{\text{new}})$ does. The bounds look at the worst of all worlds with these numbers; only a bound **above** $J(\pi_{\text{old}})$ decides something. To be right the friend needs an upper bound below $J(\pi_{\text{old}})$. The same arguments give one, since they bound $\lvert J - L \rvert$: here $J(\pi_{\text{new}}) \le L + 0.64 = 1.84$, which does not lie below 1. (Or the exact visits of the new policy, and question 1.)
#
# === BEGIN MARK SCHEME ===
# - **3 points** for part 1: one for the gain $0.4\alpha$, one for both penalties ($6.4\alpha^2$, $2.56\alpha^2$), one for both ranges (below 1/16 and below 5/32). Wrong numbers that follow rightly from an earlier slip keep their later points.
# - **4 points** for part 2: one for $D_{TV} = \alpha T$, one for the condition ($\varepsilon_1$ against $2\varepsilon_2 T^2$, without $\alpha$), one for each right example. An example counts if the numbers given decide it; advantages that the old policy does not weigh to zero cost nothing.
# - **3 points** for part 3: one for "nothing follows about better or worse", one for the reason (a lower bound, or: it speaks for the worst world), one for what it would take (an upper bound below J(old), such as L plus the penalty; or the exact difference). "The step is too large to be safe" alone: one point.
# === END MARK SCHEME ===

# %% [markdown]
# ## 4. The surrogate
#
# A batch of $B$ steps was collected by the policy $\pi_{\text{old}}$. What would it say about another policy $\pi_\theta$? Each advantage is weighed by how much more often the new policy would have taken that action:
#
# $$L(\theta) = \frac1B \sum_{i=1}^{B} \frac{\pi_\theta(a_i \mid s_i)}{\pi_{\text{old}}(a_i \mid s_i)}\, A_i.$$
#
# `log_probs` and `old_log_probs` are the logarithms of the two probabilities, each `(B,)`. The result is a scalar that is to be made **large**. The old policy and the advantages were fixed when the batch was collected, so they are constants: no gradient may flow into them, even if they come with a graph. There is no $\gamma^t$ here, and the advantages are used as they come.
#
# **By hand.** New probabilities $(0.7, 0.25)$, old ones $(0.5, 0.5)$, advantages $(1, -2)$: the ratios are $1.4$ and $0.5$, and $L = \tfrac12 (1.4 - 1) = 0.2$.
#
# *Slide 57; the note's equation (7). Lecture on TRPO, section C56.*

# %% answer="surrogate"

# %% check="surrogate" points=4

# %% [markdown]
# ## 5. All the ratios
#
# *In words and formulas, about fifteen lines. Lectures on the policy gradient (C19), the performance difference (C85, C40), TRPO (C56) and PPO (C62).*
#
# The surrogate weighs step $t$ by one ratio, $\rho_t = \pi_\theta(a_t \mid s_t) / \pi_{\text{old}}(a_t \mid s_t)$. A reader objects: "The old policy also decided how we got to $s_t$. Weigh step $t$ by $W_t = \rho_0 \rho_1 \cdots \rho_t$, all the ratios up to it, and keep $\gamma^t$."
#
# 1. Show that the reader is right: $\mathbb{E}_{\tau \sim \pi_{\text{old}}}\big[\sum_t \gamma^t W_t A_{\text{old}}(s_t, a_t)\big] = J(\pi_\theta) - J(\pi_{\text{old}})$ exactly. Why need one not know the transition probabilities, and what must $\pi_{\text{old}}$ satisfy?
# 2. There are two actions in each state, the old policy is uniform, and the new one takes the first action with probability 0.8. Work out mean and variance of $W_t$ under the old policy. From which $t$ on is the variance above 1,000, and what does that mean for an estimate from some hundred episodes?
# 3. So the surrogate keeps $\rho_t$ alone, and as an estimate of $J(\pi_\theta) - J(\pi_{\text{old}})$ it is biased. "Then its gradient at $\theta_{\text{old}}$ is biased as well", says the reader. Differentiate $W_t$ there, and show with what is left over that it is not.

# %% [markdown] written="importance_sampling" points=10
# **1.** Both policies meet the same world, so in the ratio of the probabilities of a beginning $s_0, a_0, \dots, s_t, a_t$ the start and all transitions cancel, and what stays is the product of the policies' ratios, which is $W_t$. Hence for any function $f$ of step $t$: $\mathbb{E}_{\pi_{\text{old}}}[W_t f(s_t, a_t)] = \sum P_{\text{old}}\, \frac{P_\theta}{P_{\text{old}}}\, f = \mathbb{E}_{\pi_\theta}[f(s_t, a_t)]$. With $f = A_{\text{old}}$, weighed by $\gamma^t$ and added up, this is $\mathbb{E}_{\pi_\theta}[\sum_t \gamma^t A_{\text{old}}(s_t, a_t)]$, the performance difference. Needed is support: whatever $\pi_\theta$ may do, $\pi_{\text{old}}$ does with a probability above 0; else such beginnings are missing in the data, and no weight brings them in.
#
# **2.** A single ratio is $1.6$ or $0.4$, each with probability $\tfrac12$: its mean is 1, its mean square $\tfrac12 (2.56 + 0.16) = 1.36$. Under the old policy the actions are drawn independently of each other, so $\mathbb{E}[W_t] = 1$ and $\mathbb{E}[W_t^2] = 1.36^{\,t + 1}$; the variance is $1.36^{\,t + 1} - 1$. It is above 1,000 when $t + 1 > \ln 1001 / \ln 1.36 = 22.5$, so from $t = 22$ on. The standard error of a mean over $n$ episodes is then over $\sqrt{1000 / n}$, about 2 to 3 times the mean itself for some hundred episodes. Nearly all weights are close to 0, and now and then one is huge: the estimate of late steps is worth nothing, though it is right on average.
#
# **3.** At $\theta_{\text{old}}$ all ratios are 1, so by the product rule $\nabla W_t = \sum_{k \le t} \nabla \log \pi_\theta(a_k \mid s_k)$. The surrogate has the term $k = t$. Left over is $\mathbb{E}\big[\sum_{k < t} \nabla \log \pi_\theta(a_k \mid s_k)\, A_{\text{old}}(s_t, a_t)\big]$. Given everything up to $s_t$, those scores are fixed numbers, and $a_t$ is drawn from $\pi_{\text{old}}(\cdot \mid s_t)$, under which the advantages weigh to zero. So each term is zero, and the gradient at $\theta_{\text{old}}$ is that of $J$. (If the $\gamma^t$ is kept, that is. The error of the surrogate begins with the second order, where products of two scores come in.)
#
# === BEGIN MARK SCHEME ===
# - **4 points** for part 1: one for writing the expectation with the probability of a trajectory (or of its beginning), one for the cancelling of start and transitions, one for arriving at the performance difference lemma, one for the support. Only "importance sampling, multiply and divide", with no trajectory in it: one point.
# - **3 points** for part 2: one for mean 1 and mean square 1.36 of a single ratio, one for $1.36^{t+1} - 1$ with $t = 22$ (23 ratios; 21 or 23 for t: no deduction if the formula is there), one for what it means (few huge weights carry the mean; far more episodes than some hundred would be needed).
# - **3 points** for part 3: one for $\nabla W_t$ as the sum of all scores up to $t$, one for conditioning on the past up to $s_t$, one for advantages that weigh to zero under the old policy. "At theta_old the ratios are 1, so it makes no difference": no point.
# === END MARK SCHEME ===

# %% [markdown]
# ## 6. How far apart are two policies?
#
# TRPO measures distance by the Kullback-Leibler divergence, averaged over the states of the batch:
#
# $$\overline{D}_{\text{KL}}(\pi_{\text{old}}, \pi) = \frac1B \sum_{i=1}^{B} \sum_a \pi_{\text{old}}(a \mid s_i)\, \log \frac{\pi_{\text{old}}(a \mid s_i)}{\pi(a \mid s_i)}.$$
#
# It is not symmetric; the old policy comes first. Row $i$ of `old_logits` and of `logits`, both `(B, A)`, holds the logits at state $s_i$. The result is a scalar, and gradients flow into `logits`.
#
# **By hand.** One state, old probabilities $(0.5, 0.5)$, new ones $(0.8, 0.2)$: $0.5 \ln\tfrac{0.5}{0.8} + 0.5 \ln\tfrac{0.5}{0.2} = 0.2231$.
#
# *Slide 56. Lecture on TRPO, section C54.*

# %% answer="kl"

# %% check="kl" points=4

# %% [markdown]
# ## 7. The Fisher matrix without the matrix
#
# Near the old policy the mean KL is a bowl, and $F$, its Hessian there, says how steep it is in each direction. $F$ has as many rows as there are parameters, far too many to write down; but a product $F v$ costs no more than two gradients:
#
# $$F v = \nabla_\theta \big( \nabla_\theta \overline{D}_{\text{KL}}(\theta) \cdot v \big) \quad\text{with } v \text{ held fixed}.$$
#
# For a tabular softmax policy $F$ is singular: adding a constant to all logits of a state changes nothing. So a little of the identity is added, and what you return is $(F + \lambda I)\, v$ with $\lambda$ the `damping`.
#
# In torch a gradient has a graph of its own only if you ask for it (`create_graph=True`); without one it cannot be differentiated again. `mean_kl` is a function of `theta` `(P,)` that returns a scalar tensor. Do not rely on its being a KL: the check brings another smooth function, whose gradient is not zero at `theta`.
#
# **By hand.** If `mean_kl` were $x^2 + x y + y^2$, then $F = \begin{pmatrix} 2 & 1 \\ 1 & 2 \end{pmatrix}$ everywhere, and with $v = (1, 0)$ and $\lambda = 0.1$ the answer is $(2.1, 1)$.
#
# *Slide 58. Lecture on TRPO, sections C58 and C60.*

# %% answer="fisher_vector_product"

# %% check="fisher_vector_product" points=6

# %% [markdown]
# ## 8. Conjugate gradient
#
# TRPO's direction solves $F x = g$. Conjugate gradient does so with products $F v$ alone, one an iteration. With $x = 0$ and residual and direction both equal to $b$, repeat:
#
# $$\alpha = \frac{r \cdot r}{d \cdot A d}, \qquad x \leftarrow x + \alpha d, \qquad r_{\text{new}} = r - \alpha A d, \qquad d \leftarrow r_{\text{new}} + \frac{r_{\text{new}} \cdot r_{\text{new}}}{r \cdot r}\, d, \qquad r \leftarrow r_{\text{new}}.$$
#
# Take at most `iterations` steps, and stop as soon as $r \cdot r \le$ `tolerance`. That may be so before the first step, and without looking, the next one would be 0/0. In exact arithmetic $P$ steps solve a system of $P$ equations; far fewer often come close.
#
# **By hand.** $A = \begin{pmatrix} 2 & 0 \\ 0 & 1 \end{pmatrix}$, $b = (2, 1)$. First step: $r \cdot r = 5$, $A d = (4, 1)$, $d \cdot A d = 9$, so $x = \tfrac59 (2, 1)$. The second step arrives at $x = (1, 1)$.
#
# *Slide 58. Lecture on TRPO, section C60.*

# %% answer="conjugate_gradient"

# %% check="conjugate_gradient" points=8

# %% [markdown]
# ## 9. Line search
#
# The step that TRPO computes would meet the constraint exactly if the KL were quadratic and would help most if the surrogate were linear. Neither is. So the step is tried at full length first, then shrunk again and again:
#
# $$\theta_i = \theta + \text{shrink}^i \cdot \text{step}, \qquad i = 0, 1, \dots, \text{tries} - 1.$$
#
# Return the first $\theta_i$ that is safe, $\text{kl}(\theta_i) \le \delta$, **and** better, $\text{surrogate}(\theta_i) > \text{surrogate}(\theta)$. If none is, stay: return `theta`. Do not count on $\text{surrogate}(\theta) = 0$.
#
# **By hand.** If the KL of the full step is 0.5 and grows with the square of the length, then with `shrink` 0.5 the tries have 0.5, 0.125, 0.03125. For $\delta = 0.1$ the third, $i = 2$, is the first that is safe.
#
# *Slide 58. Lecture on TRPO, section C61.*

# %% answer="line_search"

# %% check="line_search" points=6

# %% [markdown]
# ## 10. The whole step
#
# Now put the pieces together. With $g = \nabla_\theta L(\theta)$ at the `theta` that came in and $H = F + \lambda I$ ($\lambda$ is the `damping`):
#
# $$x \approx H^{-1} g, \qquad \text{step} = \sqrt{\frac{2 \delta}{x \cdot H x}}\; x, \qquad \theta_{\text{new}} = \text{what the line search finds along it}.$$
#
# All pieces come in as arguments, and are called as in the questions above:
#
# | | |
# |---|---|
# | `surrogate(theta)`, `mean_kl(theta)` | scalars with a graph, as functions of the parameters `(P,)` |
# | `fisher_vector_product(mean_kl, theta, vector, damping)` | $H$ times a vector, the damping included |
# | `conjugate_gradient(product, g, iterations)` | the solver; `product` is a function of one vector |
# | `line_search(surrogate, mean_kl, theta, step, delta)` | the new parameters |
#
# Three things to watch. **The length**: in the quadratic model a step of length $c$ along $x$ has a KL of $\tfrac12 c^2\, x \cdot H x$, and that is to be $\delta$. Damping counts here as it does for the solver: the same $H$. **$x \cdot H x$ and not $x \cdot g$**: they are equal for the exact solution, and for conjugate gradient whenever it stops, but the check brings a solver of another kind that stops early, and then only $x \cdot H x$ says how the KL bends. **Nowhere to go**: near a top $g$ is zero, or so small that the solver answers $x = 0$ at once, and then the length is 0/0. If $x \cdot H x$ is not above 0, return `theta`.
#
# The result is the new `theta` `(P,)`, without a graph.
#
# **By hand.** Let the surrogate be $2 \theta_1 + \theta_2$, let $H = \begin{pmatrix} 2 & 0 \\ 0 & 1 \end{pmatrix}$, and let the solver be exact. Then $g = (2, 1)$, $x = (1, 1)$ and $x \cdot H x = 3$. For $\delta = 0.06$ the step is $\sqrt{0.12 / 3} = 0.2$ times $x$: $(0.2, 0.2)$. Its KL in the model is $\tfrac12 (2 \cdot 0.04 + 0.04) = 0.06$.
#
# *Slide 58. Lecture on TRPO, sections C59, C60 and C61.*

# %% answer="trpo_step"

# %% check="trpo_step" points=12

# %% [markdown]
# ## 11. Generalised advantage estimation
#
# Both methods need advantages. With a critic's values, the TD error $\delta_t$ is a first estimate, and GAE adds those of later steps with falling weights:
#
# $$\delta_t = r_t + \gamma\, (1 - \text{terminated}_t)\, V(s_{t+1}) - V(s_t), \qquad A_t = \delta_t + \gamma \lambda\, (1 - \text{ended}_t)\, A_{t+1}.$$
#
# An episode ends in one of two ways, and they are not the same. **Terminated**: the world is over, nothing is paid any more, the next value does not count. **Truncated**: only the recording stops (a time limit); the state is still worth $V(s_{t+1})$. Either way, `ended`, the row below belongs to another episode, and its advantage must not leak in. After the last row nothing comes.
#
# All arrays are `(T, N)`: time down, environments side by side. `terminated` and `truncated` are of type bool (torch does not subtract those from 1: turn them round with `~`, or into numbers first). `next_values[t]` is the value of the state that step `t` really led to, also where an episode ends.
#
# **By hand.** One environment, $\gamma = 0.9$, $\lambda = 0.5$, rewards $(1, 0, 2)$, values $(0.5, 1, 1.5)$, next values $(1, 1.5, 2)$. Without an end: $\delta = (1.4, 0.35, 2.3)$ and $A = (2.02325, 1.385, 2.3)$. If step 1 terminated: $\delta_1 = -1$ and $A = (0.95, -1, 2.3)$. If it was truncated: $A = (1.5575, 0.35, 2.3)$.
#
# *Slide 70. Lecture on advantages, section C72.*

# %% answer="gae"

# %% check="gae" points=8

# %% [markdown]
# ## 12. PPO's clipped objective
#
# PPO keeps the step small without any KL: it takes away the reward for going too far. With the ratio $\rho_i = \pi_\theta(a_i \mid s_i) / \pi_{\text{old}}(a_i \mid s_i)$,
#
# $$L(\theta) = \frac1B \sum_{i=1}^{B} \min\big(\rho_i A_i,\; \text{clip}(\rho_i, 1 - \epsilon, 1 + \epsilon)\, A_i\big).$$
#
# Think through the six cases before you write: ratio below, inside and above the clip, advantage positive and negative. In exactly two of them is the gradient zero. (Slide 60 says that nothing limits how far a bad action's probability may fall. Work out $A = -1$, $\rho = 0.5$, $\epsilon = 0.2$, and see whether you agree.)
#
# `old_log_probs` and `advantages` are plain constants here. The result is a scalar that is to be made **large**.
#
# **By hand.** Ratios $(1.5, 0.7)$, both advantages 1, $\epsilon = 0.2$: the terms are $\min(1.5, 1.2) = 1.2$ and $\min(0.7, 0.8) = 0.7$, and $L = 0.95$.
#
# *Slide 60; the note, section 3.2. Lecture on PPO, section C63.*

# %% answer="clipped_surrogate"

# %% check="clipped_surrogate" points=8

# %% [markdown]
# ## 13. PPO's update on one batch
#
# Now many steps on one batch. First compute the old log-probabilities, those of `theta` as it came in, for the whole batch: once, and as constants. Then for each row of `minibatches`, a list of $M$ places in the batch:
#
# 1. compute the log-probabilities of those steps' actions under the **current** `theta`;
# 2. call `objective(log_probs, old_log_probs, advantages)` with the three of them for **the same** $M$ steps;
# 3. take one step of plain gradient ascent, $\theta \leftarrow \theta + \alpha \nabla_\theta\, \text{objective}$.
#
# Return the last `theta`. `theta` is `(S, A)` as in homework 1, and the one that came in must stay as it was.
#
# **By hand.** Let `theta` be $(0, 0)$ for a single state and let the objective be the mean of ratio times advantage. The first minibatch is one step with action 1 and advantage 2. At the start the ratio is 1 and its gradient is the score $(-\tfrac12, \tfrac12)$, so with $\alpha = 0.5$ the first step leads to $(-0.5, 0.5)$. In a second minibatch with the same step the ratio is no longer 1 but $0.731 / 0.5 = 1.462$.
#
# *Slide 63; the note's Algorithm 2. Lecture on PPO, sections C65 and C87.*

# %% answer="ppo_update"

# %% check="ppo_update" points=8

# %% [markdown]
# ## See them climb
#
# Nothing to do here: your own functions walk along a cliff. The grid has 3 rows and 4 columns; the way to the goal, which pays 10, leads past a cliff, where falling costs 10, and now and then the wind blows downwards. The return of each policy is computed exactly.
#
# *What to notice.* In the first picture, TRPO: no step has a KL above $\delta$, and the return climbs towards the dashed line. In the second, PPO with four passes over each batch and a learning rate of 10, eight seeds with the clip and the same eight without it; the title counts those that climb. Without the clip, everything else equal, the first batches mostly push the policy so far that it jumps off the cliff at once (a return of about $-10$). Then almost every batch holds only jumps, from which nothing can be learned. The clip is no insurance either: now and then such a run has it too. That is why there are eight of each: two seeds can tell any story.

# %%
cliff = cliff_walk()
EPISODES = 40  # of one batch
SECONDS = 6.0  # of computing, after which a picture makes do with what there is


def collect(theta: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """States, actions and advantages of some episodes, one under the other.

    For `gae` they lie side by side, (T, N), with zeros below the shorter ones.
    """
    policy = softmax_policy(theta)
    sampled = sample_episodes(cliff, policy, EPISODES, generator, max_steps=60)
    states, actions, rewards = (
        pad_sequence([getattr(episode, name) for episode in sampled])
        for name in ("states", "actions", "rewards")
    )
    there = torch.arange(len(states))[:, None] < torch.tensor([len(each) for each in sampled])
    values = cliff.values(policy)[states] * there  # an ideal critic
    below = torch.zeros_like(there[:1])
    next_values, goes_on = torch.cat([values[1:], 0.0 * below]), torch.cat([there[1:], below])
    ends = there & ~goes_on, torch.zeros_like(there)
    advantages = in_doubles(gae(rewards, values, next_values, *ends, cliff.gamma, 0.95))
    states, actions, advantages = (x.T[there.T] for x in (states, actions, advantages))
    return states, actions, advantages / (advantages.std() + 1e-8)


def exact_return(theta: Tensor) -> float:
    """The expected discounted return of the policy, by a linear solve."""
    return cliff.expected_return(softmax_policy(theta)).item()


def compare_with_the_best(ax: plt.Axes, title: str) -> None:
    """The same axes for both pictures, with the best return as a dashed line."""
    best = exact_return(torch.log(cliff.optimal_policy() + 1e-12))
    ax.axhline(best, color="black", linestyle="--", label=f"best possible, {best:.2f}")
    ax.set_xlabel(f"batches of {EPISODES} episodes")
    ax.set_ylabel("expected discounted return")
    ax.set_title(title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="center right")
    plt.show()


# %%
@torch.enable_grad()  # whatever it is called from
def product_with(mean_kl: Any, theta: Any, vector: Any, damping: float) -> Tensor:
    """Your fisher_vector_product; here and below, numbers of any type become tensors."""
    vector = in_doubles(vector)
    return in_doubles(fisher_vector_product(mean_kl, in_doubles(theta), vector, damping))


def solved(matrix_vector_product: Any, b: Any, iterations: int) -> Tensor:
    """Your conjugate_gradient."""

    def product(vector: Any) -> Tensor:
        return in_doubles(matrix_vector_product(in_doubles(vector)))

    return in_doubles(conjugate_gradient(product, in_doubles(b), iterations))


def searched(surrogate: Any, kl: Any, theta: Any, step: Any, delta: float) -> Tensor:
    """Your line_search."""
    return in_doubles(line_search(surrogate, kl, in_doubles(theta), in_doubles(step), delta))


def stepped(
    theta: Tensor, states: Tensor, actions: Tensor, advantages: Tensor, delta: float
) -> tuple[Tensor, float]:
    """The theta of your trpo_step, and its mean KL from the old one over a tenth of the states."""

    def logits(flat: Any) -> Tensor:
        return torch.as_tensor(flat).double().view(theta.shape)

    def log_probs(flat: Any) -> Tensor:
        return torch.log_softmax(logits(flat), dim=-1)[states, actions]

    old_log_probs = log_probs(theta)

    def gain(flat: Any) -> Tensor:
        return surrogate(log_probs(flat), old_log_probs, advantages)

    def distance(flat: Any) -> Tensor:
        return kl(theta[states[::10]], logits(flat)[states[::10]])  # a tenth of them, to save time

    pieces = gain, distance, product_with, solved, searched
    new = in_doubles(trpo_step(theta.flatten(), *pieces, delta, 1e-3, 10))
    return new.view(theta.shape), float(distance(new))


def trpo_run(delta: float) -> tuple[list[float], list[float]]:
    generator, theta = torch.Generator().manual_seed(0), torch.zeros(12, 4)
    returns, distances = [exact_return(theta)], []
    for _ in range(20):
        theta, distance = stepped(theta, *collect(theta, generator), delta)
        returns.append(exact_return(theta))
        distances.append(distance)
    return returns, distances


# %%
# Picture: grading does not run this cell.
try:
    fig, ax = plt.subplots(figsize=(7, 4), facecolor="white")
    returns, distances = trpo_run(delta=0.05)
    ax.plot(returns, color="#0072B2", marker=".", label="TRPO")
    compare_with_the_best(ax, f"TRPO, delta = 0.05; largest KL of a step: {max(distances):.3f}")
except NotImplementedError as missing:
    plt.close()
    print(f"Not yet: {missing}. The picture comes once questions 4 and 6 to 11 are written.")
except Exception as error:
    plt.close()
    print(f"No picture: {type(error).__name__}: {error}. First get 4 and 6 to 11 right.")


# %%
# Training: grading does not run this cell. It takes a few seconds.
def ppo_run(objective: Callable[..., Tensor], learning_rate: float, seed: int) -> list[float]:
    generator, theta = torch.Generator().manual_seed(seed), torch.zeros(12, 4)
    returns = [exact_return(theta)]
    for _ in range(12):
        batch = collect(theta, generator)
        size = len(batch[0]) // 4
        epochs = [torch.randperm(len(batch[0]), generator=generator) for _ in range(4)]
        minibatches = torch.cat([order[: 4 * size].view(4, size) for order in epochs])
        new = in_doubles(ppo_update(theta, *batch, minibatches, objective, learning_rate))
        # Without a clip a probability may become 0, which has no logarithm: such a state stays.
        theta = torch.where(new.isfinite(), new, theta) if new.isfinite().any() else new
        returns.append(exact_return(theta))
    return returns


def clipped(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return clipped_surrogate(log_probs, old_log_probs, advantages, 0.2)


def unclipped(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return surrogate(log_probs, old_log_probs, advantages)


KINDS = (
    (clipped, "PPO, clipped at 0.2", "#0072B2", "-"),
    (unclipped, "the same without clip", "#D55E00", ":"),
)

try:
    fig, ax = plt.subplots(figsize=(7, 4), facecolor="white")
    started, counts = time.process_time(), [0, 0]
    for seed in range(8):
        if time.process_time() - started > SECONDS:
            print(f"{seed} seeds in {SECONDS:g} s: loops over single numbers are slow.")
            break
        for kind, (objective, label, colour, line) in enumerate(KINDS):
            curve = ppo_run(objective, learning_rate=10.0, seed=seed)
            ax.plot(curve, line, color=colour, label=label if seed == 0 else None)
            counts[kind] += curve[-1] > 0
        seeds = seed + 1
    title = "PPO: {} of {} climb with the clip, {} of {} without it"
    compare_with_the_best(ax, title.format(counts[0], seeds, counts[1], seeds))
except NotImplementedError as missing:
    plt.close()
    print(f"Not yet: {missing}. The picture comes once questions 4, 11, 12 and 13 are written.")
except Exception as error:
    plt.close()
    print(f"No picture: {type(error).__name__}: {error}. First get 4, 11, 12 and 13 right.")

# %% [markdown]
# ## See the pole stand
#
# Again nothing to do. Until now there were tables and an ideal critic. Here are two small networks, one for the policy and one for the values, and the cart with the pole: each step that the pole stands pays 1. The loop is the course's (`course_lib.training.train_on_steps`), the advantages come from **your** `gae`, and what is climbed is **your** `clipped_surrogate`. Training stops when the last hundred episodes paid 195 on average, and in any case after 50,000 steps or six seconds of computing.
#
# *What to notice.* Each dot is an episode. The first ones last some twenty steps, as long as it takes a pole to fall that is pushed at random. The critic has to learn as well, from the returns that your advantages stand for (advantage plus value), so a mistake in `gae` spoils both networks. A mistake that only changes the scale of things, though, may well not show: to learn is no proof of being right.

# %%
# Training: grading does not run this cell. It takes a few seconds.
SETTINGS = PPOConfig(
    envs=64,
    rollout_steps=32,
    gamma=0.98,
    lam=0.95,
    learning_rate=1e-2,
    epochs=4,
    minibatches=4,
    value_weight=0.01,
    hidden=(32, 32),
    total_steps=50_000,
    stop_return=195.0,
)


def advantages_by_gae(*given: Any) -> Tensor:
    return in_doubles(gae(*given))


def pole_run(seed: int) -> History:
    generator = torch.Generator().manual_seed(seed)
    poles = make_envs("tensor/CartPole-v1", SETTINGS.envs)
    policy = policy_for(poles, SETTINGS.hidden, generator=generator)
    critic = critic_for(poles, SETTINGS.hidden, generator=generator)
    optimiser = Adam([policy, critic], SETTINGS.learning_rate)

    def update(batch: Batch) -> dict[str, float]:
        for _ in range(SETTINGS.epochs):
            for part in batch.minibatches(SETTINGS.minibatches, generator):
                log_probs = policy.log_prob(part.observations, part.actions)
                gain = clipped_surrogate(
                    log_probs, part.log_probs, normalise(part.advantages), SETTINGS.epsilon
                )
                misfit = (critic(part.observations) - part.returns).square().mean()
                optimiser.minimise(SETTINGS.value_weight * misfit - gain, SETTINGS.max_grad_norm)
        return {}

    started = time.process_time()

    def watch(_: Run) -> None:
        if time.process_time() - started > SECONDS:
            raise TimeoutError

    run = Run(watch=watch)
    parts = {"advantages": advantages_by_gae, "update": update, "generator": generator}
    try:
        train_on_steps(poles, policy, critic, SETTINGS, run=run, **parts)
    except TimeoutError:
        print(f"Stopped after {SECONDS:g} s: loops over single numbers are slow.")
    return run.history


try:
    fig, ax = plt.subplots(figsize=(7, 4), facecolor="white")
    history = pole_run(seed=0)
    steps, means = ([one[name] for one in history.updates] for name in ("steps", "mean_return"))
    ax.plot(history.episode_steps, history.episode_returns, ".", color="#BBBBBB", label="episodes")
    ax.plot(steps, means, color="#0072B2", label="mean of the last hundred")
    ax.axhline(195, color="black", linestyle="--", label="goal, 195")
    ax.set_xlabel("steps of all poles together")
    ax.set_ylabel("return")
    ended = "stood" if history.mean_return() >= 195 else "not yet standing"
    ax.set_title(f"CartPole with your functions: {ended} after {history.steps:,} steps")
    ax.legend(loc="upper left")
    plt.show()
except NotImplementedError as missing:
    plt.close()
    print(f"Not yet: {missing}. The picture comes once questions 11 and 12 are written.")
except Exception as error:
    plt.close()
    print(f"No picture: {type(error).__name__}: {error}. First get 11 and 12 right.")

# %% [markdown]
# ## Before you hand in
#
# Restart the kernel and run all cells: every check should print a line that ends in "examples", and the two questions in words should hold your words. Then hand in this file, with its name unchanged.
