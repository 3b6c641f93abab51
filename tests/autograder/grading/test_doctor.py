"""`course doctor`: each protection is tried, holds in the sandbox, and is missed without one."""

import json

from typer.testing import CliRunner

from autograder import cli
from autograder.grading import doctor
from autograder.grading.doctor import ATTACKS, FILTERED, examine_machine
from autograder.grading.sandbox import Sandbox, SandboxError


def test_all_that_grading_needs_holds_here(root, tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    result = CliRunner().invoke(cli.app, ["doctor", "--class", str(tmp_path), "--json"])
    findings = {one["name"]: one for one in json.loads(result.stdout)}
    assert result.exit_code == 0, [one for one in findings.values() if not one["holds"]]
    assert findings.keys() >= {name for name, *_ in ATTACKS}
    assert findings["filter of system calls"]["holds"]


def test_without_a_sandbox_the_attacks_go_through(root):
    with Sandbox(root, confined=False) as sandbox:
        cells = {name: cell for name, cell, *_ in ATTACKS}
        here = cells["no file of staff"].replace("{private!r}", repr([str(root)]))
        assert str(root) in doctor._outcome(sandbox, here)
        assert doctor._outcome(sandbox, cells["no other process"]) == "seen"
        assert doctor._outcome(sandbox, FILTERED) == "allowed"


def test_no_sandbox_is_said_and_fails(root, monkeypatch):
    def missing(*_, **__):
        raise SandboxError("there is no bwrap")

    monkeypatch.setattr(doctor, "Sandbox", missing)
    findings = {one.name: one for one in examine_machine(root, None, workers=10_000)}
    assert not findings["sandbox"].holds
    assert findings["sandbox"].needed
    assert "fewer --workers" in findings["memory"].advice
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "there is no bwrap" in " ".join(result.output.split())


def test_a_missing_library_is_advice_and_no_failure(root, monkeypatch):
    def missing():
        raise ImportError("no libseccomp")

    monkeypatch.setattr("autograder.grading.sandbox.compiled_filter", missing)
    monkeypatch.setattr(doctor, "compiled_filter", missing)
    monkeypatch.setattr(doctor, "ATTACKS", ())
    found = {one.name: one for one in examine_machine(root, None, 1)}["filter of system calls"]
    assert (found.holds, found.needed) == (False, False)
    assert "libseccomp2" in found.advice


def test_free_memory_is_the_control_groups_where_that_is_less(monkeypatch):
    lines = {"meminfo": ["MemAvailable:    4096 kB"], "max": ["3145728"], "current": ["1048576"]}
    monkeypatch.setattr(
        doctor, "_lines", lambda path: lines.get(str(path).rpartition("/")[2].split(".")[-1], [])
    )
    assert doctor.available_memory() == 2 << 20
    lines["max"] = ["max"]
    assert doctor.available_memory() == 4 << 20
