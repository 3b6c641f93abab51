"""Settings files give the configuration they write down, or a sentence that says what is wrong."""

import re
from dataclasses import replace

import pytest

from course_lib.reference.agents.settings import (
    CONFIGS,
    Settings,
    configure,
    read_settings,
    settings_text,
)
from course_lib.training import PPOConfig, TRPOConfig


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "some.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_sets_what_it_names_and_leaves_the_rest(written):
    text = (
        'algorithm = "ppo"\nenv = "Pendulum-v1"\n'
        "gamma = 0.9\nhidden = [32, 16]\nscale_rewards = true\nstop_return = -180\n"
    )
    settings = read_settings(written(text))
    assert (settings.algorithm, settings.env) == ("ppo", "Pendulum-v1")
    assert settings.config == replace(
        PPOConfig(), gamma=0.9, hidden=(32, 16), scale_rewards=True, stop_return=-180
    )


def test_every_algorithm_may_be_named_alone(written):
    for algorithm, config in CONFIGS.items():
        text = f'algorithm = "{algorithm}"\nenv = "CartPole-v1"\n'
        assert read_settings(written(text)).config == config()
    assert CONFIGS["trpo"] is TRPOConfig


WRONG = {
    "algorithm = ": "is no TOML file",
    'env = "CartPole-v1"': "algorithm must be one of reinforce, trpo, ppo, got None",
    'algorithm = ["ppo"]\nenv = "CartPole-v1"': "algorithm must be one of",
    'algorithm = "ppo"': "env must be an environment's id",
    'algorithm = "ppo"\nenv = "A"\ndelta = 0.1': "ppo has no setting 'delta'",
    'algorithm = "ppo"\nenv = "A"\ngamma = "0.9"': "gamma must be of the kind",
    'algorithm = "ppo"\nenv = "A"\nscale_rewards = 1': "scale_rewards must be of the kind",
    'algorithm = "ppo"\nenv = "A"\nepochs = true': "epochs must be of the kind",
    'algorithm = "ppo"\nenv = "A"\nhidden = 64': "hidden must be of the kind",
    'algorithm = "ppo"\nenv = "A"\ngamma = 1.5': "gamma",
    'algorithm = "ppo"\nenv = "A"\nepochs = 2.5': "epochs must be a whole number",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_the_file(written, text):
    path = written(text)
    with pytest.raises(ValueError, match=re.escape(WRONG[text])) as caught:
        read_settings(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=re.escape("no.toml cannot be read: No such file")):
        read_settings(tmp_path / "no.toml")


def test_settings_written_down_are_read_back(written):
    for algorithm, kind in CONFIGS.items():
        config = replace(kind(), learning_rate=3e-5) if algorithm == "ppo" else kind()
        settings = Settings(algorithm, "module:Some-v0", replace(config, hidden=(3, 5)))
        assert read_settings(written(settings_text(settings))) == settings


def test_one_setting_is_changed_and_the_rest_stays():
    base = PPOConfig(gamma=0.5)
    assert configure("ppo", {"lam": 0.25}, base) == replace(base, lam=0.25)
    assert configure("trpo", {}) == TRPOConfig()
    with pytest.raises(ValueError, match="ppo has no setting 'lamda': choose from envs, "):
        configure("ppo", {"lamda": 0.25}, base)
