import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script(request: pytest.FixtureRequest) -> ModuleType:
    """The script of benchmarks/ that the test file names in SCRIPT."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in (BENCHMARKS / "recordings", BENCHMARKS):  # as when it runs
            patch.syspath_prepend(folder)
        return importlib.import_module(request.module.SCRIPT)
