# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework 3: An agent of your own
#
# You will write PPO from its pieces, train it, and find out what is wrong with agents that others trained.
#
# {questions}
#
# Write your code where it says `YOUR CODE HERE` and run the cell below it; when your homework is graded, the same questions are asked on other numbers. Any way to the right numbers is fine. Arguments must be left as they came in: if you need to change one, change a copy. Beside Python's own modules and the course's, {modules} are there when it is graded, and no others; a file or folder of your own that you import is there if you hand it in too.
#
# From a terminal, `course check hw3.ipynb` runs the whole notebook at once.

# %%
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from autograder.student.check import check
from course_lib import validate
from course_lib.figures.find_the_bug import plot_run
from course_lib.find_the_bug import SUSPECTS, healthy_curves, run_curves, steps_of_updates

torch.set_default_dtype(torch.float64)

# %% answer="cartpole_agent"

# %% check="cartpole_agent" points=8

# %% answer="pendulum_agent"

# %% check="pendulum_agent" points=8

# %% [markdown]
# ## 11. Find the bug
#
# A wrong line in PPO rarely stops with an error. The agent trains, it may even learn something, and only its curves tell. Here are recordings of agents that were trained on CartPole-v1, each from another seed. Most of them carry one mistake. You were sent four numbers of runs, which are yours alone; say of each what it suffers from. The four have four different names, and one of them may be `"nothing"`.
#
# | name | what was done |
# |---|---|
# | `"nothing"` | All is right: this is how luck alone changes the curves. |
# | `"no clip"` | Ratio times advantage is made large, without the clip. |
# | `"fresh log-probs"` | Ahead of each minibatch the old policy's log-probabilities are worked out anew, by the policy as it is by then. |
# | `"past the end"` | The value of the next state counts also after a step on which the pole fell. |
# | `"wrong sign"` | The advantages enter the loss with the wrong sign. |
# | `"idle critic"` | The critic's error has weight 0 in the loss, so the critic stays as it was made. |
# | `"wrong targets"` | The critic is trained towards the advantages, without the values added to them. |
# | `"huge steps"` | The learning rate of policy and critic is ten times what it should be. |
# | `"too much entropy"` | The weight of the entropy in the loss is a hundred times what it should be. |
# | `"short sight"` | The discount is 0.5 where it should be 0.98. |
# | `"mixed-up rows"` | The advantages were shuffled apart from observations and actions: each step has the advantage of another step. |
#
# All else is the same in all runs: 64 environments, 32 steps in each between two updates, six passes over each batch in four minibatches, clip range 0.2, advantages by GAE, brought to mean 0 and spread 1 in each minibatch. There are 30 updates. After each of them five numbers were written down, **as the agent itself works them out**, so that a mistake may show in them, too:
#
# - *return*: mean over the training episodes that ended since the update before. At most 500 is possible.
# - *KL*: mean of $r - 1 - \log r$ over the last pass, with $r$ the ratio of each step that the agent has.
# - *share outside the clip*: how many of these ratios are farther than 0.2 from 1.
# - *entropy*: of the policy that acted, mean over the batch. Two actions have at most $\ln 2 = 0.69$.
# - *value error*: mean square of the critic's target minus its value, before the update.
#
# KL and value error stand on logarithmic axes, which are straight near 0, so that 0 has a place. `look_at(5, 15)` draws runs 5 and 15 in red; three healthy runs are grey. Call it with the numbers that you were sent, in a cell of your own.


# %%
def look_at(*runs: int) -> None:
    size = (15, 2.6 * len(runs))
    _, rows = plt.subplots(
        len(runs), 5, figsize=size, squeeze=False, layout="constrained", facecolor="white"
    )
    for axes, run in zip(rows, runs, strict=True):
        plot_run(axes, run_curves(run), healthy_curves(), steps_of_updates(), f"run {run}")
    plt.show()


print(", ".join(SUSPECTS))
look_at(5, 15)

# %% [markdown]
# **By hand.** *Run 5.* The return does not just fail to rise: it falls, from 17 to 9, which is less than an agent earns that draws its actions at random. And the agent gets there on purpose: within eight updates the entropy is below 0.06. So there is something to learn from, and it is learned the wrong way round. The ratios are not to blame: KL and share outside the clip are above 0, high while the entropy collapses and low once there is nothing left to change. Nor is the critic: its error falls faster than that of healthy runs, since episodes of nine steps are easy to foretell. The answer is `"wrong sign"`.
#
# *Run 15.* The return rises, slowly, to 100, so the gradient points the right way. But the entropy stays at 0.63 and above, and hardly a ratio leaves the clip range: whatever the policy learns, something draws it back to chance. With `"mixed-up rows"` the entropy might stay as high; the return would not rise then, since the policy would be told nothing. The value error of about 40 fits: nobody can foretell the returns of a policy that acts nearly at random. The answer is `"too much entropy"`.
#
# **To practise**, runs 12 and 41 (`look_at(12, 41)`): the check below tells you at once whether you are right on them. It cannot judge your own four; they are asked when your homework is graded, and each of them earns a quarter of the points. An example that is wrong or missing then costs a quarter, too. The simplest `culprit` looks its answer up in a dictionary with eight entries: runs 5, 15, 12 and 41, and your four.
#
# *Lecture on PPO, sections C66 and C69; lecture on REINFORCE, section C31.*

# %% answer="culprit"

# %% check="culprit" points=8

# %% [markdown]
# ## 12. How you know
#
# *In words, about ten lines.* Take two of your four runs, with different names, neither of them `"nothing"`. For each of them:
#
# 1. Which panels tell it, and how? Say why this mistake leaves this trace, and name the other mistake of the table that comes nearest, with the panel that rules it out.
# 2. Which experiment would settle it, if you had the agent's code? Say what you would change or print, and what you would see if you are right and if you are wrong. "Correct it and train again" is not enough: a run may get better by luck.

# %% [markdown] written="how_you_know" points=4
# Any two are right; here are two.
#
# **A run with fresh log-probs.** KL and share outside the clip are 0 at every update, not small but 0, while the entropy falls within a few updates. So the policy moves and the agent's ratios do not see it: they are worked out against the policy itself. A ratio of 1 never meets the clip, so that nothing holds the policy back, the entropy collapses, and the return stays low or breaks down. Nearest is `"no clip"`, where the policy runs away as well; but there the ratios are honest, KL and clip share are far above the healthy ones. *Experiment:* keep the log-probabilities that were recorded when the batch was collected, and print the mean of the absolute difference to those in the loss, before the second minibatch. If I am right it is above 0 and grows over the passes; if the right ones are in use it is 0.
#
# **A run with an idle critic.** The value error rises with the returns to about 90 and never falls, where healthy runs come down by a factor of ten or more. The critic stays where it was made, near 0, so its error is the mean square of its targets. The policy learns all the same, since advantages without a baseline are right on average, but noisier. Nearest is `"wrong targets"`, where the critic is no good either; but there the error is measured against advantages and falls at once to about 10. *Experiment:* print the sum of all critic parameters before and after an update. If I am right not one of them changes; with any other mistake they do.
#
# === BEGIN MARK SCHEME ===
# For each of the two runs **2 points**:
# - **1 point** for the trace: the panel that tells it, **with a reason** from how PPO works (half a point without a reason), and a rival that a named panel rules out. The reason must fit the mistake that the student named; if that name is wrong, the point may still be given for a trace that is really there in his run and would follow from his mistake.
# - **1 point** for the experiment: something definite that is changed or printed, **and** both outcomes. Half a point if only one outcome is told, or if the experiment would come out alike for the nearest rival. "Correct it and train again": no point, unless several seeds are compared with several of the broken agent.
# === END MARK SCHEME ===

# %% [markdown]
# ## Before you hand in
#
# Run the whole notebook from the top (Kernel, Restart Kernel and Run All Cells). Each check cell should say how many examples are right. Then hand in this file, with its name unchanged.
