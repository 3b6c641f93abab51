"""hw4: log-probabilities of a completion's tokens, with prompt and padding masked."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.token_log_probs import token_log_probs


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    leaf = torch.tensor(case["logits"], requires_grad=True)
    names = ("logits", "tokens", "prompt_lengths", "lengths")
    inputs = [leaf * 1.0, *(torch.tensor(case[name]) for name in names[1:])]

    def call() -> Any:
        both = function(*inputs)
        if not isinstance(both, tuple | list) or len(both) != 2:
            raise TypeError(
                f"it gave one {type(both).__name__}, and two tensors are asked for: end it with "
                "`return log_probs, mask`"
            )
        return both

    log_probs, mask = call()
    gradient = torch.zeros_like(leaf)
    if isinstance(log_probs, torch.Tensor) and log_probs.requires_grad:
        weights = torch.linspace(0.5, 1.5, log_probs.numel(), dtype=torch.float64)
        total = (weights * log_probs.reshape(-1)).sum()
        (found,) = torch.autograd.grad(total, [leaf], allow_unused=True, retain_graph=True)
        gradient = gradient if found is None else found
    seen = frozen(log_probs)
    kept = all(
        untouched(x, case[name], graph=name == "logits")
        for name, x in zip(names, inputs, strict=True)
    )
    return {
        "log_probs": seen,
        "mask": frozen(torch.as_tensor(mask) * 1.0),
        "gradient": gradient,
        "inputs_unchanged": kept,
        "second_call_agrees": same_again(lambda: call()[0], seen),
    }


def public_cases() -> list[Case]:
    third = float(np.log(3))
    wide = np.array(
        [
            [[0.4, -0.3, 0.9], [1.1, 0.2, -0.8], [-0.5, 0.7, 0.1], [0.3, 0.3, -1.2], [0.8, -1, 0]],
            [[-0.9, 0.6, 0.2], [0.5, -0.4, 1.3], [0.0, 0.9, -0.6], [1.4, -0.2, 0.3], [0.1, 1, 0.4]],
            [[0.7, 0.1, -0.2], [-1.1, 0.8, 0.4], [0.6, -0.7, 1.0], [0.2, 0.5, -0.3], [-1, 0.9, 0]],
        ]
    )
    return [
        {  # two tokens after a prompt of two
            "logits": np.array([[[0.0, 0.5], [0.0, third], [0.2, 0.2], [1.0, 0.0]]]),
            "tokens": np.array([[0, 1, 0, 1]]),
            "prompt_lengths": np.array([2]),
            "lengths": np.array([4]),
        },
        {  # padded with a token that is also said
            "logits": wide,
            "tokens": np.array([[1, 0, 2, 1, 2], [2, 1, 1, 2, 2], [0, 1, 2, 2, 2]]),
            "prompt_lengths": np.array([2, 1, 2]),
            "lengths": np.array([5, 3, 3]),
        },
        {  # every token but the first
            "logits": wide[:2],
            "tokens": np.array([[0, 1, 2, 0, 1], [2, 0, 0, 1, 2]]),
            "prompt_lengths": np.array([1, 1]),
            "lengths": np.array([5, 5]),
        },
        {  # nothing was said to the second prompt
            "logits": wide[:, :4],
            "tokens": np.array([[2, 2, 1, 0], [1, 0, 2, 1], [0, 1, 0, 0]]),
            "prompt_lengths": np.array([1, 3, 2]),
            "lengths": np.array([3, 3, 4]),
        },
    ]


def _all_kept(case: Arrays) -> bool:
    whole = case["lengths"] == case["tokens"].shape[1]
    return bool((whole & (case["prompt_lengths"] == 1)).all())


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for kind, size in enumerate(rng.permutation(np.arange(2, 6))):
        batch, words, steps = int(size), int(rng.integers(3, 6)), int(rng.integers(5, 9))
        prompt_lengths = rng.integers(1, steps - 2, size=batch)
        prompt_lengths[:2] = rng.choice(np.arange(1, steps - 2), size=2, replace=False)
        lengths = prompt_lengths + rng.integers(1, steps - prompt_lengths)  # padding is left
        if kind == 0:
            prompt_lengths, lengths = np.ones(batch, dtype=int), np.full(batch, steps)
        elif kind == 1:
            lengths[-1] = prompt_lengths[-1]
        elif kind == 2:
            lengths[0] = steps
        tokens = rng.integers(words, size=(batch, steps))
        tokens[0, prompt_lengths[0]] = 0  # a word like any other
        cases.append(
            {
                "logits": rng.uniform(-2, 2, size=(batch, steps, words)),
                "tokens": tokens,
                "prompt_lengths": prompt_lengths,
                "lengths": lengths,
            }
        )
    return cases


# Right by other means.


def by_cross_entropy(logits: Tensor, tokens: Tensor, prompts: Tensor, lengths: Tensor) -> Any:
    places = torch.arange(tokens.shape[1]).expand_as(tokens)
    labels = tokens.clone()
    labels[(places < prompts.unsqueeze(1)) | (places >= lengths.unsqueeze(1))] = -100
    labels = labels[:, 1:]
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels, ignore_index=-100, reduction="none"
    )
    return -losses, labels != -100


def one_by_one(logits: Tensor, tokens: Tensor, prompts: Tensor, lengths: Tensor) -> Any:
    rows, kept = [], []
    for b in range(len(tokens)):
        row: list[Any] = []
        for t in range(tokens.shape[1] - 1):
            if int(prompts[b]) <= t + 1 < int(lengths[b]):
                chances = logits[b, t].exp() / logits[b, t].exp().sum()
                row.append(torch.log(chances[tokens[b, t + 1]]))
            else:
                row.append(0.0 * logits[b, t, 0])
        rows.append(torch.stack(row))
        kept.append([int(prompts[b]) <= t < int(lengths[b]) for t in range(1, tokens.shape[1])])
    return torch.stack(rows), torch.tensor(kept)


def with_categorical(logits: Tensor, tokens: Tensor, prompts: Tensor, lengths: Tensor) -> Any:
    policy = torch.distributions.Categorical(logits=logits[:, :-1])
    t = torch.arange(tokens.size(1))[None, 1:]
    mask = ((t >= prompts[:, None]) * (t < lengths[:, None])).to(logits.dtype)
    return policy.log_prob(tokens[:, 1:]) * mask, mask


def by_one_hot(logits: Tensor, tokens: Tensor, prompts: Tensor, lengths: Tensor) -> Any:
    logits = logits.float()
    said = torch.nn.functional.one_hot(tokens, logits.shape[-1]).float()
    scores = logits - logits.logsumexp(-1, keepdim=True)
    log_probs = torch.einsum("btv,btv->bt", scores[:, :-1], said[:, 1:])
    mask = torch.zeros_like(log_probs)
    for b, (start, stop) in enumerate(zip(prompts.tolist(), lengths.tolist(), strict=True)):
        mask[b, start - 1 : stop - 1] = 1
    return log_probs * mask, mask.int()


def the_chosen_logit_less_logsumexp(
    logits: Tensor, tokens: Tensor, prompts: Tensor, lengths: Tensor
) -> list[Tensor]:
    chosen = torch.take_along_dim(logits[:, :-1], tokens[:, 1:, None], dim=2)[:, :, 0]
    log_probs = chosen - torch.logsumexp(logits[:, :-1], dim=2)
    place = torch.cumsum(torch.ones_like(log_probs), dim=1)
    mask = torch.logical_and(place >= prompts.reshape(-1, 1), place < lengths.reshape(-1, 1))
    return [log_probs.masked_fill(~mask, 0.0), mask]


# What students write instead.

slip = partial(slip_of, token_log_probs, see="08_advantages#G6")

CHECK = Check(
    title="Log-probabilities of tokens",
    reference=token_log_probs,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "each token by its own row",
            "Each token is looked up in the row of logits that stands at its own place. That row "
            "was made with the token already read, and says what comes after it.",
            rows="logits[:, 1:]",
        ),
        slip(
            "each row scores the token it has read",
            "Row t of the logits is asked for token t, the one that the model has just read. Which "
            "token does it speak about?",
            said="tokens[:, :-1]",
        ),
        slip(
            "shifted the wrong way",
            "Logits and tokens are shifted against each other in the wrong direction: row t + 1 is "
            "asked for token t, which lies in its past.",
            rows="logits[:, 1:]",
            said="tokens[:, :-1]",
        ),
        slip(
            "logits as they are",
            "The logit of each token is given as it is. It becomes a log-probability once the row "
            "is normalised.",
            scores="rows",
        ),
        slip(
            "probabilities instead of logarithms",
            "These are probabilities. Asked for are their logarithms.",
            scores="torch.softmax(rows, dim=-1)",
        ),
        slip(
            "softmax over the places",
            "The softmax runs over the places of a text. One place is one choice, and its "
            "probabilities sum to 1 over the words.",
            scores="torch.log_softmax(rows, dim=1)",
        ),
        slip(
            "softmax over the batch",
            "The softmax runs over the texts of the batch. One place is one choice, and its "
            "probabilities sum to 1 over the words.",
            scores="torch.log_softmax(rows, dim=0)",
        ),
        slip(
            "log-probability of the likeliest token",
            "At each place the log-probability of the likeliest word is given. Asked for is that "
            "of the word that stands there, likely or not.",
            log_probs="scores.max(dim=-1).values",
        ),
        slip(
            "negative log-likelihood",
            "The signs are those of a loss (cross-entropy is minus the log-probability). A "
            "log-probability is never above 0.",
            log_probs="-scores.gather(-1, said[..., None]).squeeze(-1)",
        ),
        slip(
            "mask one place late",
            "The mask asks whether t lies in the completion, and at place t of the answer stands "
            "token t + 1. So the whole mask lies one place late.",
            places="torch.arange(tokens.shape[1] - 1)",
        ),
        slip(
            "first word of the completion left out",
            "The first word of each completion is masked away. The prompt's tokens are those with "
            "numbers 0 to prompt_lengths - 1: which is the first that the model wrote?",
            after_prompt="places > prompt_lengths[:, None]",
        ),
        slip(
            "last token of the prompt counted",
            "The mask begins one token early and keeps the last one of the prompt. Nobody chose "
            "that one: it was given.",
            after_prompt="places >= prompt_lengths[:, None] - 1",
        ),
        slip(
            "last word of the completion left out",
            "The last word of each completion is masked away. That is often the one that ends the "
            "text, and to stop is a choice as well.",
            before_padding="places < lengths[:, None] - 1",
        ),
        slip(
            "one token of padding counted",
            "The mask keeps one token too many at the end of each text that is padded. A text of "
            "n tokens has them at the numbers 0 to n - 1.",
            before_padding="places <= lengths[:, None]",
        ),
        slip(
            "prompt counted",
            "The tokens of the prompt are kept. They were given, and the policy chose none of "
            "them.",
            see="08_advantages#G1",
            after_prompt="torch.ones_like(said, dtype=torch.bool)",
        ),
        slip(
            "padding counted",
            "What stands after the end of a text is kept. Nobody said those tokens: they only fill "
            "the array.",
            see="08_advantages#G1",
            before_padding="torch.ones_like(said, dtype=torch.bool)",
        ),
        slip(
            "nothing masked",
            "The mask keeps everything, prompts and padding too. Which tokens did the policy "
            "choose?",
            see="08_advantages#G1",
            mask="torch.ones_like(said, dtype=torch.bool)",
        ),
        slip(
            "lengths counted from the end of the prompt",
            "The completion is taken to be `lengths` tokens long. `lengths` counts prompt and "
            "completion together.",
            before_padding="places < (prompt_lengths + lengths)[:, None]",
        ),
        slip(
            "mask the wrong way round",
            "The mask is True on prompt and padding, and False on what was said. Here True means "
            "that a token is kept.",
            see="08_advantages#G1",
            mask="~(after_prompt & before_padding)",
        ),
        slip(
            "mask turned round at the end",
            "The log-probabilities are right, but the mask that comes back is True where a token "
            "is left out. Here True means that it is kept.",
            see="08_advantages#G1",
            answer="kept, ~mask",
        ),
        slip(
            "not set to zero",
            "The mask is right, but the log-probabilities of prompt and padding still stand in the "
            "answer. They are to be 0 there.",
            see="08_advantages#G1",
            kept="log_probs",
        ),
        slip(
            "padding known by the last token",
            "The token at the end of each row is taken for padding, wherever it stands. It may be "
            "said as well, and a row without padding ends in a word of its own: `lengths` tells.",
            see="08_advantages#G1",
            before_padding="said != tokens[:, -1:]",
        ),
        slip(
            "word 0 taken for padding",
            "The word 0 is taken for padding, wherever it stands. It is a word like any other: "
            "`lengths` tells where a text ends.",
            see="08_advantages#G1",
            before_padding="said != 0",
        ),
        slip(
            "first prompt's length for all",
            "The length of the first prompt is used for all of them. Row b has a prompt of "
            "prompt_lengths[b] tokens.",
            after_prompt="(places >= prompt_lengths[0]).expand_as(said)",
        ),
        slip(
            "kept tokens alone",
            "What comes back holds the kept tokens alone, in one row. Which text each belongs to "
            "is lost with that: keep the array, with 0 where nothing counts.",
            see="08_advantages#G1",
            answer="kept[mask], mask",
        ),
        slip(
            "mask with a column too many",
            "The log-probabilities are right, but the mask has a column for each token. The first "
            "token has nothing before it: both are (B, T - 1).",
            answer="kept, torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)",
        ),
        slip(
            "summed over the tokens",
            "The log-probabilities of each text were added up. Asked for is one number for each "
            "token: what comes next weighs them one by one.",
            answer="kept.sum(dim=1), mask",
        ),
        slip(
            "divided by the length",
            "Each text's log-probabilities were divided by the number of tokens that count. How "
            "they are averaged is decided later; here they are asked for as they are.",
            see="08_advantages#G4",
            kept="torch.where(mask, log_probs, 0.0) / mask.sum(dim=1, keepdim=True).clamp(min=1)",
        ),
        slip(
            "one column too many",
            "The answer has a column for each token, with zeros ahead. The first token has nothing "
            "before it, so there are only T - 1 of them.",
            answer="""
                front = torch.zeros_like(kept[:, :1])
                kept = torch.cat([front, kept], dim=1)
                mask = torch.cat([front > 0, mask], dim=1)
                return kept, mask
            """,
        ),
        slip(
            "no gradient",
            "The numbers are right, but no gradient reaches the logits: were they detached, taken "
            "as plain numbers, or worked out under no_grad?",
            kept="torch.where(mask, log_probs, 0.0).detach()",
        ),
    ),
    parts=(
        Property("the mask", observations=("mask",)),
        Property("where all tokens count", cases=_all_kept, observations=("log_probs",)),
        Property(
            "with prompt and padding",
            cases=lambda case: not _all_kept(case),
            observations=("log_probs",),
        ),
        Property("the gradient", observations=("gradient",)),
    ),
    accepted=(
        by_cross_entropy,
        one_by_one,
        with_categorical,
        by_one_hot,
        the_chosen_logit_less_logsumexp,
    ),
)
