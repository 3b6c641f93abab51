"""hw4: a trained language model handed in as a file, and how many texts it completes rightly.

Log-probabilities come out of the student's process; the words are drawn from them outside it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.recipes import handed_in
from autograder.student.wire import Arrays, frozen, same_again
from course_lib.agents import Weights
from course_lib.brackets import ANSWER, CLOSING, END, PROMPT, WORDS, prompts, still_open
from course_lib.language_model import LanguageModel
from course_lib.reference.answers.bracket_model import bracket_model


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    def drawn(log_probs: Any, uniforms: Any) -> Any:
        """The word whose piece of the line from 0 to 1 holds each number."""
        ends = np.exp(log_probs).cumsum(axis=1)
        last = log_probs.shape[1] - 1
        return np.minimum((ends <= uniforms[:, None] * ends[:, -1:]).sum(axis=1), last)

    weights = handed_in("brackets.npz")
    given = {name: tensor.clone() for name, tensor in weights.items()}
    asked = torch.tensor(case["prompts"])
    tokens, said = asked.clone(), []
    for uniforms in case["uniforms"].T:
        came = frozen(function(given, tokens.clone()))
        if came.shape != (len(tokens), 9):
            raise ValueError(
                f"for {tuple(tokens.shape)} tokens there must come (N, V) = ({len(tokens)}, 9) "
                f"log-probabilities, of the word after the last place alone, got {came.shape}"
            )
        said.append(came)
        words = torch.tensor(drawn(said[-1], uniforms))
        tokens = torch.cat([tokens, words[:, None]], dim=1)
    shown = asked.clone()
    again = same_again(lambda: function(given, shown), said[0])
    # Numbers of another model: the same ones in another order.
    other = {name: t.flatten().flip(0).view_as(t) for name, t in weights.items()}
    elsewhere = {"first": asked.clone(), "last": asked.clone()}
    elsewhere["first"][:, 0] = (asked[:, 0] + 1) % 4
    elsewhere["last"][:, -1] = (asked[:, -1] + 1) % 4
    return {
        "log_probs": np.stack(said, axis=1),
        "by_other_weights": frozen(function(other, asked.clone())),
        "with_another_first": frozen(function(given, elsewhere["first"])),
        "with_another_last": frozen(function(given, elsewhere["last"])),
        "weights_unchanged": all(torch.equal(given[name], weights[name]) for name in weights),
        "tokens_unchanged": torch.equal(shown, asked),
        "second_call_agrees": again,
    }


def measure(case: Arrays, observations: Arrays) -> dict[str, Any]:
    from course_lib.brackets import WORDS, reward

    log_probs, other = observations["log_probs"], observations["by_other_weights"]
    if log_probs.shape != (*case["uniforms"].shape, len(WORDS)):
        raise ValueError(f"log-probabilities came with the shape {log_probs.shape}")
    tokens = case["prompts"]
    for step, uniforms in enumerate(case["uniforms"].T):
        ends = np.exp(log_probs[:, step]).cumsum(axis=1)
        drawn = (ends <= uniforms[:, None] * ends[:, -1:]).sum(axis=1)
        tokens = np.column_stack([tokens, np.minimum(drawn, len(WORDS) - 1)])
    share = np.mean([reward(text) for text in WORDS.decode(torch.tensor(tokens))])
    first = log_probs[:, 0]
    counts: dict[str, Any] = {f"share_of_{p}": int(share >= p / 100 - 0.05) for p in (40, 60, 80)}
    counts["mean_return"] = float(share)
    counts["sum_to_one"] = int(np.allclose(np.exp(log_probs).sum(axis=2), 1, atol=1e-4))
    counts["leaves_a_choice"] = int(np.exp(other).max(axis=1).min() < 0.999)
    counts["file_is_used"] = int(not np.allclose(first, other, rtol=0, atol=1e-9))
    for place in ("first", "last"):
        changed = observations[f"with_another_{place}"]
        counts[f"sees_the_{place}_word"] = int(not np.allclose(first, changed, rtol=0, atol=1e-9))
    return counts | {name: kept for name, kept in observations.items() if kept.dtype == bool}


# Prompts that no training needs to have seen, and what words are drawn by.


def _asked(rng: np.random.Generator, draws: int) -> Case:
    held_out = prompts()[1].repeat_interleave(draws, 0).numpy()
    return {"prompts": held_out, "uniforms": rng.random((len(held_out), ANSWER))}


def public_cases() -> list[Case]:
    return [_asked(np.random.default_rng(3), 10)]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    return [_asked(rng, 10)]


# Other right ways.


def _model() -> LanguageModel:
    return LanguageModel(len(WORDS), PROMPT + ANSWER, generator=torch.Generator())


def without_a_copy(weights: Weights, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        logits = functional_call(_model(), weights, (tokens,))
    return logits[:, -1].log_softmax(-1)


def by_logsumexp(weights: Weights, tokens: Tensor) -> Tensor:
    model = _model()
    model.load_state_dict(weights)
    scores = model.eval()(tokens)[..., -1, :]
    return scores - torch.logsumexp(scores, dim=1, keepdim=True)


def text_by_text(weights: Weights, tokens: Tensor) -> Tensor:
    model = _model()
    model.load_state_dict(weights)
    with torch.inference_mode():
        rows = [model(some)[:, -1].softmax(-1).log() for some in tokens.split(50)]
    return torch.cat(rows).clone()


def by_categorical(weights: Weights, tokens: Tensor) -> Tensor:
    model = _model()
    model.load_state_dict({name: each.clone() for name, each in weights.items()})
    return torch.distributions.Categorical(logits=model(tokens)[:, -1]).logits.detach()


# What students hand in instead.


def worse(log_probs: Tensor, share: float) -> Tensor:
    """The right ones, but any word for a share of the texts."""
    guesses = torch.arange(len(log_probs)) % 50 < 50 * share
    anything = torch.full_like(log_probs, 1 / len(WORDS)).log()
    # Hardly a word of these depends on the text, and yet a little, as in an untrained model.
    return torch.where(guesses[:, None], (anything + 1e-3 * log_probs).log_softmax(-1), log_probs)


def hardly_learned(weights: Weights, tokens: Tensor) -> Tensor:
    return worse(bracket_model(weights, tokens), 0.9)


def learned_a_little(weights: Weights, tokens: Tensor) -> Tensor:
    return worse(bracket_model(weights, tokens), 0.48)


def nearly_learned(weights: Weights, tokens: Tensor) -> Tensor:
    return worse(bracket_model(weights, tokens), 0.28)


def not_loaded(weights: Weights, tokens: Tensor) -> Tensor:
    model = LanguageModel(len(WORDS), PROMPT + ANSWER, generator=torch.Generator().manual_seed(0))
    return model(tokens)[:, -1].log_softmax(-1).detach()


def by_a_program(weights: Weights, tokens: Tensor) -> Tensor:
    rows = torch.full((len(tokens), len(WORDS)), 1e-9)
    for row, text in zip(rows, WORDS.decode(tokens), strict=True):
        stack = still_open(text.rstrip(END)) or ""
        word = CLOSING["([{<".index(stack[-1])] if stack and END not in text else END
        row[WORDS.characters.index(word)] = 1.0
    return (rows / rows.sum(1, keepdim=True)).log()


slip = partial(slip_of, bracket_model, see="08_advantages#G5")

CHECK = Check(
    title="Your model closes brackets",
    reference=bracket_model,
    recipe=recipe,
    measure=measure,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "less than 40 % right",
            "It completes less than 40 % of the texts rightly, no better than the model that you "
            "began with: are these the weights after training?",
            function=hardly_learned,
        ),
        slip(
            "40 to 60 % right",
            "It has learned something: between 40 and 60 % of the texts are right. Train it "
            "longer, and print the mean reward of each tenth update to see where it stands.",
            function=learned_a_little,
        ),
        slip(
            "60 to 80 % right",
            "It completes between 60 and 80 % of the texts rightly. Train it a little longer.",
            function=nearly_learned,
        ),
        slip(
            "the weights are not put in",
            "It says the same whatever numbers stand in the file, and next to nothing it writes is "
            "right: that is a model as it is made. Put the trained weights into it.",
            function=not_loaded,
        ),
        slip(
            "the file is not used",
            "It says the same whatever numbers stand in the file. The probabilities are to come "
            "from the weights that were trained.",
            function=by_a_program,
        ),
        slip(
            "the softmax goes over the texts",
            "The exponentials of a column sum to 1, those of a row do not: the softmax goes over "
            "the texts. The words of one text are what is chosen between.",
            log_probs="logits.log_softmax(dim=0)",
        ),
        slip(
            "probabilities without the logarithm",
            "These are probabilities. Their logarithms are asked for.",
            log_probs="logits.softmax(dim=-1)",
        ),
        slip(
            "scores without the softmax",
            "These are the scores that come out of the network, and their exponentials do not sum "
            "to 1. Log-softmax makes log-probabilities of them.",
            log_probs="logits",
        ),
        slip(
            "what follows the word before",
            "It says what follows the last word but one, so the last word has no say. The row of "
            "the last place is what comes next.",
            logits="model(tokens)[:, -2]",
        ),
        slip(
            "only the last word is read",
            "The model is shown the last word alone, so the beginning of the text has no say. "
            "Which bracket is to be closed stands there.",
            logits="model(tokens[:, -1:])[:, -1]",
        ),
        slip(
            "the likeliest word for certain",
            "It gives one word all the probability and the others none. The model's own "
            "probabilities are asked for; the words are drawn from them.",
            answer="(answer == answer.amax(-1, keepdim=True)).double().clamp(1e-12).log()",
        ),
        slip(
            "draws something",
            "The same texts get other probabilities when it is asked again: it draws something. A "
            "trained model says the same of the same text.",
            answer="(answer + 0.01 * torch.randn_like(answer)).log_softmax(-1)",
        ),
        slip(
            "changes the weights",
            "It works well, but it writes into the weights that it was given. Work on a copy of "
            "them.",
            before='weights["out.bias"].add_(1.0)',
        ),
        slip(
            "changes the tokens",
            "It works well, but it writes into the tokens that it was given. Work on a copy of "
            "them.",
            answer="answer = answer\ntokens[:, 0] = 0",
        ),
    ),
    parts=(
        Property("log-probabilities", 1, observations=("sum_to_one", "leaves_a_choice")),
        Property(
            "the whole text is read", 1, observations=("sees_the_first_word", "sees_the_last_word")
        ),
        Property("40 % right", 1, observations=("share_of_40", "file_is_used")),
        Property("60 % right", 2, observations=("share_of_60", "file_is_used")),
        Property("80 % right", 2, observations=("share_of_80", "file_is_used")),
    ),
    accepted=(without_a_copy, by_logsumexp, text_by_text, by_categorical),
)
