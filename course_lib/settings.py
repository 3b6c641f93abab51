"""Settings files: a TOML file says which algorithm trains on which environment, and how.

algorithm = "ppo"
env = "Pendulum-v1"
gamma = 0.9

Every further name is a field of the algorithm's configuration; what is left out keeps its default.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from course_lib.training import PPOConfig, ReinforceConfig, TRPOConfig

CONFIGS: dict[str, type[ReinforceConfig] | type[TRPOConfig] | type[PPOConfig]] = {
    "reinforce": ReinforceConfig,
    "trpo": TRPOConfig,
    "ppo": PPOConfig,
}


@dataclass(frozen=True)
class Settings:
    """What one settings file says. algorithm is a key of CONFIGS, env a gymnasium id."""

    algorithm: str
    env: str
    config: ReinforceConfig | TRPOConfig | PPOConfig


def read_settings(path: Path) -> Settings:
    """Settings from a TOML file.

    Raises ValueError naming the file if it cannot be read, misses algorithm or env, or holds a
    name or a value that the algorithm's configuration does not know.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    algorithm, env = table.pop("algorithm", None), table.pop("env", None)
    if not isinstance(algorithm, str) or algorithm not in CONFIGS:
        raise ValueError(
            f"{path}: algorithm must be one of {', '.join(CONFIGS)}, got {algorithm!r}"
        )
    if not isinstance(env, str):
        raise ValueError(f'{path}: env must be an environment\'s id, such as "CartPole-v1"')
    config = CONFIGS[algorithm]
    defaults = {field.name: field.default for field in fields(config)}
    for name, value in table.items():
        if name not in defaults:
            raise ValueError(
                f"{path}: {algorithm} has no setting {name!r}: choose from {', '.join(defaults)}"
            )
        if isinstance(value, list):
            table[name] = value = tuple(value)
        if not _same_kind(value, defaults[name]):
            raise ValueError(
                f"{path}: {name} must be of the kind of its default {defaults[name]!r}, "
                f"got {value!r}"
            )
    try:
        return Settings(algorithm, env, config(**table))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _same_kind(value: Any, default: Any) -> bool:
    """Whether both are truth values, or sequences, or numbers; None stands for a number."""
    for kind in (bool, tuple, str):
        if isinstance(value, kind) or isinstance(default, kind):
            return isinstance(value, kind) and isinstance(default, kind)
    return isinstance(value, int | float)
