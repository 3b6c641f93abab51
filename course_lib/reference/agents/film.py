"""A film of one episode, drawn by the environment and written with imageio-ffmpeg's ffmpeg."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from course_lib.evaluation import evaluate
from course_lib.policies import Policy
from course_lib.rollout import EnvironmentFailed
from course_lib.tensor_envs import MDPS, PREFIX

NAME = "episode-1-episode-0.mp4"  # the name gymnasium's recorder gives
FPS = 30  # where an environment does not say


def record_video(policy: Policy, env_id: str, folder: Path, generator: torch.Generator) -> Path:
    """Film of a whole episode of the most probable actions, written to folder/NAME.

    No screen is needed. An environment made of tensors is filmed as gymnasium's of that name.
    Returns where the film lies; one that lay there is written over.
    Raises ValueError if the environment draws no pictures, or a package that makes films is
    missing.
    """
    if env_id.removeprefix(PREFIX) in MDPS:
        raise ValueError(f"{env_id} cannot be filmed: it draws nothing")
    env_id = env_id.removeprefix(PREFIX)
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    try:
        _check_ffmpeg()
        with gymnasium.make(env_id) as env:
            kinds = env.metadata.get("render_modes", [])
            fps = env.metadata.get("render_fps", FPS)
    except gymnasium.error.Error as error:
        raise ValueError(f"{env_id} cannot be filmed: {error}") from error
    if "rgb_array" not in kinds:
        raise ValueError(f"{env_id} cannot be filmed: it draws {kinds or 'nothing'}")
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    film = film_at(path, fps)
    next(film)

    def filmed(env: gymnasium.Env) -> Filmed:
        return Filmed(env, film)

    options = {"vectorization_mode": "sync", "render_mode": "rgb_array", "wrappers": [filmed]}
    try:
        evaluate(policy, env_id, 1, generator, greedy=True, **options)
    except (EnvironmentFailed, gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"{env_id} cannot be filmed: {error}") from error
    finally:
        film.close()
    return path


class Filmed(gymnasium.Wrapper):
    """An environment that sends its picture to a film after a reset and after every step."""

    def __init__(self, env: gymnasium.Env, film: Generator[None, Any, None]) -> None:
        super().__init__(env)
        self.film = film

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment does."""
        shown = self.env.reset(**options)
        self.film.send(self.env.render())
        return shown

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment does."""
        happened = self.env.step(action)
        self.film.send(self.env.render())
        return happened


def film_at(path: Path, fps: float) -> Generator[None, Any, None]:
    """After a `next`, takes pictures (height, width, 3) of bytes by `send` until it is closed.

    The first gives the size. Where that is odd, the last row or column is shown twice: players
    want an even number of both. No more than one picture is held in memory.
    Raises ValueError if what is sent is no such picture, or of another size than the first, and
    OSError if ffmpeg stops.
    """
    import imageio_ffmpeg

    picture = yield
    first = np.shape(picture)
    height, width, _ = _checked(picture, first).shape
    edge = ((0, height % 2), (0, width % 2), (0, 0))
    size = (width + width % 2, height + height % 2)
    writer = imageio_ffmpeg.write_frames(path, size, fps=fps, macro_block_size=2)
    writer.send(None)
    try:
        while True:
            writer.send(np.pad(_checked(picture, first), edge, mode="edge"))
            picture = yield
    finally:
        writer.close()


def _checked(picture: Any, shape: tuple[int, ...]) -> np.ndarray:
    is_picture = isinstance(picture, np.ndarray) and picture.dtype == np.uint8
    if not is_picture or picture.shape[2:] != (3,) or picture.shape != shape:
        got = f"{picture.dtype} {picture.shape}" if is_picture else type(picture).__name__
        raise ValueError(f"a picture must be (height, width, 3) of bytes, one size all, got {got}")
    return picture


def _check_ffmpeg() -> None:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"a film needs imageio-ffmpeg ({error}): pip install -e '.[train]'"
        ) from error
