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

import torch
from torch import Tensor

from autograder.student.check import check
from course_lib import validate

torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## 7. What PPO makes small
#
# The clipped objective moves the policy. The critic has to learn as well, and the policy should not become sure of itself too soon. PPO puts the three into one number, and an optimiser makes it **small**. For a minibatch of $M$ steps:
#
# $$\text{loss} = -\,\text{objective}\big(\log\pi_\theta, \log\pi_{\text{old}}, \tilde A\big) + c_V\, \frac1M \sum_{i=1}^{M} (V_i - \text{target}_i)^2 - c_H\, \frac1M \sum_{i=1}^{M} H_i, \qquad \tilde A_i = \frac{A_i - \text{mean}(A)}{\text{std}(A) + 10^{-8}}.$$
#
# $\tilde A$ are the advantages of this minibatch with mean 0 and standard deviation 1, the one with $M - 1$ below the sum ($M$ is at least 2: a single number has no spread). $c_V$ is `value_weight` and $c_H$ is `entropy_weight`. `objective(log_probs, old_log_probs, advantages)` takes three times `(M,)` and returns a scalar that is to be made **large**. Call the one you are given: the check brings one of its own, and it is not PPO's.
#
# All tensors are `(M,)`, but for `values`: a network with one output gives `(M, 1)`. Write down the shape of a difference before you square it. Gradients flow into `log_probs`, `values` and `entropies`. `old_log_probs`, `advantages` and `targets` were fixed when the batch was collected: no gradient may flow into them, even if they come with a graph.
#
# **By hand.** Two steps with advantages $(3, 1)$: mean 2, standard deviation $\sqrt 2$, so $\tilde A = (0.7071, -0.7071)$. Say the objective is 0.3 for these. Values $(1, 2)$ and targets $(2, 4)$ have squared errors 1 and 4, mean 2.5. Entropies $(0.6, 0.4)$ have mean 0.5. With $c_V = 0.5$ and $c_H = 0.1$ the loss is $-0.3 + 1.25 - 0.05 = 0.9$.
#
# *Slides 60 and 65; Schulman and others, "Proximal Policy Optimization Algorithms", 2017, equation (9). Lecture on PPO, sections C87 and C69.*

# %% answer="ppo_loss"

# %% check="ppo_loss" points=8

# %% [markdown]
# ## 8. Many steps on one batch
#
# Now the batch is used several times. Each of the $E$ epochs goes through all $M$ steps in an order of its own, row $e$ of `orders` `(E, M)`, and cuts it into minibatches of `size` rows: the first `size` numbers of the row, the next `size`, and so on. If $M$ is no multiple of `size`, the last minibatch of each epoch is smaller. For each minibatch:
#
# 1. clear the gradients, whatever was left in them before;
# 2. `loss = loss_on(rows)`, with the rows of this minibatch;
# 3. compute its gradient $g$ in all parameters;
# 4. if $g$ is longer than $c$ = `max_norm`, cut it to that length: $g \leftarrow g \cdot \min\big(1, \tfrac{c}{|g|}\big)$;
# 5. let the optimiser make its step.
#
# $|g|$ is **one** length, of all parameters together as if they were one long vector. The parameters stand in `optimiser.param_groups`, a list of dicts: each has a list of them at `"params"`, and there may be more than one dict (a policy and a critic with learning rates of their own, for example). `optimiser` is one of torch's, SGD with momentum or Adam for example: let it make its own step. Return the mean of the losses of all minibatches, as a float: a tensor with a graph would keep every graph of the batch in memory.
#
# The loss of question 7 needs two rows or more. If you ever train with it and a single row would be left over at the end of an epoch, leave that row out of `orders`.
#
# **By hand.** One parameter $x = 0$; the loss on row $i$ is $(x - y_i)^2$ with $y = (1, 3)$. One epoch in the order $(0, 1)$, `size` 1, plain steps of learning rate 0.5, `max_norm` 1. Row 0: the loss is 1, $g = -2$ is cut to $-1$, and $x$ becomes 0.5. Row 1: the loss is $2.5^2 = 6.25$, $g = -5$ is cut to $-1$, and $x$ becomes 1. The mean of the losses is 3.625.
#
# *Slide 63; the note's Algorithm 2; for the cut, Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013. Lecture on PPO, sections C65 and C69.*

# %% answer="ppo_epochs"

# %% check="ppo_epochs" points=7

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
