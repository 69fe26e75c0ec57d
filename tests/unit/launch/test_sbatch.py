"""What stands in an sbatch script."""

from typing import Any

import pytest

from bakehouse.launch.job import prepare
from bakehouse.launch.slurm import SlurmOptions, render


def script(partition: str | None = None, **options: Any) -> str:
    return render(prepare("cpu-ddp", "slurm", **options), SlurmOptions(partition=partition))


def directives(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_directives_ask_for_whole_machines_and_a_restart() -> None:
    assert directives(script()) == [
        "#SBATCH --job-name=cpu-ddp-digits-cnn",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --exclusive",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=%x-%j.out",
    ]


def test_directives_of_gpus_time_and_partition() -> None:
    found = directives(script(instance="p4d.24xlarge", time_limit_s=90, partition="p4"))
    assert "#SBATCH --gpus-per-node=8" in found
    assert "#SBATCH --partition=p4" in found
    assert "#SBATCH --time=2" in found
    assert "#SBATCH --signal=B:USR1@120" in found


def test_directives_stand_before_the_first_command() -> None:
    lines = script(time_limit_s=90).splitlines()
    first = next(number for number, line in enumerate(lines) if line and line[0] != "#")
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")]


@pytest.mark.parametrize(
    ("image", "written"),
    [
        ("/fsx/cpu ddp.sqsh", "image='/fsx/cpu ddp.sqsh'"),
        ("nvcr.io/team/cpu-ddp:1", "image='nvcr.io#team/cpu-ddp:1'"),
        ("team/cpu-ddp:1", "image=team/cpu-ddp:1"),
        ("docker://nvcr.io#team/cpu-ddp", "image='docker://nvcr.io#team/cpu-ddp'"),
        (None, 'image="$SLURM_SUBMIT_DIR/cpu-ddp.sqsh"'),
    ],
)
def test_an_image_is_written_as_pyxis_reads_it(image: str | None, written: str) -> None:
    assert written in script(image=image).splitlines()


def test_a_container_sees_the_folders() -> None:
    text = script(image="/a.sqsh", checkpoints="/fsx/kept", data="/fsx/corpus")
    assert '  --container-mounts="$checkpoints:/checkpoints,$data:$data:ro"' in text.splitlines()
    assert "  --checkpoints=/checkpoints" in text.splitlines()


def test_without_a_container_nothing_is_said_of_one() -> None:
    text = script(venv="/fsx/venv", code="/fsx/code", checkpoints="/fsx/kept")
    assert "--container" not in text
    assert '  "--checkpoints=$checkpoints"' in text.splitlines()
    assert "  --chdir=/fsx/code" in text.splitlines()


def test_an_interface_that_is_told_is_not_looked_for() -> None:
    assert "ip -o route" in script()
    told = script(interface="ens5")
    assert "ip -o route" not in told
    assert 'export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-ens5}"' in told


def test_nothing_of_the_users_is_expanded_by_the_shell() -> None:
    text = script(venv="/fsx/$(touch x)", code="/fsx/`y`", checkpoints="/fsx/$z")
    assert "venv='/fsx/$(touch x)'" in text
    assert "--chdir='/fsx/`y`'" in text
    assert "checkpoints='/fsx/$z'" in text
