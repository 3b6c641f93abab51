"""A film shows every state of one episode, at the environment's own pace."""

import sys
from itertools import pairwise

import gymnasium
import numpy as np
import pytest

from course_lib.evaluation import evaluate
from course_lib.policies import policy_for
from course_lib.reference.agents.film import film_at, record_video
from course_lib.rollout import make_envs
from course_lib.seeding import new_generator

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


class Draws(gymnasium.Env):
    """Six steps; the picture, of an odd size, is as bright as the steps are many."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 7}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 1.0, self.steps == 6, False, {}

    def render(self):
        picture = np.zeros((33, 47, 3), np.uint8)
        picture[:, 24:] = 40 * self.steps
        return picture


class Blind(Draws):
    """Draws nothing."""

    metadata = {"render_modes": []}  # noqa: RUF012


class Grows(Draws):
    """Its picture changes its size."""

    def render(self):
        return super().render()[: 20 + self.steps]


@pytest.fixture(autouse=True)
def registered():
    kinds = {"Draws-v0": Draws, "Blind-v0": Blind, "Grows-v0": Grows}
    for env_id, kind in kinds.items():
        gymnasium.register(env_id, kind)
    yield
    for env_id in kinds:
        del gymnasium.registry[env_id]


def policy_on(env_id):
    return policy_for(make_envs(env_id, 1), (3,), generator=new_generator(0))


def read(film):
    """Frames (T, height, width, 3) and frames a second."""
    frames = imageio_ffmpeg.read_frames(str(film))
    about = next(frames)
    width, height = about["source_size"]
    pictures = [np.frombuffer(each, np.uint8).reshape(height, width, 3) for each in frames]
    return np.stack(pictures), about["fps"]


def test_the_pictures_are_those_that_the_environment_draws(tmp_path):
    film = record_video(policy_on("Draws-v0"), "Draws-v0", tmp_path / "new", new_generator(1))
    assert [*film.parent.iterdir()] == [film]
    assert film.name == "episode-1-episode-0.mp4"
    pictures, fps = read(film)
    assert pictures.shape == (7, 34, 48, 3)  # a reset and six steps; sizes are even
    assert fps == 7
    dark, bright = pictures[:, :, :20], pictures[:, :, 28:]
    brightness = 40.0 * np.arange(7)
    assert np.abs(bright - brightness[:, None, None, None]).max() < 10
    assert dark.max() < 10


@pytest.mark.parametrize("env_id", ["CartPole-v1", "tensor/CartPole-v1"])
def test_a_film_has_as_many_pictures_as_the_episode_has_states(tmp_path, env_id):
    policy = policy_on("CartPole-v1")
    film = record_video(policy, env_id, tmp_path, new_generator(1))
    pictures, fps = read(film)
    options = {"greedy": True, "vectorization_mode": "sync"}
    length = evaluate(policy, "CartPole-v1", 1, new_generator(1), **options)
    assert pictures.shape == (length + 1, 400, 600, 3)
    assert fps == 50
    # White but for the track, the cart and the pole, and no picture is the one before.
    assert 0.8 < (pictures > 240).mean() < 0.99
    assert all((a != b).any() for a, b in pairwise(pictures))


def test_a_second_film_takes_the_place_of_the_first(tmp_path):
    record_video(policy_on("CartPole-v1"), "CartPole-v1", tmp_path, new_generator(1))
    film = record_video(policy_on("Draws-v0"), "Draws-v0", tmp_path, new_generator(1))
    assert [*tmp_path.iterdir()] == [film]
    assert len(read(film)[0]) == 7


@pytest.mark.parametrize(
    ("env_id", "why"),
    [
        ("Blind-v0", "Blind-v0 cannot be filmed: it draws nothing"),
        ("NoSuch-v0", "NoSuch-v0 cannot be filmed: .*NoSuch"),
        ("tensor/combination_lock", "tensor/combination_lock cannot be filmed: it draws nothing"),
        ("Grows-v0", r"Grows-v0 cannot be filmed: .*one size all, got uint8 \(21, 47, 3\)"),
    ],
)
def test_what_cannot_be_filmed_is_said(tmp_path, env_id, why):
    with pytest.raises(ValueError, match=why):
        record_video(policy_on("Draws-v0"), env_id, tmp_path, new_generator(1))


@pytest.mark.parametrize("nothing", [None, [np.zeros((4, 4, 3))], np.zeros((4, 4), np.uint8)])
def test_what_is_no_picture_is_refused(tmp_path, nothing):
    film = film_at(tmp_path / "film.mp4", 30)
    next(film)
    with pytest.raises(ValueError, match="a picture must be"):
        film.send(nothing)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ValueError, match=r"a film needs imageio-ffmpeg .*pip install -e '.\[train"):
        record_video(policy_on("Draws-v0"), "Draws-v0", tmp_path, new_generator(1))
