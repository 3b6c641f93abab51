"""The script behind lecture 8's recording changes what it says, and the recording is all of it."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from course_lib import brackets
from course_lib.grpo import GRPOConfig
from course_lib.recorded import recorded

SCRIPT = "grpo_on_brackets"
SMALL = {"questions": 4, "group": 4, "updates": 4}


def first_character(text: str) -> float:
    return float(text[brackets.PROMPT] in brackets.OPENING)


@pytest.fixture
def quick(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    """Trains a variant for four small updates from a model that has learned nothing.

    Such a model closes no bracket, so it is paid for the first character of its answer instead.
    """
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()

    def blank(generator: torch.Generator):
        words, context = len(brackets.WORDS), brackets.PROMPT + brackets.ANSWER
        return brackets.LanguageModel(words, context, generator=generator)

    monkeypatch.setattr(brackets, "sloppy_model", blank)
    monkeypatch.setattr(script, "DRAWS", 1)

    def train(variant: Any) -> dict[str, Any]:
        config = replace(variant.config, **SMALL)
        paid = first_character if variant.reward is brackets.reward else variant.reward
        return script.train(replace(variant, config=config, reward=paid), 0)

    yield train
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


def test_the_course_is_unchanged_and_every_variant_changes_something(
    script: ModuleType, quick: Any
) -> None:
    variants = script.variants()
    assert variants["1 epoch"] == script.Variant(GRPOConfig())
    assert len(set(variants.values())) == len(variants)
    first = {name: quick(variant) for name, variant in variants.items() if "no " not in name}
    for name, run in first.items():
        assert (run == first["1 epoch"]) == (name == "1 epoch"), name


def test_one_epoch_has_no_spent_token_and_eight_have(script: ModuleType, quick: Any) -> None:
    variants = script.variants()
    assert quick(variants["1 epoch"])["spent"] == 0
    assert quick(variants["8 epochs"])["spent"] > 0


def test_updates_are_counted_to_the_first_five_that_are_right(script: ModuleType) -> None:
    assert script.updates_to([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0], 0.9) == 6
    assert script.updates_to([0.5] * 8, 0.9) == 8


def test_the_recording_holds_every_variant(script: ModuleType) -> None:
    data = recorded("grpo_on_brackets")
    assert list(data["runs"]) == list(script.variants())
    for found in data["runs"].values():
        assert len(found) == 6
        for run in found:
            assert len(run["reward"]) == len(run["kl"]) == GRPOConfig().updates
            assert all(0 <= share <= 1 for share in (*run["reward"], run["before"], run["after"]))


@pytest.mark.slow
def test_the_recording_is_what_the_script_gives(script: ModuleType) -> None:
    dtype = torch.get_default_dtype()
    try:
        run = script.train(script.variants()["1 epoch"], 1)
    finally:
        torch.set_default_dtype(dtype)
    wanted = recorded("grpo_on_brackets")["runs"]["1 epoch"][1]
    assert run["reward"][:40] == wanted["reward"][:40]
    assert abs(run["after"] - wanted["after"]) < 0.05
