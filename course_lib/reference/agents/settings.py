"""Settings files: a TOML file says which algorithm trains on which environment, and how.

algorithm = "ppo"
env = "Pendulum-v1"
gamma = 0.9

Every further name is a field of the algorithm's configuration; what is left out keeps its default.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from course_lib.training import Config, PPOConfig, ReinforceConfig, TRPOConfig

CONFIGS: dict[str, type[Config]] = {
    "reinforce": ReinforceConfig,
    "trpo": TRPOConfig,
    "ppo": PPOConfig,
}


@dataclass(frozen=True)
class Settings:
    """What one settings file says. algorithm is a key of CONFIGS, env a gymnasium id."""

    algorithm: str
    env: str
    config: Config


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
    try:
        return Settings(algorithm, env, configure(algorithm, table))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def configure(algorithm: str, values: Mapping[str, Any], base: Config | None = None) -> Config:
    """base, or the algorithm's defaults, with other values; a list stands for a tuple.

    Raises ValueError naming the setting that the algorithm does not know or the value it refuses.
    """
    base = base or CONFIGS[algorithm]()
    defaults = {field.name: field.default for field in fields(base)}
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in defaults:
            raise ValueError(
                f"{algorithm} has no setting {name!r}: choose from {', '.join(defaults)}"
            )
        changed[name] = tuple(value) if isinstance(value, list) else value
        if not _same_kind(changed[name], defaults[name]):
            raise ValueError(
                f"{name} must be of the kind of its default {defaults[name]!r}, got {value!r}"
            )
    return replace(base, **changed)


def settings_text(settings: Settings) -> str:
    """The file that read_settings reads as these settings, with every default written out."""
    table = {"algorithm": settings.algorithm, "env": settings.env, **asdict(settings.config)}
    # JSON's strings, numbers, lists and truth values are TOML's too. None is left out.
    return "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items() if v is not None)


def _same_kind(value: Any, default: Any) -> bool:
    """Whether both are truth values, or sequences, or numbers; None stands for a number."""
    for kind in (bool, tuple, str):
        if isinstance(value, kind) or isinstance(default, kind):
            return isinstance(value, kind) and isinstance(default, kind)
    return isinstance(value, int | float)
