"""The task of the small language model: close the brackets. A program says whether it is right."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from course_lib.language_model import LanguageModel, Words, complete, imitate

OPENING, CLOSING, END = "([{<", ")]}>", "."
WORDS = Words(OPENING + CLOSING + END)
PROMPT, ANSWER = 3, 5  # tokens of a prompt, and of a completion at most


def still_open(text: str) -> str | None:
    """The brackets of a text that are open at its end, or None if one was closed wrongly."""
    stack = ""
    for character in text:
        if character in OPENING:
            stack += character
        elif stack and OPENING.index(stack[-1]) == CLOSING.find(character):
            stack = stack[:-1]
        else:
            return None
    return stack


def reward(text: str) -> float:
    """1 if the text ends, and each bracket in it is closed by its own kind in turn; else 0."""
    return float(text.endswith(END) and still_open(text[:-1]) == "")


def prompts() -> tuple[Tensor, Tensor]:
    """All beginnings of PROMPT brackets, none closed wrongly, with something left to close.

    Returns tokens to learn from (72, 3) and tokens to be tested on (24, 3), in an order of their
    own that is always the same.
    """
    beginnings = ("".join(brackets) for brackets in product(OPENING + CLOSING, repeat=PROMPT))
    tokens = WORDS.encode([text for text in beginnings if still_open(text)])
    tokens = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(5))]
    test = len(tokens) // 4
    return tokens[test:], tokens[:test]


def sloppy_texts(count: int, generator: torch.Generator) -> list[str]:
    """Texts by someone who closes as many brackets as were opened, of whatever kind.

    The first PROMPT brackets open two times in three, later ones one time in ten. Texts are filled
    up with END to PROMPT + ANSWER; longer ones are left out.
    """
    texts: list[str] = []
    while len(texts) < count:
        text, depth = "", 0
        while depth or len(text) < PROMPT:
            chance, kind = torch.rand(2, generator=generator).tolist()
            opens = depth == 0 or chance < (2 / 3 if len(text) < PROMPT else 0.1)
            text += (OPENING if opens else CLOSING)[int(len(OPENING) * kind)]
            depth += 1 if opens else -1
        if len(text) < PROMPT + ANSWER:
            texts.append(text.ljust(PROMPT + ANSWER, END))
    return texts


def sloppy_model(generator: torch.Generator) -> LanguageModel:
    """A model of 5,457 parameters that has learned to write like the author of the sloppy texts."""
    model = LanguageModel(len(WORDS), PROMPT + ANSWER, generator=generator)
    texts = WORDS.encode(sloppy_texts(2000, generator))
    imitate(model, texts, WORDS.end, 120, generator=generator)
    return model


def share_right(
    model: LanguageModel, prompts: Tensor, draws: int, generator: torch.Generator
) -> float:
    """Share of right texts among `draws` completions of each prompt (K, PROMPT)."""
    asked = prompts.repeat_interleave(draws, 0)
    texts = WORDS.decode(complete(model, asked, ANSWER, WORDS.end, generator).tokens)
    return sum(map(reward, texts)) / len(texts)
