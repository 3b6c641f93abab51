"""benchmarks/devices.py: its sentence on made-up rows, its CUDA column on the stand-in."""

import json
import sys

import pytest
from stand_in import stand_in

SCRIPT = "devices"
ARRAYS, TENSORS, CUDA = "arrays", "tensors, CPU", "tensors, CUDA"


def rows_of(**columns):
    """A row for N = 8, 16, ...; None where a way was not measured."""
    names = {"arrays": ARRAYS, "tensors": TENSORS, "cuda": CUDA}
    count = len(next(iter(columns.values())))
    return [
        {"envs": 8 * 2**k} | {names[w]: c[k] for w, c in columns.items() if c[k] is not None}
        for k in range(count)
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"arrays": [9, 9, 9, 9], "tensors": [1, 2, 4, 8], "cuda": [1, 5, 10, 20]}, "at N = 32"),
        # Faster once and slower again does not count, nor does a draw.
        ({"arrays": [9, 9, 9, 9], "tensors": [1, 2, 4, 8], "cuda": [10, 9, 10, 20]}, "at N = 32"),
        # The better of the CPU's two ways, of those that were measured.
        ({"arrays": [9, 9, None, None], "tensors": [1, 2, 4, 8], "cuda": [1, 2, 5, 9]}, "N = 32"),
        ({"arrays": [1, 2, 3, 4], "tensors": [2, 4, 8, 16], "cuda": [3, 5, 9, 17]}, "at N = 8"),
        (
            {"arrays": [1, 2, 3, 4], "tensors": [2, 4, 8, 16], "cuda": [3, 5, 9, 15]},
            "CUDA does not overtake the CPU up to N = 64",
        ),
    ],
)
def test_cuda_overtakes_where_it_is_faster_from_there_on(script, columns, words):
    said = script.verdict("CartPole-v1", rows_of(**columns))
    assert said.startswith("CartPole-v1: CUDA")
    assert words in said


def test_without_cuda_nothing_is_said_of_it(script):
    rows = rows_of(arrays=[9, 9, None], tensors=[1, 10, 4])
    said = script.verdict("Pendulum-v1", rows)
    assert "no CUDA device here" in said
    assert said.endswith("On the CPU, tensors overtake arrays at N = 16.")
    rows = rows_of(arrays=[9, 12, None], tensors=[1, 10, 40])
    assert script.verdict("Pendulum-v1", rows).endswith("tensors overtake arrays at no N up to 16.")


def test_each_way_is_measured_on_its_device(script):
    with stand_in():
        for name in script.ENVS:
            assert script.steps_a_second(CUDA, name, 1024, 1) > 0
        (row,) = script.measure("CartPole-v1", [1024], 1)
    assert list(row) == ["envs", ARRAYS, TENSORS, CUDA]
    (row,) = script.measure("combination_lock", [1024], 1)
    assert list(row) == ["envs", TENSORS]


def test_table_sentence_and_json_have_the_column(script, tmp_path, monkeypatch, capsys):
    speeds = {ARRAYS: lambda n: 3000, TENSORS: lambda n: 100 * n, CUDA: lambda n: 10 * n * n}
    file = tmp_path / "devices.json"
    monkeypatch.setattr(script, "steps_a_second", lambda way, name, n, rounds: speeds[way](n))
    monkeypatch.setattr(sys, "argv", ["devices.py", "--largest", "32", "--json", str(file)])
    with stand_in():
        script.main()
    printed = capsys.readouterr().out
    assert "tensors, CUDA" in printed
    assert "10,240" in printed
    assert "CartPole-v1: CUDA overtakes the CPU at N = 32." in printed
    assert "combination_lock: CUDA overtakes the CPU at N = 16." in printed
    found = json.loads(file.read_text())
    assert found["machine"]["gpu"] == "a stand-in"
    assert [row["envs"] for row in found["Pendulum-v1"]["rows"]] == [8, 16, 32]
    assert [row[CUDA] for row in found["Pendulum-v1"]["rows"]] == [640, 2560, 10240]
