"""The role aws_efa beyond what every role is tried for: both targets, kernels, faults, adapters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from role_runs import failure, play
from stand_ins import STACK, StandIn, booted
from vendor_mirror.kernels import KERNELS

from bakehouse.layout import STACKS
from bakehouse.stacks import documents

SYSTEMS = ["ubuntu24.04", "amazon2023"]
INSTALLED = "/opt/amazon/efa_installed_packages"
RELEASE = "aws_efa_installer_release"
EARLIER = {
    RELEASE: "1.47.0",
    "libfabric_release": "2.4.0amzn1.0",
    "aws_ofi_nccl_release": "1.18.0",
    "rdma_core_release": "61.0",
    "efa_driver_release": "3.0.0",
}
ALLREDUCE = """
import ctypes
mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
def of(name): return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, name)))
mpi.MPI_Init(None, None)
world, rank, total = of("ompi_mpi_comm_world"), ctypes.c_int(), ctypes.c_int()
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mine = ctypes.c_int(rank.value + 1)
mpi.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(total), 1, of("ompi_mpi_int"),
                  of("ompi_mpi_op_sum"), world)
print("rank", rank.value, "sum", total.value, flush=True)
mpi.MPI_Finalize()
"""


def run(machine: StandIn, *command: str) -> str:
    """Run a command on a machine; what it printed."""
    status, output = machine.container.exec_run(list(command))
    assert status == 0, output.decode()
    return str(output.decode())


def applied(machine: StandIn, scratch: Path, **variables: Any) -> dict[str, Any]:
    """Apply the role, which must not fail."""
    report = machine.apply(scratch, ["aws_efa"], **(machine.variables() | variables))
    assert failure(report, "target") == ""
    return report


@pytest.fixture(params=SYSTEMS)
def machine(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """A fresh machine, with an earlier edition in its mirror too."""
    with booted(STACK, request.param, ({}, EARLIER)) as stand_in:
        yield stand_in


@pytest.mark.docker
def test_where_there_is_a_kernel_the_module_is_built(machine: StandIn, tmp_path: Path) -> None:
    is_dnf = "rpm" in run(machine, "sh", "-c", "command -v rpm || true")
    packages = ["kernel"] if is_dnf else [f"linux-image-{KERNELS[0]}", "openmpi-bin"]
    install = {"ansible.builtin.package": {"name": packages, "state": "present"}}
    assert failure(machine.run(tmp_path, [install]), "target") == ""
    applied(machine, tmp_path, aws_efa_gpudirect=False, aws_efa_mpi="both")
    listed = run(machine, "cat", INSTALLED)
    assert {"efa-config", "openmpi40-aws", "openmpi50-aws"} <= {
        name.replace("_", "-").rpartition("-aws")[0] + "-aws" if "-aws" in name else name[:10]
        for name in listed.split()
    }
    assert machine.broken_promises(["aws_efa"], machine.variables()) == ""
    assert "peermem" not in run(
        machine,
        "sh",
        "-c",
        "rpm -qa; dpkg-query -W -f '${db:Status-Abbrev}${Package} ' | grep ^ii || true",
    )
    assert run(machine, "ls", "/etc/bakehouse/components.d").count("efa_driver.json") == 1


@pytest.mark.docker
@pytest.mark.slow
def test_a_container_has_neither_module_nor_limits(machine: StandIn, tmp_path: Path) -> None:
    applied(machine, tmp_path, bakehouse_target="container")
    assert machine.broken_promises(["aws_efa"], machine.variables(), target="container") == ""
    assert "95-aws-efa" not in run(machine, "ls", "/etc/security/limits.d")
    # From all to the least, and back.
    applied(machine, tmp_path, bakehouse_target="container", aws_efa_minimal=True)
    assert "libfabric" not in run(machine, "cat", INSTALLED)
    applied(machine, tmp_path, bakehouse_target="container")
    assert machine.broken_promises(["aws_efa"], machine.variables(), target="container") == ""


@pytest.mark.docker
@pytest.mark.slow
def test_an_upgrade_and_a_downgrade(machine: StandIn, tmp_path: Path) -> None:
    for edition in (1, 0, 1):
        variables = machine.variables(edition)
        report = machine.apply(tmp_path, ["aws_efa"], **variables)
        assert failure(report, "target") == ""
        assert machine.broken_promises(["aws_efa"], variables) == ""


@pytest.mark.docker
@pytest.mark.parametrize("machine", ["ubuntu24.04"], indirect=True)
def test_what_is_not_as_promised_is_refused(machine: StandIn, tmp_path: Path) -> None:
    variables = machine.variables() | {"fetch_attempts": 1}
    wrong = variables | {RELEASE: variables[RELEASE] | {"sha256": "0" * 64}}
    assert "expected 0000" in failure(machine.apply(tmp_path, ["aws_efa"], **wrong), "target")
    gone, _ = machine.container.exec_run(["ls", "/var/cache/bakehouse/aws-efa-installer-1.50.0"])
    assert gone != 0
    other = variables | {"libfabric_release": {"version": "9.9", "bundled_in": RELEASE}}
    message = failure(machine.apply(tmp_path, ["aws_efa"], **other), "target")
    assert "libfabric_release: the stack says 9.9" in message


@pytest.mark.docker
@pytest.mark.slow
def test_debians_own_packages_really_run(tmp_path: Path) -> None:
    with booted("debian-efa", "debian12") as machine:
        applied(machine, tmp_path)
        again = applied(machine, tmp_path)
        assert [t for t in again["plays"][0]["tasks"] if t["hosts"]["target"].get("changed")] == []
        assert machine.broken_promises(["aws_efa"], machine.variables()) == ""
        assert "provider: tcp" in run(machine, "fi_info", "-p", "tcp")
        status, output = machine.container.exec_run(["fi_info", "-p", "efa"])
        assert (status, "-61" in output.decode()) == (61, True)
        through_libfabric = ["--mca", "pml", "cm", "--mca", "mtl", "ofi"]
        for options in ([], [*through_libfabric, "--mca", "mtl_ofi_provider_include", "tcp"]):
            command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", *options]
            said = run(machine, *command, "python3", "-c", ALLREDUCE)
            assert {"rank 0 sum 3", "rank 1 sum 3"} <= set(said.splitlines())


def sysfs(folder: Path, adapters: int, kind: str = "p5en.48xlarge") -> Path:
    """What the kernel of an instance shows: its type, adapters, and a device of another kind."""
    firmware = folder / "devices/virtual/dmi/id"
    firmware.mkdir(parents=True)
    (firmware / "product_name").write_text(f"{kind}\n")
    for number in range(adapters + 1):
        driver = "efa" if number < adapters else "mlx5_core"
        device = folder / f"class/infiniband/rdmap{number}s0/device"
        device.mkdir(parents=True)
        (device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    return folder


def compared(scratch: Path, tree: Path, **variables: Any) -> str:
    """What the entry point for live machines complains of."""
    task = {"ansible.builtin.include_role": {"name": "aws_efa", "tasks_from": "runtime"}}
    hosts = {"target": {"ansible_connection": "local", "ansible_python_interpreter": "python3"}}
    given = documents.load(STACKS / "instances.yml").data | {"aws_efa_sysfs": str(tree)}
    return failure(play(scratch, hosts, [task], **(given | variables)), "target")


@pytest.mark.lengthy
def test_all_adapters_are_there(tmp_path: Path) -> None:
    assert compared(tmp_path, sysfs(tmp_path / "sys", 16)) == ""


@pytest.mark.lengthy
@pytest.mark.parametrize("adapters", [15, 17, 0])
def test_another_number_of_adapters_is_told(tmp_path: Path, adapters: int) -> None:
    message = compared(tmp_path, sysfs(tmp_path / "sys", adapters))
    assert f"p5en.48xlarge has 16 EFA interfaces, {adapters} are here" in message


@pytest.mark.lengthy
def test_an_unknown_type_is_told(tmp_path: Path) -> None:
    assert "nothing of the type x9.metal" in compared(
        tmp_path, sysfs(tmp_path / "sys", 1, "x9.metal")
    )
    tree = sysfs(tmp_path / "again", 32, "x9.metal")
    assert compared(tmp_path, tree, aws_efa_instance_type="p5.48xlarge") == ""
