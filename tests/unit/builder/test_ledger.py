"""Why a layer must run again, in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bakehouse import layout
from bakehouse.builder import ledger
from bakehouse.builder.plan import Layer


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "STATE", tmp_path)


def layer(
    files: Mapping[str, str] | None = None,
    variables: Mapping[str, Any] | None = None,
    wheels: tuple[str, ...] = (),
) -> Layer:
    return Layer(
        name="docker",
        kind="role",
        files={},
        digests={"tasks/main.yml": "a"} if files is None else files,
        variables=variables or {"docker_release": {"version": "1", "package": "x"}},
        wheels=wheels,
    ).with_key("below")


def test_what_was_never_built_says_so() -> None:
    assert ledger.why("cpu", layer(), "below") == "never built here"
    assert ledger.seconds("cpu", layer()) == 0.0


def test_what_was_built_is_missed_by_the_engine_and_its_time_is_known() -> None:
    ledger.record("cpu", layer(), "below", 7.5)
    assert ledger.why("cpu", layer(), "below") == "the engine no longer has it"
    assert ledger.seconds("cpu", layer()) == 7.5


@pytest.mark.parametrize(
    ("present", "below", "why"),
    [
        (layer(), "another", ledger.BELOW_CHANGED),
        (layer(files={"tasks/main.yml": "b"}), "below", "tasks/main.yml changed"),
        (layer(files={}), "below", "tasks/main.yml is gone"),
        (layer(files={"tasks/main.yml": "a", "new.yml": "c"}), "below", "new.yml is new"),
        (
            layer(variables={"docker_release": {"version": "2", "package": "x"}}),
            "below",
            "variable docker_release version changed from 1 to 2",
        ),
        (
            layer(variables={"docker_release": {"version": "1"}}),
            "below",
            "variable docker_release package is gone",
        ),
        (layer(wheels=("x",)), "below", "the records whose wheels it uses changed"),
    ],
)
def test_each_kind_of_change_is_told(present: Layer, below: str, why: str) -> None:
    ledger.record("cpu", layer(), "below", 1.0)
    assert ledger.why("cpu", present, below) == why


def test_a_spoilt_ledger_costs_only_the_explanation(tmp_path: Path) -> None:
    ledger.record("cpu", layer(), "below", 1.0)
    (tmp_path / "layers" / "cpu" / "docker.json").write_text("{")
    assert ledger.why("cpu", layer(), "below") == "never built here"
