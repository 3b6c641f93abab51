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
# ## 2. TO WRITE: what is asked
#
# TO WRITE: what the function is for, and its formula:
#
# $$\max_t \gamma^t r_t.$$
#
# **By hand.** For rewards $(1, 3, 2)$ and $\gamma = 0.5$: the discounted rewards are $1, 1.5, 0.5$, so the answer is 1.5.
#
# *Lecture 2, section C23.*

# %% answer="collect"

# %% check="collect" points=10

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
