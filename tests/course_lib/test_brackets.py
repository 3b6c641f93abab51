"""The program that pays, against brackets taken away pair by pair; texts and first model."""

import itertools

import pytest
import torch

from course_lib import brackets
from course_lib.brackets import PROMPT, WORDS, reward


def pairs_away(text: str) -> str:
    """What is left of a text when pairs that touch are taken out as long as there are any."""
    while True:
        less = text
        for pair in ("()", "[]", "{}", "<>"):
            less = less.replace(pair, "")
        if less == text:
            return text
        text = less


def test_a_text_is_paid_if_nothing_is_left_but_the_end():
    paid = 0
    for length in range(5):
        for text in map("".join, itertools.product("([)].", repeat=length)):
            wanted = text.endswith(".") and pairs_away(text[:-1]) == ""
            assert reward(text) == float(wanted)
            paid += int(reward(text))
    assert paid == 3  # the end alone, (). and [].


@pytest.mark.parametrize("text", ["([{<>}]).", "()[]{}<>.", "<[<>]>."])
def test_nested_and_side_by_side_are_right(text: str):
    assert reward(text) == 1


@pytest.mark.parametrize("text", ["([)].", "(].", "(()).)", "())", "((", ").(", "()..", ".()."])
def test_crossed_open_endless_and_overlong_are_wrong(text: str):
    assert reward(text) == 0


def test_prompts_are_all_beginnings_that_can_be_closed_and_need_it():
    learn, test = brackets.prompts()
    texts = WORDS.decode(torch.cat([learn, test]))
    assert len(texts) == len(set(texts)) == 4**3 + 2 * 4**2
    for text in texts:
        left = pairs_away(text)
        assert left
        assert not set(left) & set(brackets.CLOSING)
    assert (len(learn), len(test)) == (72, 24)
    assert torch.equal(brackets.prompts()[1], test)


def test_the_sloppy_author_counts_and_knows_no_kinds():
    texts = brackets.sloppy_texts(3000, torch.Generator().manual_seed(0))
    assert {len(text) for text in texts} == {PROMPT + brackets.ANSWER}
    blind = str.maketrans("([{<)]}>", "(((())))")
    assert all(pairs_away(text.rstrip(".").translate(blind)) == "" for text in texts)
    right = sum(reward(text.rstrip(".") + ".") for text in texts) / len(texts)
    # At least two pairs, a right one in four each; the longer the text, the rarer.
    assert 0.01 < right < 1 / 16
    assert {c for text in texts for c in text} == set(WORDS.characters)


def test_the_sloppy_model_writes_like_the_author():
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = brackets.sloppy_model(torch.Generator().manual_seed(0))
        learn, test = brackets.prompts()
        share = brackets.share_right(
            model, torch.cat([learn, test]), 20, torch.Generator().manual_seed(1)
        )
    finally:
        torch.set_default_dtype(dtype)
    assert sum(parameter.numel() for parameter in model.parameters()) == 5457
    # 32 prompts with one bracket open, 64 with three: (32 / 4 + 64 / 64) / 96 if it never errs.
    assert 0.04 < share < 9 / 96 + 0.03
