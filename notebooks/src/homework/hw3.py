# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework 3: an agent of your own
#
# In homework 2 you wrote PPO's formulas. Here you build the program around them: a policy that acts, the collecting of steps from many environments at once, the loss, the epochs. In the end you have an agent that learns to balance a pole (CartPole-v1, two actions) and to swing up a pendulum (Pendulum-v1, a torque), and you know each part of it.
#
# {questions}
#
# *Slide 68* and *the note* are the slides and the lecture note that the course follows; the lectures are the notebooks in the folder `lectures`, and *section C70* is the heading there that ends in (C70).
#
# Each piece takes what it needs as arguments, so a mistake in one costs you nothing in the next. Write your code where it says `YOUR CODE HERE` and run the cell below it; when your homework is graded, the same questions are asked on other numbers. A question gives its points in parts; if you do not have all of them, the check says which you have. Any way to the right numbers is fine. Arguments must be left as they came in (their numbers, their `requires_grad`, their `.grad`): if you need to change one, change a copy. Where a function takes other functions as arguments, call the ones you are given: the checks bring their own. Beside Python's own modules and the course's, {modules} are there when it is graded, and no others; a file or folder of your own that you import is there if you hand it in too.
#
# From a terminal, `course check hw3.ipynb` runs the whole notebook at once.

# %%
import torch
from torch import Tensor

from autograder.student.check import check
from course_lib import validate

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # the tensors here are small: more threads would wait for each other

# %% [markdown]
# ## 1. A policy with discrete actions
#
# The agent's policy is a network that gives a **logit** for each action; CartPole has two. All that PPO wants of it are two numbers a step. The **log-probability** of the action that was taken: it carries the gradient, and the ratio is made from it, $\rho = \exp(\log \pi_\theta - \log \pi_{\text{old}})$. And the **entropy**, which says how undecided the policy still is: a small bonus for it in the loss keeps the agent from being sure too early. With $z_b$ the logits of row $b$,
#
# $$\log \pi(a_b \mid s_b) = z_{b, a_b} - \log \sum_{c} e^{z_{b, c}}, \qquad H_b = -\sum_a \pi(a \mid s_b) \log \pi(a \mid s_b).$$
#
# `logits` is `(B, A)`, one row a state; `actions` is `(B,)`, whole numbers. Return `log_probs` and `entropies`, in this order, each `(B,)`. Gradients of both flow into `logits`. Logarithms are natural ones.
#
# Two traps, both silent. Functions that expect logits take probabilities without a word: put $(1, 0)$, a policy that is sure, through a second softmax, and it is $(0.73, 0.27)$. Such an agent can never be surer than that. And log-probabilities in a column, `(B, 1)`, times advantages `(B,)` are `(B, B)` numbers: every action is then praised for the luck of all others.
#
# **By hand.** One row with logits $(0, \ln 3)$: the probabilities are $(\tfrac14, \tfrac34)$. If action 1 was taken, its log-probability is $\ln \tfrac34 = -0.2877$. The entropy is $-\tfrac14 \ln \tfrac14 - \tfrac34 \ln \tfrac34 = 0.5623$.
#
# *Slide 68. Lecture on REINFORCE, sections C70 and, for the entropy, C31. The bonus: Mnih and others, "Asynchronous methods for deep reinforcement learning", 2016, section 4.*

# %% answer="categorical_policy"

# %% check="categorical_policy" points=5

# %% [markdown]
# ## 2. Drawing discrete actions
#
# To act, the agent draws from its policy. Most programs leave that to a function with a random generator inside. Yours gets the random numbers as an argument, one $u_b$ in $[0, 1)$ for each row, so that there is one right answer, and a run can be repeated step by step.
#
# Lay the probabilities of a row side by side on the line from 0 to 1. Action 0 owns the first piece, as long as $\pi(0 \mid s_b)$, action 1 the next one, and so on. The action whose piece holds $u_b$ is drawn:
#
# $$a_b = \min \big\{ a : \pi(0 \mid s_b) + \dots + \pi(a \mid s_b) > u_b \big\}.$$
#
# If $u_b$ is uniform, each action comes as often as the policy says. `logits` is `(B, A)`, `uniforms` is `(B,)`. Return `(B,)` whole numbers, of an integer type: question 1 uses them as indices, and the environment does as well.
#
# The probabilities sum to 1, but rounded numbers may not: ten times 0.1, added up, is 0.9999999999999999. If $u_b$ is not below that sum, no action is left by the formula; then take the last one. This is rare, but an agent takes millions of steps, and one that asks for action number $A$ stops there.
#
# **By hand.** Probabilities $(0.2, 0.5, 0.3)$ add up to $(0.2, 0.7, 1)$. $u = 0.1$ gives action 0, $u = 0.35$ and $u = 0.65$ give action 1, $u = 0.8$ gives action 2.
#
# *Slide 68. Lecture on REINFORCE, section C70. The method: Devroye, "Non-uniform random variate generation", 1986, chapter III.2.*

# %% answer="sample_actions"

# %% check="sample_actions" points=4

# %% [markdown]
# ## 3. A policy with continuous actions
#
# A torque is a real number, and there are too many of them for logits. The policy is a Gaussian instead: the network gives a mean $\mu_{b,i}$ for each of the $D$ action dimensions, and a parameter beside it holds $\log \sigma_i$, the same in all states. The dimensions are independent, so the density of an action is a product, and its logarithm a sum:
#
# $$\log \pi(a_b \mid s_b) = -\frac12 \sum_{i=1}^{D} \Big[ \Big( \frac{a_{b,i} - \mu_{b,i}}{\sigma_i} \Big)^{2} + 2 \log \sigma_i + \log 2\pi \Big], \qquad H_b = \sum_{i=1}^{D} \Big[ \log \sigma_i + \tfrac12 \log (2 \pi e) \Big].$$
#
# `means` and `actions` are `(B, D)`, `log_stds` is `(D,)`. Return `log_probs` and `entropies`, each `(B,)`. Gradients of the first flow into `means` and `log_stds`, those of the second into `log_stds`. The entropies are the same in all rows; they come as `(B,)` all the same, so that the loss need not know which kind of policy it has before it.
#
# Pendulum has $D = 1$, and there many mistakes do not show. A robot with $D = 6$ joints shows them: with the mean over dimensions in the place of the sum, the ratio is the sixth root of what it should be, and the clip comes far too late. Without the sum there are `(B, 6)` ratios, each with a clip of its own. Do not wonder at signs: a density may be above 1, so a log-probability may be positive, and an entropy negative.
#
# **By hand.** One row with means $(0, 1)$, standard deviations $(2, 4)$ and the action $(1, 3)$, half a standard deviation away in both dimensions. They give $-\tfrac18 - \ln 2 - 0.9189 = -1.7371$ and $-\tfrac18 - \ln 4 - 0.9189 = -2.4302$, so the log-probability is $-4.1673$. The entropy is $2.1121 + 2.8052 = 4.9173$.
#
# *Slide 69. Lecture on REINFORCE, section C71.*

# %% answer="gaussian_policy"

# %% check="gaussian_policy" points=6

# %% [markdown]
# ## 4. Drawing continuous actions
#
# A Gaussian is drawn by stretching and shifting standard normal noise. But it knows no bounds, and environments do: Pendulum's torque lies in $[-2, 2]$. So each action has two forms, and mixing them up is a famous mistake:
#
# $$a_b = \mu_b + \sigma \, \varepsilon_b \quad\text{goes into the batch,} \qquad \text{clip}(a_b, \text{low}, \text{high}) \quad\text{goes to the environment.}$$
#
# The log-probability is that of $a_b$, as it was drawn. Think of the clip as a part of the world, as if the motor could not turn harder. What the policy chose is $a_b$, and the Gaussian is its density, also beyond the bounds. PPO will compute the log-probability of the batch's actions again, under the new policy; if one of the two is of the clipped action and the other of the drawn one, the ratio is not even 1 before the first step. Clipping both is no way out: the score $\nabla \log \pi$ has mean zero over what the policy draws (C22), not over what a clip leaves. With the mean at the upper bound and $\sigma = 1$, it is $-0.40$ on average.
#
# `means` and `noise` are `(B, D)`; `log_stds`, `low` and `high` are `(D,)`: each dimension has its own bounds. Return `actions` `(B, D)`, `env_actions` `(B, D)` and `log_probs` `(B,)`. They are stored until the batch is used up, so all three come without a graph, even if `means` and `log_stds` have one. You may call your function from question 3.
#
# **By hand.** Mean 1.5, standard deviation 1, noise 1.2, bounds $-2$ and 2. The action is 2.7, the environment gets 2, and the log-probability is $-\tfrac12 \cdot 1.2^2 - 0.9189 = -1.6389$. (At 2 it would be $-1.0439$, and the ratio of the two 0.55.)
#
# *Slide 69. Lecture on REINFORCE, section C71, last paragraph.*

# %% answer="gaussian_actions"

# %% check="gaussian_actions" points=4

# %% [markdown]
# ## TO WRITE: a question in words

# %% [markdown] written="hw3_in_words" points=2
# TO WRITE: the model answer.
#
# === BEGIN MARK SCHEME ===
#
# **2 points** for TO WRITE.
#
# === END MARK SCHEME ===

# %% [markdown]
# ## Before you hand in
#
# Run the whole notebook from the top (Kernel, Restart Kernel and Run All Cells). Each check cell should say how many examples are right. Then hand in this file, with its name unchanged.
