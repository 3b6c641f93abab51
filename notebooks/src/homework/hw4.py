# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework 4: The same gradient on a language model
#
# A bonus. A language model is a policy: the state is the text so far, the action is the next token. So all you have learned applies, and what is new is bookkeeping: which tokens count, what a reward is compared with, what an average goes over, and how the model is held near the one it started from. Most of what goes wrong in such programs goes wrong there, without any error message.
#
# {questions}
#
# The lectures are the notebooks in the folder `lectures`; *section G4* is the heading there that ends in (G4). What goes beyond them has a paper as its source, and all you need of it stands here.
#
# Each piece takes what it needs as arguments, so a mistake in one costs you nothing in the next. Write your code where it says `YOUR CODE HERE` and run the cell below it; when your homework is graded, the same questions are asked on other numbers. A question gives its points in parts; if you do not have all of them, the check says which you have. Any way to the right numbers is fine. Arguments must be left as they came in (their numbers, their `requires_grad`, their `.grad`): if you need to change one, change a copy. Beside Python's own modules and the course's, {modules} are there when it is graded, and no others; a file or folder of your own that you import is there if you hand it in too.
#
# From a terminal, `course check hw4.ipynb` runs the whole notebook at once.

# %%
import itertools
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from autograder.student.check import check, in_doubles
from course_lib import validate
from course_lib.agents import load_agent, save_agent
from course_lib.brackets import ANSWER, PROMPT, WORDS, prompts, reward, sloppy_model
from course_lib.grpo import GRPOConfig, grpo, kl_estimates
from course_lib.language_model import LanguageModel

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # the tensors here are small: more threads would wait for each other

# %% [markdown]
# ## 1. How likely was each word?
#
# A batch of texts lies in one array `tokens`, `(B, T)`. Each row begins with a prompt of `prompt_lengths[b]` tokens, goes on with what the model wrote, and has `lengths[b]` tokens in all. What stands after them is **padding**: it only fills the array, with any tokens, also with some that occur in texts.
#
# The model has read all of it in one pass and gives `logits`, `(B, T, V)`. Row $t$ was made from the tokens $0, \dots, t$, and speaks about the token after them. So let place $t$ of your answer be about token $t + 1$:
#
# $$\text{mask}_{b,t} = \big[\,\text{prompt length}_b \le t + 1 < \text{length}_b\,\big], \qquad \text{log-prob}_{b,t} = \text{mask}_{b,t}\, \log \frac{e^{z_{b,t,w}}}{\sum_v e^{z_{b,t,v}}} \quad\text{with } w = \text{tokens}_{b,t+1}.$$
#
# Both are `(B, T - 1)`: the first token has nothing before it, and what follows the last one was never said. Return the two of them. The log-probabilities keep their graph, since all learning goes through them. The mask is of type bool, True where a token counts.
#
# **By hand.** Two words, tokens $(0, 1, 0, 1)$, of which the first two are the prompt, and nothing is padded. Row 1 of the logits is $(0, \ln 3)$, row 2 is $(0.2, 0.2)$. Row 1 gives word 0 the probability $\tfrac14$, row 2 gives word 1 the probability $\tfrac12$. So the log-probabilities are $(0, -1.386, -0.693)$ and the mask is (False, True, True).
#
# *Lecture on advantages, sections G1 and G6; Shao et al. 2024 (DeepSeekMath), section 4.1.1.*

# %% answer="token_log_probs"

# %% check="token_log_probs" points=5

# %% [markdown]
# ## 2. Better than the group
#
# GRPO has no critic. To each prompt it draws $K$ completions, and compares each reward with those of its own group, in units of their spread:
#
# $$A_{g,k} = \frac{R_{g,k} - \bar R_g}{\text{std}_g + 10^{-6}}, \qquad \text{std}_g = \sqrt{\frac{1}{K-1} \sum_{k=1}^{K} \big(R_{g,k} - \bar R_g\big)^2}.$$
#
# `rewards` and the result are `(G, K)`: a row is a group. The lecture divided the sum of squares by $K$; here it is $K - 1$, as programs with `torch.std` have it. The $10^{-6}$ is there for groups whose rewards are all equal: their advantages are 0, not 0/0.
#
# **By hand.** Rewards $(0, 0, 3, 3)$: the mean is 1.5, the squares add up to 9, $\text{std} = \sqrt{9/3} = 1.732$, and the advantages are $(-0.866, -0.866, 0.866, 0.866)$.
#
# *Lecture on advantages, sections G2 and G3; Shao et al. 2024 (DeepSeekMath), section 4.1.2.*

# %% answer="group_advantages"

# %% check="group_advantages" points=4

# %% [markdown]
# ## 3. Better than the others
#
# An honest baseline does not look at the answer that it judges. So leave it out (RLOO, REINFORCE leave-one-out): with $O_i$ the *other* answers to the same prompt,
#
# $$A_i = R_i - \frac{1}{|O_i|} \sum_{j \in O_i} R_j.$$
#
# In a real batch groups are not all of one size: some completions are thrown away, some were too long. So here the batch is flat. `rewards` and the result are `(N,)`, and `prompts`, `(N,)`, holds a whole number for each completion: two of them answer the same prompt if their numbers are equal. The numbers may be any, and answers to one prompt need not stand side by side. An answer that has no others gets the advantage 0.
#
# **By hand.** Rewards $(1, 0, 4)$, all to one prompt: the means of the others are $2$, $2.5$ and $0.5$, and the advantages are $(-1, -2.5, 3.5)$.
#
# *Lecture on advantages, section G2; Ahmadian et al. 2024 (Back to Basics).*

# %% answer="rloo_advantages"

# %% check="rloo_advantages" points=5

# %% [markdown]
# ## 4. The loss, token by token
#
# Now PPO's clip, with two changes that came with DAPO. First, the clip has two numbers, so that a rare word has more room to become likelier than a common one has to vanish. Second, the mean goes over **all kept tokens of the batch**, so that each token weighs the same, whatever the length of its text. With $\rho_{b,t} = \pi_\theta / \pi_{\text{old}}$ of the token at $(b, t)$ and $M$ kept tokens in the whole batch:
#
# $$L(\theta) = -\frac1M \sum_{(b,t)\text{ kept}} \min\Big(\rho_{b,t} A_b,\; \text{clip}\big(\rho_{b,t},\, 1 - \epsilon_{\text{low}},\, 1 + \epsilon_{\text{high}}\big)\, A_b\Big).$$
#
# `log_probs`, `old_log_probs` and `mask` are `(B, T)`, `advantages` is `(B,)`: one number for all tokens of a text. (Mind what torch does with `(B, T)` times `(B,)` where $B = T$.) A text may keep no token at all; outside the mask any numbers may stand, and they must not matter. The result is a scalar that is to be made **small**.
#
# **By hand.** One text of two tokens, both kept, with ratios $(1.5, 0.7)$, $A = 1$, $\epsilon_{\text{low}} = 0.2$, $\epsilon_{\text{high}} = 0.3$: the terms are $1.3$ and $0.7$, and $L = -1$.
#
# *Lecture on PPO, section C63; lecture on advantages, section G4; Yu et al. 2025 (DAPO), sections 3.1 and 3.3.*

# %% answer="clipped_token_loss"

# %% check="clipped_token_loss" points=6

# %% [markdown]
# ## 5. The loss, text by text
#
# The reward is paid for a text as a whole. So GSPO gives each text *one* ratio, and clips it once. The true ratio of a text is the product over its tokens; it would leave any clip range after a few dozen of them. GSPO takes its geometric mean. With $n_b$ kept tokens in text $b$:
#
# $$s_b = \exp\Big(\frac{1}{n_b} \sum_{t\text{ kept}} \log \frac{\pi_\theta}{\pi_{\text{old}}}\Big), \qquad L(\theta) = -\frac1B \sum_{b=1}^{B} \min\Big(s_b A_b,\; \text{clip}\big(s_b,\, 1 - \epsilon_{\text{low}},\, 1 + \epsilon_{\text{high}}\big)\, A_b\Big).$$
#
# The arguments are those of question 4; here each text keeps at least one token. The mean goes over texts.
#
# **By hand.** Two texts of two tokens, $A = 1$ for both, $\epsilon_{\text{low}} = 0.2$, $\epsilon_{\text{high}} = 0.3$. Ratios $(1.8, 1.25)$ give $s_1 = \sqrt{2.25} = 1.5$, which is clipped to $1.3$. Ratios $(0.5, 0.98)$ give $s_2 = \sqrt{0.49} = 0.7$. So $L = -\tfrac12 (1.3 + 0.7) = -1$.
#
# *Lecture on PPO, section C63; Zheng et al. 2025 (GSPO), section 4.*

# %% answer="sequence_level_loss"

# %% check="sequence_level_loss" points=6

# %% [markdown]
# ## 6. Near the first model: a term of the loss
#
# What a program pays for can be fooled, so the model is held near the one it was at first, $\pi_{\text{base}}$. One way is a penalty in the loss, estimated from the tokens that were drawn. The lecture has such an estimate, $k_3$, and a warning: its mean is the KL, the mean of its *slope* is not the slope of the KL. This question repairs it.
#
# The tokens were drawn by $\pi_{\text{old}}$. To say what they tell about $\pi_\theta$, weigh them by the ratio, and let gradients flow through **both** factors. With $d_{b,t} = \log\pi_{\text{base}} - \log\pi_\theta$ of the token at $(b, t)$ and $M$ kept tokens:
#
# $$K(\theta) = \frac1M \sum_{(b,t)\text{ kept}} \frac{\pi_\theta}{\pi_{\text{old}}} \big(e^{d_{b,t}} - d_{b,t} - 1\big).$$
#
# Given what stands before a token, the mean over $\pi_{\text{old}}$ is $\sum_v \pi_\theta(v)\, k_3(v) = \text{KL}(\pi_\theta \Vert \pi_{\text{base}})$, for every $\theta$; and what is equal for every $\theta$ has equal slopes. All arguments are `(B, T)`; the last three are constants. The result is a scalar that is to be made small.
#
# **By hand.** Two tokens, probabilities $(0.5, 0.2)$ now and before, base $(0.25, 0.4)$: $d = (-\ln 2, \ln 2)$, the estimates are $0.5 + 0.693 - 1 = 0.193$ and $2 - 0.693 - 1 = 0.307$, and $K = 0.25$. Its slope in the two log-probabilities is $(0.347, -0.347)$, which is $-d/2$. Had the tokens been drawn with probabilities $(0.25, 0.4)$, the ratios would be $(2, 0.5)$ and $K = 0.27$.
#
# *Lecture on advantages, section G5; DeepSeek-AI 2025 (DeepSeek-V3.2), section 3.1, equation (7).*

# %% answer="kl_k3"

# %% check="kl_k3" points=6

# %% [markdown]
# ## 7. Near the first model: a part of the reward
#
# The other way: let each text pay for its distance. The log ratio of a whole text is the sum of those of its tokens:
#
# $$R'_b = R_b - \beta \sum_{t\text{ kept}} \big(\log\pi - \log\pi_{\text{base}}\big).$$
#
# Here $\pi$ is the policy that drew the text. `rewards` and the result are `(B,)`, the others `(B, T)`, and `beta` is a number in $[0, 1]$. A reward is a number that the world has paid: even if `log_probs` comes with a graph, **no gradient** may flow through the result. The penalty of a single text may be negative; then it earns something.
#
# **By hand.** One text of two tokens, probabilities $(0.6, 0.4)$, base $(0.3, 0.1)$, reward 1, $\beta = 0.1$: the log ratios are $\ln 2$ and $\ln 4$, their sum is $\ln 8 = 2.079$, and $R' = 0.792$.
#
# *Lecture on advantages, section G5; Ouyang et al. 2022 (InstructGPT), equation (2).*

# %% answer="rewards_with_kl"

# %% check="rewards_with_kl" points=4

# %% [markdown]
# ## See the means
#
# Nothing to do here: your functions are tried on a language that is small enough to list. It has three words, 0, 1 and 2; 2 ends a text, and a text has a prompt (the word 0) and at most three words more. That makes 15 texts, each of which has a probability. So the mean of an estimate over all texts, or over all groups of four, is a finite sum, and can be laid beside what it should be. A program pays 1 for a text with exactly one word 1 in it; in the hard task it pays 1 for three of them.
#
# *What to notice.* Cosine 1 says that an estimate points the right way in the mean, length 1 that it is as long as what it estimates. `rloo_advantages` has both. `group_advantages` points the right way, with a length that is not the same for the two tasks: that is what the division by the spread does, and in large groups it does far more of it (section G3). `rewards_with_kl`, in front of the score, has the slope of $J - \beta\,\text{KL}$ exactly. `kl_k3` has the value and the slope of the KL at each place, though the texts were drawn by another policy; without the ratio neither is right. (What a term of the loss leaves out: a policy also changes *which* beginnings come up.)


# %%
def all_texts() -> tuple[Tensor, Tensor]:
    """Tokens (15, 4) of all texts, filled up with 2, and how many of them each text has."""
    said = {}
    for words in itertools.product(range(3), repeat=3):
        stop = words.index(2) + 1 if 2 in words else 3
        said[words[:stop]] = [0, *words[:stop], *[2] * (3 - stop)]
    return torch.tensor(list(said.values())), torch.tensor([1 + len(words) for words in said])


texts, lengths = all_texts()
ones = (texts == 1).sum(1)
easy, hard = (ones == 1).double(), (ones == 3).double()  # what each text is paid, (15,)
theta, old_theta, base_theta = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(4))
theta.requires_grad_()  # (V, V): row w has the logits of what follows the word w


def written(table: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (15, 3) of all texts under a table of logits, and their mask."""
    log_probs, mask = token_log_probs(table[texts], texts, torch.ones_like(lengths), lengths)
    return log_probs.double(), mask.bool()


def slope(quantity: Tensor) -> Tensor:
    return torch.autograd.grad(quantity, theta, retain_graph=True)[0]


def over_all_groups(advantages: Callable[[Tensor], Any], paid: Tensor, size: int = 4) -> Tensor:
    """Mean over all groups of `size` texts of the gradient that is estimated from the group."""
    whole = written(theta)[0].sum(1)  # (15,)
    groups = torch.cartesian_prod(*[torch.arange(15)] * size)  # (15 ** size, size)
    chances = whole.detach().exp()[groups].prod(1, keepdim=True)
    rewards, which = paid[groups].unique(dim=0, return_inverse=True)  # few are different
    weights = in_doubles(advantages(rewards)).view_as(rewards)[which]
    return slope((chances * weights * whole[groups]).sum() / size)


def one_prompt_each(rewards: Tensor) -> Tensor:
    prompt = torch.zeros(rewards.shape[1], dtype=torch.long)
    return torch.stack([in_doubles(rloo_advantages(group, prompt)) for group in rewards])


def means_and_what_they_should_be() -> dict[str, tuple[Tensor, Tensor]]:
    (log_probs, mask), (old, _), (base, _) = map(written, (theta, old_theta, base_theta))
    chances, drawn, beta = log_probs.sum(1).exp(), old.sum(1).exp().detach(), 0.2
    distance = chances @ (log_probs - base).sum(1)
    paid = in_doubles(rewards_with_kl(easy, log_probs, base, mask, beta))
    rows = (theta.softmax(1) * (theta.log_softmax(1) - base_theta.log_softmax(1))).sum(1)
    exact = drawn @ (rows[texts[:, :-1]] * mask).sum(1)
    each = [kl_k3(log_probs[[n]], old[[n]], base[[n]], mask[[n]]).double() for n in range(15)]
    estimate = (drawn * mask.sum(1)) @ torch.stack(each)
    plain = drawn @ (kl_estimates(log_probs, base) * mask).sum(1)
    return {
        "rloo_advantages": (over_all_groups(one_prompt_each, easy), slope(chances @ easy)),
        "group_advantages, easy": (
            over_all_groups(group_advantages, easy),
            slope(chances @ easy),
        ),
        "group_advantages, hard": (
            over_all_groups(group_advantages, hard),
            slope(chances @ hard),
        ),
        "rewards_with_kl": (
            slope((chances.detach() * paid) @ log_probs.sum(1)),
            slope(chances @ easy - beta * distance),
        ),
        "kl_k3, value": (estimate.detach(), exact.detach()),
        "kl_k3, slope": (slope(estimate), slope(exact)),
        "k3 without the ratio, value": (plain.detach(), exact.detach()),
        "k3 without the ratio, slope": (slope(plain), slope(exact)),
    }


# %%
# Picture: grading does not run this cell.
try:
    found = means_and_what_they_should_be()
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True, facecolor="white")
    for ax, title in zip(axes, ("cosine", "length, 1 is right"), strict=True):
        ax.axvline(1.0, color="black", linestyle="--")
        ax.set_xlabel(title)
    axes[0].set_xlim(-1.1, 1.1)
    axes[1].set_xscale("log")
    for name, (mean, wanted) in found.items():
        cosine = (mean * wanted).sum() / (mean.norm() * wanted.norm())
        length = mean.norm() / wanted.norm()
        print(f"{name:28} cosine {cosine:6.3f}, length {length:7.3f}")
        axes[0].plot(cosine, name, "o", color="#0072B2")
        axes[1].plot(length, name, "o", color="#0072B2")
    axes[0].invert_yaxis()
    fig.tight_layout()
    plt.show()
except NotImplementedError as missing:
    plt.close()
    print(f"Not yet: {missing}. The picture comes once questions 1, 2, 3, 6 and 7 are written.")
except Exception as error:
    plt.close()
    print(f"No picture: {type(error).__name__}: {error}. First get 1, 2, 3, 6 and 7 right.")

# %% [markdown]
# ## 8. A model of your own
#
# Now your loss trains a model. The course's transformer of 5,457 parameters has learned to close brackets from somebody sloppy: as many as were opened, but of whatever kind. Asked to go on from three brackets, such as `([)`, it is seldom right. A program can tell whether a text is right, so the model can learn from that: draw groups of completions, compare each with its group, take steps. The cell below is the whole training. It takes a few seconds, and prints a line every twenty updates; the share of right texts on the way is about 0.13 at first and should come near 1.
#
# Then write down what your model says next, from the numbers in its file: `weights` are the named tensors that you saved, `tokens` `(N, T)` are $N$ texts so far, all of $T$ words. Return $\log\pi(w \mid \text{text so far})$ for each of the nine words $w$, `(N, V)`, without a graph. `LanguageModel(len(WORDS), PROMPT + ANSWER, generator=...)` makes a model of the right shape (what the generator draws does not matter), `load_state_dict` puts your numbers into it, and `model(tokens)` gives scores `(N, T, V)`: row $t$ of a text is about the word after place $t$.
#
# From these log-probabilities words are drawn, up to five for each text, and what comes out is judged: 24 beginnings that are not trained on, ten times each. There are points for 40, 60 and 80 % right texts, each bound lowered by 5 points of a hundred, since 240 texts have some luck in them: a model that is right on 80 % falls below 75 % in one of 41 hand-ins, one that is right on 85 % in one of 54,000. The words are drawn from random numbers that are others for each hand-in; the check below uses the same ones every time.
#
# **By hand.** If the scores of a text are 0 but for one of $\ln 8$, that word has the probability $8 / (8 + 8) = 0.5$ and each other one $1/16$; their logarithms are $-0.693$ and $-2.773$.
#
# *Slide 60. Lecture on advantages, section G1.*

# %%
# Training: grading does not run this cell. It takes a few seconds.
model = sloppy_model(torch.Generator().manual_seed(0))


def objective(log_probs: Tensor, old: Tensor, weights: Tensor, epsilon: float) -> Tensor:
    """What your clipped loss says of single tokens, each a text of its own; to be made large."""
    kept = torch.ones(len(log_probs), 1, dtype=torch.bool)
    rows = log_probs[:, None], old[:, None]
    return -clipped_token_loss(*rows, weights, kept, epsilon, epsilon)


for update, seen in enumerate(
    grpo(
        model,
        WORDS,
        prompts()[0],
        reward,
        objective,
        GRPOConfig(updates=120),
        generator=torch.Generator().manual_seed(0),
        advantages=lambda rewards: in_doubles(group_advantages(rewards)),
    )
):
    if update % 20 == 19:
        print(f"update {update + 1}: share right {seen['reward']:.2f}")
save_agent("brackets.npz", model)

# %% answer="bracket_model"

# %% check="bracket_model" points=8

# %% [markdown]
# ## 9. Two places for the KL, and the spread
#
# *In words and formulas, about twelve lines. Lecture on advantages, sections G3 and G5; your answers to questions 2, 6 and 7.*
#
# 1. A text $y$ is drawn by $\pi_\theta$ itself. Show that putting $-\beta\,(\log\pi_\theta(y) - \log\pi_{\text{base}}(y))$ into the reward, as a constant, and weighing the score with it gives in the mean the gradient of $-\beta\,\text{KL}(\pi_\theta \Vert \pi_{\text{base}})$. Then say what happens if the *same* quantity is put into the loss instead, and only differentiated (no score in front): what is the mean of its slope, and what does it do to the model?
# 2. Somebody puts plain $k_3$ (no ratio) into the loss, and has a model that gives some word nearly no probability that the base model says often. What does this penalty do with that word, compared with the gradient of $\text{KL}(\pi_\theta \Vert \pi_{\text{base}})$, while the word is not drawn, and what when it is drawn at last?
# 3. Rewards are 0 or 1, and groups are large. One prompt is answered right 1 time in 10, another 5 times in 10. By about which factor does dividing by the group's standard deviation change how much the first prompt counts against the second? Name one reason for the division and one against it.

# %% [markdown] written="kl_and_spread" points=6
# **1.** With $s(y) = \nabla\log\pi_\theta(y)$ the product rule gives
#
# $$\nabla\,\text{KL} = \nabla \sum_y \pi_\theta(y) \log\frac{\pi_\theta(y)}{\pi_{\text{base}}(y)} = \sum_y \pi_\theta(y)\, s(y) \log\frac{\pi_\theta(y)}{\pi_{\text{base}}(y)} + \sum_y \pi_\theta(y)\, s(y),$$
#
# and the last sum is $\nabla \sum_y \pi_\theta(y) = \nabla 1 = 0$. So score times log ratio has the mean $\nabla\,\text{KL}$, and with $-\beta$ it is what the reward needs. In the loss only $\log\pi_\theta(y)$ in the log ratio is differentiated. Its slope is the score $s(y)$, which has mean zero whatever $\pi_{\text{base}}$ is. So it does not hold the model at all: it adds noise and no direction.
#
# **2.** The slope of $k_3$ in $\log\pi_\theta(y)$ is $1 - \pi_{\text{base}}(y)/\pi_\theta(y)$. While the word is not drawn, the penalty hardly sees it (the sample looks as if the models were near). Once it is drawn, the ratio $\pi_{\text{base}}/\pi_\theta$ is huge, and one token pushes its own probability up with a weight without bound; the mean of the slope is that of $\text{KL}(\pi_{\text{base}} \Vert \pi_\theta)$, which insists that all that the base model says stays possible. In the gradient of $\text{KL}(\pi_\theta \Vert \pi_{\text{base}})$ the weight of such a token is only the log ratio (times the score), which grows slowly: a word that is hardly ever said counts for little.
#
# **3.** The standard deviation of a 0/1 reward is $\sqrt{p(1-p)}$: 0.3 for $p = 0.1$ and 0.5 for $p = 0.5$. So the first prompt's advantages are multiplied by $1/0.3 = 3.3$, the second's by 2: against the second, the first counts about 1.7 times as much as without (in small groups less, since many groups of the first are all wrong and teach nothing). For: rewards of any scale give advantages of the same size, so one step size fits, and hard prompts are not drowned. Against: it is no longer the gradient of the mean reward; nearly hopeless and nearly solved prompts are favoured, where differences are mostly luck.
#
# === BEGIN MARK SCHEME ===
# - **2 points** for part 1. One for the derivation: product rule (or log-derivative) **and** that the remaining term, the mean of the score, is zero. One for: in the loss the mean of the slope is zero, so it does not hold the model back (only noise). "It has the wrong sign" or "it is the same": no point.
# - **2 points** for part 2. One for: while the word is not drawn, the penalty does nothing about it or underestimates the distance (any words for "it is not seen in the sample"). One for: when drawn, the weight is 1 - pi_base/pi, large and without bound, **or** that the mean slope is that of the other divergence KL(pi_base || pi); with the KL that was meant the weight is a log ratio only. Half points are not given.
# - **2 points** for part 3. One for the factor: 5/3, about 1.7, from 1/sqrt(p(1-p)). A factor of 3.3 or 2 alone, taken for the answer: no point. One for a reason on each side: for (same scale of advantages, one step size, hard prompts are heard) and against (not the gradient of the mean reward any more, or: favours very hard and very easy prompts, or: amplifies noise where the spread is small). One side alone: no point.
# === END MARK SCHEME ===

# %% [markdown]
# ## Before you hand in
#
# Restart the kernel and run all cells: every check should print a line that says "right on", and the question in words should hold your words. Then hand in, together: this notebook with its name unchanged, and `brackets.npz`. `course check hw4.ipynb` says what is missing.
