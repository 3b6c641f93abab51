# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TO WRITE: Homework and its title
#
# TO WRITE: what it is about, in two sentences.
#
# {questions}
#
# Write your code where it says `YOUR CODE HERE` and run the cell below it; when your homework is graded, the same questions are asked on other numbers. Any way to the right numbers is fine. Arguments must be left as they came in: if you need to change one, change a copy. Beside Python's own modules and the course's, {modules} are there when it is graded, and no others; a file or folder of your own that you import is there if you hand it in too.
#
# From a terminal, `course check hw3.ipynb` runs the whole notebook at once.

# %%
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.student.check import check
from course_lib import validate

torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## 5. Collecting steps
#
# An agent learns from a batch of $T$ steps in each of $N$ environments that act side by side. `envs` is such a bundle, a *vector environment* of the library gymnasium. One call of `envs.step` moves all $N$ of them. Their episodes end at different times, and nobody waits for anybody:
#
# - The step that ends an episode is a step like others. It is played and paid, and the observation that it shows is the last one of the episode, not the first of the next.
# - The step after that **only resets** this environment: its action is ignored, it pays 0, it is no end itself, and it shows the start of the next episode. The others play on meanwhile.
#
# So you never reset anything. Rows of steps that only reset stay in the batch, so that a row is the same moment in all environments; but `valid` is False there, and in such a place all other entries may hold anything. Nobody chose that action, and whoever trains on it learns noise.
#
# One step goes like this: ask `act` what to do, once and for all $N$ (it draws at random, so a second question gets another answer); hand its second answer to `envs.step`; write down what happened; go on from there. `act` gives three tensors:
#
# | | shape | |
# |---|---|---|
# | `actions` | $(N,)$ whole or $(N, D)$ real | as they were drawn; they go into the batch |
# | `env_actions` | as `actions` | as the environments take them: clipped, or counted from another number; they go to `envs.step`, as a NumPy array |
# | `log_probs` | $(N,)$ | of `actions`; they go into the batch |
#
# `envs.step` answers with five things: observations $(N, O)$, rewards, `terminated` and `truncated`, each $(N,)$, and a dict that you do not need. They are NumPy arrays, often in single precision, and some environments use the *same* array for their observations in every step: what you keep has to be a copy. Observations, rewards and what `act` is given are tensors of the type of the `observations` that came in.
#
# You return a dict of tensors:
#
# | | shape | |
# |---|---|---|
# | `observations` | $(T, N, O)$ | what `act` was given |
# | `actions`, `log_probs` | $(T, N)$, or $(T, N, D)$ for real actions | what `act` gave |
# | `rewards`, `next_observations` | $(T, N)$, $(T, N, O)$ | what the step paid, and what it showed |
# | `terminated`, `truncated` | $(T, N)$ bool | how it ended, if it did; the two apart |
# | `valid` | $(T, N)$ bool | False where the step only resets |
# | `last_observations`, `last_ended` | $(N, O)$, $(N,)$ bool | where the environments stand, and whose last step was an end |
#
# The last two are what the next call gets as `observations` and `ended`, since a batch may begin and stop in the middle of an episode, or just after its end. (`course_lib.rollout` has a collector for the course's own agents. Here you write one that takes any `act`; the rest of this homework stands on it.)
#
# **By hand.** One environment, four steps; it stands at $s_0$, and its episode goes on. The second step terminates:
#
# | step | `observations` | `rewards` | `next_observations` | `terminated` | `valid` |
# |---|---|---|---|---|---|
# | 0 | $s_0$ | 1 | $s_1$ | False | True |
# | 1 | $s_1$ | 1 | $s_2$ | True | True |
# | 2 | $s_2$ | 0 | $s'_0$ | False | **False** |
# | 3 | $s'_0$ | 1 | $s'_1$ | False | True |
#
# `last_observations` is $s'_1$, and `last_ended` is False. After two steps it would have been $s_2$ and True; and a call that starts there begins with the row that is not valid.
#
# In the examples of the check an observation is $(10\,n + \text{episode},\ \text{steps in it})$ for environment $n$.
#
# *Slide 63; the note's Algorithm 2. Lecture on PPO, section C87; on the two kinds of end, lecture on advantages, section C72. Gymnasium's documentation calls this next-step autoreset.*

# %% answer="collect"

# %% check="collect" points=10

# %% [markdown]
# ## 6. Advantages and targets
#
# Now the batch becomes something to train on. The policy needs an advantage for each step, the critic a number that it should have said. With $V$ the critic as it is now,
#
# $$\hat A = \text{gae}\big(r,\; V(s),\; V(s'),\; \text{terminated},\; \text{truncated},\; \gamma,\; \lambda\big), \qquad \text{target} = \hat A + V(s),$$
#
# where $s$ is in `observations` and $s'$ in `next_observations`. An advantage says how much better it went than $V(s)$; put back on $V(s)$ it says how it went, and that is what the critic shall learn.
#
# `batch` is what `collect` returns: everything in it begins with the axes $(T, N)$, but for the last two entries. `critic` is a network that turns observations $(\dots, O)$ into values $(\dots, 1)$; mind that last axis. `gae` is as in homework 2, all $(T, N)$ in and out. Call the one you are given: the check brings another one.
#
# Return two tensors `(M,)`, advantages and targets of the $M$ steps that are valid, row after row of the batch (that is the order in which a mask picks them). Both are fixed numbers while policy and critic are trained, so they come without a graph. The advantages are not normalised here.
#
# Steps that are not valid must have no effect at all; the check puts nonsense there. The row below an end is such a step. So the value of the next state is not to be had from the row below, and no sum may run into it.
#
# **By hand.** One environment, a critic that says $V(s) = s$, $\gamma = 0.9$, $\lambda = 0.5$, and `gae` as in homework 2. The second step is truncated, so the third only resets:
#
# | step | $s$ | $r$ | $s'$ | valid | $\delta$ | $\hat A$ | target |
# |---|---|---|---|---|---|---|---|
# | 0 | 0.5 | 1 | 1 | True | 1.4 | $1.4 + 0.45 \cdot 0.35 = 1.5575$ | 2.0575 |
# | 1 | 1 | 0 | 1.5 | True | 0.35 | 0.35 | 1.35 |
# | 2 | 7 | 9 | 3 | False | | | |
# | 3 | 1.5 | 2 | 2 | True | 2.3 | 2.3 | 3.8 |
#
# The answer is $(1.5575, 0.35, 2.3)$ and $(2.0575, 1.35, 3.8)$. Had step 1 terminated, its advantage would be $-1$, that of step 0 $0.95$, and the targets $(1.45, 0, 3.8)$.
#
# *Slide 70; the note's Algorithm 2. Lecture on advantages, section C72; on PPO, section C87.*

# %% answer="advantages_and_targets"

# %% check="advantages_and_targets" points=8

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
