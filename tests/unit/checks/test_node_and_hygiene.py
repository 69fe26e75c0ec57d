"""Checks of a machine's fitness, and of what the builder left."""

import resource
from pathlib import Path

import pytest
from stand_in_machine import Machine

from bakehouse.checks import hygiene, node
from bakehouse.checks.result import Outcome

MEMINFO = "MemTotal:  16384000 kB\nSwapTotal: 1000 kB\nSwapFree: {free} kB\n"


def of(found: Outcome | list[Outcome]) -> dict[str, str]:
    return {o.suffix: o.status for o in (found if isinstance(found, list) else [found])}


def test_processors_that_are_all_online_pass(machine: Machine) -> None:
    assert node.cpus(machine).status == "skip"
    machine.write("/sys/devices/system/cpu/present", "0-3\n")
    machine.write("/sys/devices/system/cpu/online", "0-3\n")
    assert node.cpus(machine).status == "pass"
    machine.write("/sys/devices/system/cpu/online", "0-2\n")
    assert node.cpus(machine).status == "fail"


def test_memory_is_read_from_the_kernel(machine: Machine) -> None:
    machine.write("/proc/meminfo", MEMINFO.format(free=1000))
    assert node.memory(machine).status == "pass"
    machine.write("/proc/meminfo", "MemTotal: 500000 kB\n")
    assert node.memory(machine).status == "fail"


def test_swap_in_use_is_a_warning(machine: Machine) -> None:
    machine.write("/proc/meminfo", MEMINFO.format(free=1000))
    assert node.swap(machine).status == "pass"
    machine.write("/proc/meminfo", MEMINFO.format(free=10))
    assert node.swap(machine).status == "warn"


@pytest.mark.parametrize("text", ["", "MemFree: 1 kB\n", "MemTotal: much\n"])
def test_garbage_from_the_kernel_is_no_pass(machine: Machine, text: str) -> None:
    machine.write("/proc/meminfo", text)
    with pytest.raises(ValueError, match=r"meminfo|invalid literal"):
        node.memory(machine)


def test_disk_and_shared_memory(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        total = free = 64 << 30

    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage)
    assert node.disk(machine).status == "pass"
    assert node.shared_memory(machine).status == "skip"
    Path(machine.root, "dev/shm").mkdir(parents=True)
    assert node.shared_memory(machine).status == "pass"
    Usage.total = Usage.free = 1 << 20
    assert node.disk(machine).status == node.shared_memory(machine).status == "fail"


@pytest.mark.parametrize(
    ("limit", "rdma", "status"),
    [
        (resource.RLIM_INFINITY, True, "pass"),
        (8 << 20, False, "warn"),
        (8 << 20, True, "fail"),
    ],
)
def test_a_bound_on_locked_memory_matters_where_rdma_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, limit: int, rdma: bool, status: str
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _which: (limit, limit))
    if rdma:
        machine.write("/sys/class/infiniband/efa_0/node_type", "")
    assert node.locked_memory(machine).status == status


@pytest.mark.parametrize(("limit", "status"), [(1_048_576, "pass"), (256, "fail")])
def test_too_few_open_files_fail(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, limit: int, status: str
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _which: (limit, limit))
    assert node.open_files(machine).status == status


def test_the_clock_is_asked_of_the_system(machine: Machine) -> None:
    assert node.clock(machine).status == "skip"
    machine.answers["timedatectl"] = (0, "yes\n", "")
    assert node.clock(machine).status == "pass"
    machine.answers["timedatectl"] = (0, "no\n", "")
    assert node.clock(machine).status == "fail"
    machine.write("/.dockerenv", "")
    assert node.clock(machine).status == "skip"


def test_each_kernel_setting_is_compared_with_the_running_kernel(machine: Machine) -> None:
    assert of(node.kernel_settings(machine)) == {"": "skip"}
    text = (
        "# of the role base\nnet.core.rmem_max = 67108864\nnet.ipv4.tcp_rmem = 4096 1 2\nvm.x=1\n"
    )
    machine.write(node.SYSCTL_FILE, text)
    machine.write("/proc/sys/net/core/rmem_max", "212992\n")
    machine.write("/proc/sys/net/ipv4/tcp_rmem", "4096\t1\t2\n")
    assert of(node.kernel_settings(machine)) == {
        "net.core.rmem_max": "fail",
        "net.ipv4.tcp_rmem": "pass",
        "vm.x": "fail",
    }


LEFT = {
    "host-keys": "/etc/ssh/ssh_host_ed25519_key",
    "package-caches": "/var/cache/apt/archives/x.deb",
    "pip-leftovers": "/etc/pip.conf",
    "ansible-leftovers": "/root/.ansible/tmp/x",
    "histories": "/home/admin/.bash_history",
    "authorized-keys": "/root/.ssh/authorized_keys",
    "core-dumps": "/var/crash/x",
    "random-seed": "/var/lib/systemd/random-seed",
    "cloud-init-state": "/var/lib/cloud/instances/i-1",
}


def test_an_image_without_leftovers_passes(machine: Machine) -> None:
    machine.write("/etc/machine-id", "")
    assert set(of(hygiene.forbidden_content(machine)).values()) == {"pass"}
    assert hygiene.machine_id(machine).status == "pass"


@pytest.mark.parametrize("name", hygiene.FORBIDDEN)
def test_each_leftover_fails_under_its_name(machine: Machine, name: str) -> None:
    machine.write(LEFT[name], "x")
    found = of(hygiene.forbidden_content(machine))
    assert [suffix for suffix, status in found.items() if status == "fail"] == [name]


@pytest.mark.parametrize("text", [None, "0123456789abcdef0123456789abcdef\n"])
def test_a_machine_id_that_is_missing_or_taken_fails(machine: Machine, text: str | None) -> None:
    if text is not None:
        machine.write("/etc/machine-id", text)
    assert hygiene.machine_id(machine).status == "fail"


def test_a_machine_that_has_booted_is_not_judged_by_an_images_rules(machine: Machine) -> None:
    Path(machine.root, "run/systemd/system").mkdir(parents=True)
    assert of(hygiene.forbidden_content(machine)) == {"": "skip"}
    assert hygiene.machine_id(machine).status == "skip"
