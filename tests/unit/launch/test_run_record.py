"""run.json and the folder that it lies in."""

import json
from pathlib import Path

import pytest

from bakehouse import layout
from bakehouse.errors import HostError, InputError, RunError
from bakehouse.launch.environment import Setting
from bakehouse.launch.run_record import (
    Attempt,
    Killed,
    RunRecord,
    begin,
    claimed,
    refuse_foreign,
)


@pytest.fixture
def record() -> RunRecord:
    return RunRecord(
        case="cpu-ddp",
        configuration="digits-cnn",
        image="bakehouse/cpu-ddp:latest",
        image_id="sha256:0",
        started="2026-01-01T00:00:00+00:00",
        nodes=2,
        processes_per_node=2,
        environment=[Setting(variable="OMP_NUM_THREADS", value="1", reason="because")],
        expected={"accuracy": 0.95},
        attempts=[
            Attempt(
                attempt=1,
                started="2026-01-01T00:00:00+00:00",
                seconds=1.5,
                killed=Killed(node=1, after_step=60, at_step=62),
                exit_statuses=[1, 137],
                records=[{"event": "start"}],
            )
        ],
    )


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")


def written(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "run.json").read_text()))


def test_the_file_has_the_published_shape(record: RunRecord, tmp_path: Path) -> None:
    record.write(tmp_path)
    assert written(tmp_path) == {
        "schema": 1,
        "case": "cpu-ddp",
        "configuration": "digits-cnn",
        "image": "bakehouse/cpu-ddp:latest",
        "image_id": "sha256:0",
        "started": "2026-01-01T00:00:00+00:00",
        "nodes": 2,
        "processes_per_node": 2,
        "environment": {"OMP_NUM_THREADS": {"value": "1", "reason": "because"}},
        "expected": {"accuracy": 0.95},
        "outcome": "running",
        "error": None,
        "seconds": 0.0,
        "attempts": [
            {
                "attempt": 1,
                "started": "2026-01-01T00:00:00+00:00",
                "seconds": 1.5,
                "killed": {"node": 1, "after_step": 60, "at_step": 62},
                "exit_statuses": [1, 137],
                "records": [{"event": "start"}],
            }
        ],
    }


def test_a_write_that_fails_leaves_the_old_file_whole(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.write(tmp_path)

    def half(self: Path, _text: str, **_options: object) -> int:
        self.write_bytes(b"{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(HostError, match="No space left on device"):
        record.write(tmp_path)
    assert written(tmp_path)["outcome"] == "running"


def test_begin_removes_old_results(record: RunRecord, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000300.pt").touch()
    (folder / "node0.log").touch()
    begin(folder, record)
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    assert written(folder)["outcome"] == "running"


def test_begin_follows_no_link_out_of_the_folder(record: RunRecord, tmp_path: Path) -> None:
    folder, precious = tmp_path / "run", tmp_path / "precious"
    folder.mkdir()
    precious.mkdir()
    (precious / "file").touch()
    (folder / "checkpoints").symlink_to(precious)
    begin(folder, record)
    assert (precious / "file").exists()


def test_begin_tells_what_cannot_be_replaced(record: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="old results cannot be replaced"):
        begin(tmp_path / "file" / "run", record)


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds no run\.json of an earlier run"):
        refuse_foreign(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="not a folder"):
        refuse_foreign(tmp_path / "run")


@pytest.mark.parametrize("content", [None, [], ["run.json", "node0.log"]])
def test_a_new_empty_or_earlier_run_folder_is_accepted(
    tmp_path: Path, content: list[str] | None
) -> None:
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        for name in content:
            (folder / name).touch()
    refuse_foreign(folder)


def test_only_one_run_holds_a_folder(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "run"),
        pytest.raises(RunError, match=r"another run \(process \d+\) writes to this folder"),
        claimed(tmp_path / "run"),
    ):
        pass
    with claimed(tmp_path / "run"), claimed(tmp_path / "other"):
        pass
