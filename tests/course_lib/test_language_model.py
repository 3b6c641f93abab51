"""A transformer that cannot look ahead, whose texts have the probabilities it says they have."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from course_lib.language_model import (
    LanguageModel,
    Words,
    complete,
    imitate,
    read_log_probs,
    up_to_the_end,
)

END = 2


@pytest.fixture(autouse=True)
def float64():
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(layers: int = 2) -> LanguageModel:
    """Words 0, 1 and the end; texts of at most five tokens."""
    return LanguageModel(3, 5, 8, 2, layers, generator=generator())


def tokens(count: int, length: int) -> Tensor:
    return torch.randint(3, (count, length), generator=generator(1))


def test_a_later_token_changes_no_earlier_logit():
    model, texts = small(), tokens(6, 5)
    before = model(texts)
    for place in range(5):
        changed = texts.clone()
        changed[:, place] = (changed[:, place] + 1) % 3
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-13)
        assert ((after[:, place:] - before[:, place:]).abs().amax((1, 2)) > 1e-6).all()


def test_reading_in_pieces_with_a_memory_is_reading_at_once():
    model, texts = small(), tokens(4, 5)
    memory: list[tuple[Tensor, Tensor]] = []
    pieces = [model(piece, memory) for piece in texts.split([2, 1, 2], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(texts), rtol=0, atol=1e-13)
    assert [keys.shape for keys, _ in memory] == [(4, 2, 5, 4)] * 2


def by_hand(model: LanguageModel, text: Tensor) -> Tensor:
    """Logits after the last token of one text (T,), written out with loops."""

    def norm(layer: torch.nn.LayerNorm, x: Tensor) -> Tensor:
        spread = (x.var(unbiased=False) + layer.eps).sqrt()
        return (x - x.mean()) / spread * layer.weight + layer.bias

    x = [model.word.weight[w] + model.place.weight[i] for i, w in enumerate(text.tolist())]
    for block in model.blocks:
        triples = [(block.look.weight @ norm(block.before_look, v)).view(3, 2, 4) for v in x]
        seen = []
        for i, (queries, _, _) in enumerate(triples):
            heads = []
            for head in range(2):
                scores = [queries[head] @ triples[j][1][head] / math.sqrt(4) for j in range(i + 1)]
                weights = torch.stack(scores).softmax(0)
                heads.append(sum(weights[j] * triples[j][2][head] for j in range(i + 1)))
            seen.append(block.gather.weight @ torch.cat(heads))
        x = [v + s for v, s in zip(x, seen, strict=True)]
        x = [v + block.think(norm(block.before_think, v)) for v in x]
    return model.out(norm(model.norm, x[-1]))


def test_logits_are_those_of_attention_written_out_with_loops():
    model = small()
    for text in tokens(3, 4):
        torch.testing.assert_close(model(text[None])[0, -1], by_hand(model, text))


def test_drawn_texts_have_the_log_probs_that_reading_them_gives():
    model = small()
    prompts = tokens(200, 2)
    drawn = complete(model, prompts, 3, END, generator())
    read = read_log_probs(model, drawn.tokens, 3)
    torch.testing.assert_close(drawn.log_probs, read * drawn.valid, rtol=0, atol=1e-13)
    assert torch.equal(drawn.tokens[:, :2], prompts)
    assert drawn.valid[:, 0].all()
    for row, valid in zip(drawn.tokens[:, 2:].tolist(), drawn.valid.tolist(), strict=True):
        length = row.index(END) + 1 if END in row else 3
        assert valid == [place < length for place in range(3)]
        assert set(row[length:]) <= {END}
    assert len(set(map(tuple, drawn.valid.tolist()))) == 3  # ended at once, later, never


def test_texts_are_drawn_as_often_as_their_log_probs_say():
    model = small(1)
    prompt = torch.tensor([[0, 1]])
    texts = torch.tensor([[0, 1, *text] for text in itertools.product(range(3), repeat=2)])
    valid = up_to_the_end(texts[:, 2:], END)
    wanted = (read_log_probs(model, texts, 2) * valid).sum(1).exp()  # of the text up to its end
    whole = {tuple(t.tolist()): p.item() for t, p in zip(texts, wanted, strict=True)}
    drawn = complete(model, prompt.expand(4000, -1), 2, END, generator()).tokens
    assert math.isclose(sum(p for t, p in whole.items() if t[2] != END or t[3] == END), 1)
    for text, p in whole.items():
        if text[2] == END and text[3] != END:
            continue  # nothing is said after the end
        share = (drawn == torch.tensor(text)).all(1).double().mean()
        assert abs(share - p) < 5 * (p * (1 - p) / 4000) ** 0.5


def test_gradient_of_a_text_is_the_finite_difference():
    model = LanguageModel(3, 4, 4, 2, 1, generator=generator())
    texts = tokens(3, 4)

    def total() -> Tensor:
        return read_log_probs(model, texts, 2).sum()

    total().backward()
    for parameter in model.parameters():
        flat = parameter.detach().view(-1)
        for place in range(0, flat.numel(), 5):
            there, step = flat[place].item(), 1e-6
            flat[place] = there + step
            above = total().item()
            flat[place] = there - step
            below = total().item()
            flat[place] = there
            assert parameter.grad is not None
            assert math.isclose(
                parameter.grad.view(-1)[place], (above - below) / (2 * step), abs_tol=1e-7
            )


def test_the_first_end_counts_and_nothing_after_it():
    texts = torch.tensor([[0, 1, 1], [0, END, 1], [END, END, END]])
    wanted = [[True, True, True], [True, True, False], [True, False, False]]
    assert up_to_the_end(texts, END).tolist() == wanted


def test_imitation_finds_the_frequencies_of_its_texts():
    model = small(1)
    texts = torch.tensor([[0, 0, 0, END], [0, 1, END, END], [0, 1, END, END], [0, 1, END, END]])
    losses = imitate(model, texts, END, 200, batch=64, generator=generator())
    chance = read_log_probs(model, torch.tensor([[0, 1, END]]), 2).exp()[0]
    assert abs(chance[0] - 0.75) < 0.05
    assert chance[1] > 0.95
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    tokens_each = 0.25 * 3 + 0.75 * 2  # what is after the end counts for nothing
    assert abs(sum(losses[-20:]) / 20 - entropy / tokens_each) < 0.05
    assert losses[0] > 0.6


def test_words_there_and_back_up_to_the_end():
    words = Words("ab.")
    assert (len(words), words.end) == (3, 2)
    assert words.encode(["ab", "b."]).tolist() == [[0, 1], [1, 2]]
    assert words.decode(torch.tensor([[0, 2, 1, 2], [0, 1, 1, 0]])) == ["a.", "abba"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Words("aa."), "two or more different"),
        (lambda: Words("ab.").encode(["ab", "a"]), "of one length"),
        (lambda: Words("ab.").encode([]), "of one length"),
        (lambda: Words("ab.").encode(["ax"]), r"hold \['x'\]"),
        (lambda: LanguageModel(3, 5, 9, 2, generator=generator()), "multiple of heads"),
        (lambda: small()(tokens(1, 6)), "longer than the model's context of 5"),
        (lambda: complete(small(), tokens(1, 3), 4, END, generator()), "context of 5"),
        (lambda: read_log_probs(small(), tokens(1, 3), 3), "between 1 and 2"),
    ],
)
def test_errors_say_what_came_and_what_was_wanted(call, message):
    with pytest.raises(ValueError, match=message):
        call()
