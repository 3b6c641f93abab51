"""Importing does nothing and costs little, and nothing handed out imports the answers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "course_lib"
HANDED_OUT = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
LIGHT = sorted(set(HANDED_OUT) - {"sliders"})


def loaded_after(statement):
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stderr == ""
    return set(answer.stdout.split())


def test_the_package_itself_loads_nothing_heavy():
    assert not loaded_after("import course_lib") & {"torch", "numpy", "gymnasium", "matplotlib"}


def test_the_subject_loads_no_environment_and_no_plotting_library_on_import():
    statement = "\n".join(f"import course_lib.{name}" for name in LIGHT)
    loaded = loaded_after(statement)
    assert "torch" in loaded
    assert not loaded & {"gymnasium", "matplotlib", "pygame"}


def test_training_loads_nothing_that_torch_has_not_loaded():
    names = ["optimiser", "policies", "rollout", "tensor_envs", "training"]
    names.append("reference.agents.scaling")
    alone = loaded_after("import torch")
    loaded = loaded_after("import torch\n" + "\n".join(f"import course_lib.{n}" for n in names))
    more = {name for name in loaded - alone if not name.startswith("course_lib")}
    assert not more


def test_importing_seeds_nothing():
    statement = (
        "import torch\ntorch.manual_seed(3)\nbefore = torch.get_rng_state()\n"
        + "\n".join(f"import course_lib.{name}" for name in HANDED_OUT)
        + "\nassert torch.equal(before, torch.get_rng_state())"
    )
    assert "course_lib.training" in loaded_after(statement)


@pytest.mark.parametrize("name", HANDED_OUT)
def test_what_is_handed_out_does_not_import_the_answers(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {
        text
        for node in ast.walk(tree)
        for text in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [f"{node.module}.{alias.name}" for alias in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported
    assert not any("reference" in text or text.startswith("autograder") for text in imported)
