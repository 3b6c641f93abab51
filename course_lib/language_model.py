"""A language model small enough to train while one watches: a transformer, drawing and imitating.

Axes: N texts side by side, T tokens of a text, P of them the prompt, L the completion, V words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.optimiser import Adam
from course_lib.seeding import check_generator

Memory = tuple[Tensor, Tensor]  # keys and values of the tokens so far, each (N, heads, T, D)


class Words:
    """A vocabulary of single characters; the last one, `end`, ends a text."""

    def __init__(self, characters: str) -> None:
        if len(characters) < 2 or len(set(characters)) < len(characters):
            raise ValueError(
                f"characters must be two or more different ones, the last of them the end of a "
                f"text, got {characters!r}"
            )
        self.characters = characters
        self.end = len(characters) - 1

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts of one length as tokens (N, T).

        Raises ValueError if there is no text, lengths differ or a character is not in the
        vocabulary.
        """
        lengths = sorted({len(text) for text in texts})
        if len(lengths) != 1:
            raise ValueError(
                f"texts must be of one length, got lengths {lengths}: pad or sort them"
            )
        unknown = sorted(set("".join(texts)) - set(self.characters))
        if unknown:
            raise ValueError(f"texts hold {unknown}, and the words are {self.characters!r}")
        return torch.tensor([[self.characters.index(c) for c in text] for text in texts])

    def decode(self, tokens: Tensor) -> list[str]:
        """Tokens (N, T) as texts, each up to its first end, which is shown."""
        end = self.characters[self.end]
        rows = ("".join(self.characters[i] for i in row) for row in tokens.tolist())
        return [row[: row.index(end) + 1] if end in row else row for row in rows]


class LanguageModel(nn.Module):
    """pi(next token | tokens so far): a transformer that looks back and never ahead.

    words: V. context: the longest text in tokens. width: of a token's vector, a multiple of heads.
    The generator draws the first weights, on its own device; parameters are of torch's default
    type.
    """

    def __init__(
        self,
        words: int,
        context: int,
        width: int = 24,
        heads: int = 2,
        layers: int = 1,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.context = context
        self.word = nn.Embedding(words, width)
        self.place = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, words)
        self.to(generator.device)
        for parameter in self.parameters():
            if parameter.ndim == 2:  # the others stay: norms at 1 and 0, and biases are set to 0
                spread = 0.3 if len(parameter) in (words, context) else 1 / math.sqrt(width)
                nn.init.normal_(parameter, 0.0, spread, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, memory: list[Memory] | None = None) -> Tensor:
        """Logits (N, T, V) of what follows each of the tokens (N, T).

        memory: of the tokens before these, a pair for each layer; brought up to date in place. An
        empty list starts one. Without memory the tokens are all there is.
        Raises ValueError if there are more tokens than the context has room for.
        """
        memory = [] if memory is None else memory
        start = memory[0][0].shape[2] if memory else 0
        stop = start + tokens.shape[1]
        if stop > self.context:
            raise ValueError(
                f"a text of {stop} tokens is longer than the model's context of {self.context}"
            )
        x = self.word(tokens) + self.place.weight[start:stop]
        for number, block in enumerate(self.blocks):
            x, kept = block(x, memory[number] if start else None)
            memory[number : number + 1] = [kept]
        return self.out(self.norm(x))


class _Block(nn.Module):
    """Look back (attention), then think (two layers at each place); both are added to the input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_look, self.before_think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.look = nn.Linear(width, 3 * width, bias=False)
        self.gather = nn.Linear(width, width, bias=False)
        self.think = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        texts, new, width = x.shape
        parts = self.look(self.before_look(x)).view(texts, new, 3, self.heads, -1)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # each (N, heads, T, D)
        if memory is not None:
            keys, values = torch.cat([memory[0], keys], 2), torch.cat([memory[1], values], 2)
        scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
        ahead = torch.ones(new, keys.shape[2], dtype=torch.bool, device=x.device)
        scores = scores.masked_fill(ahead.triu(keys.shape[2] - new + 1), -math.inf)
        seen = (scores.softmax(-1) @ values).transpose(1, 2).reshape(texts, new, width)
        x = x + self.gather(seen)
        return x + self.think(self.before_think(x)), (keys, values)


@dataclass(frozen=True, eq=False)
class Completions:
    """Texts that a model has completed.

    tokens: (N, P + L), with `end` in all places after the first end.
    valid: (N, L), whether a token of the completion counts: up to the first end, and that one too.
    log_probs: (N, L), log pi(token | tokens before) when it was drawn; 0 where not valid.
    """

    tokens: Tensor
    valid: Tensor
    log_probs: Tensor


@torch.no_grad()
def complete(
    model: LanguageModel, prompts: Tensor, length: int, end: int, generator: torch.Generator
) -> Completions:
    """Draw a completion of at most `length` tokens for each prompt (N, P), token by token."""
    check_generator(generator, prompts.device)
    memory: list[Memory] = []
    tokens, new = [prompts], prompts
    valid, log_probs = [], []
    going = torch.ones(len(prompts), dtype=torch.bool, device=prompts.device)
    for _ in range(length):
        scores = model(new, memory)[:, -1].log_softmax(-1)  # (N, V)
        drawn = torch.multinomial(scores.exp(), 1, generator=generator)  # (N, 1)
        valid.append(going)
        log_probs.append(scores.gather(1, drawn)[:, 0] * going)
        new = torch.where(going[:, None], drawn, end)
        going = going & (new[:, 0] != end)
        tokens.append(new)
    return Completions(torch.cat(tokens, 1), torch.stack(valid, 1), torch.stack(log_probs, 1))


def read_log_probs(model: LanguageModel, tokens: Tensor, length: int) -> Tensor:
    """log pi(token | tokens before) of the last `length` tokens of each text, all in one pass.

    tokens: (N, T) with T > length. Returns (N, length), with a graph.
    """
    if not 0 < length < tokens.shape[1]:
        raise ValueError(
            f"length must lie between 1 and {tokens.shape[1] - 1}, got {length}: the first token "
            "of a text has nothing before it"
        )
    log_probs = model(tokens[:, :-1])[:, -length:].log_softmax(-1)
    return log_probs.gather(2, tokens[:, -length:, None])[..., 0]


def up_to_the_end(tokens: Tensor, end: int) -> Tensor:
    """Which tokens of texts (N, T) count: those up to the first `end`, and that one too."""
    return ((tokens == end).cumsum(1) - (tokens == end).long()) == 0


def imitate(
    model: LanguageModel,
    texts: Tensor,
    end: int,
    steps: int,
    *,
    learning_rate: float = 5e-3,
    batch: int = 128,
    generator: torch.Generator,
) -> list[float]:
    """Supervised learning: make texts (N, T) more likely, token by token, up to their ends.

    Each step of Adam draws `batch` of them. Returns the loss of each step: mean of -log pi(token |
    tokens before), in nats.
    """
    check_generator(generator, texts.device)
    optimiser = Adam([model], learning_rate)
    counts = up_to_the_end(texts, end)[:, 1:]
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(texts), (batch,), generator=generator, device=texts.device)
        loss = -read_log_probs(model, texts[rows], texts.shape[1] - 1)[counts[rows]].mean()
        optimiser.minimise(loss)
        losses.append(loss.item())
    return losses
