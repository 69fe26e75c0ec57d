"""On which EC2 instance types the Fabric Manager starts; their PCI devices are stood in for."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bakehouse.layout import ROOT
from bakehouse.stacks import documents

CONDITION = ROOT / "roles" / "nvidia_fabric_manager" / "files" / "nvidia-fabric-condition"
INSTANCES: dict[str, dict[str, Any]] = documents.load(ROOT / "stacks" / "instances.yml").data[
    "instances"
]
NVIDIA, MELLANOX, AMAZON = "0x10de", "0x15b3", "0x1d0f"
GPU_CLASS, BRIDGE_CLASS, NETWORK_CLASS = "0x030200", "0x068000", "0x020700"

# Device ids of NVIDIA's switches: https://pci-ids.ucw.cz/read/PC/10de
SWITCHES = {"ampere": ("0x1af1", 6), "hopper": ("0x22a3", 4)}
RACK_GPUS = {"GB200": "0x2941", "GB300": "0x31c2"}


def write_device(devices: Path, vendor: str, kind: str, class_code: str, vpd: str = "") -> None:
    """Add a PCI device to a tree like /sys/bus/pci/devices."""
    place = devices / f"0000:{len(list(devices.iterdir())):02x}:00.0"
    place.mkdir()
    for name, content in {"vendor": vendor, "device": kind, "class": class_code}.items():
        (place / name).write_text(f"{content}\n", encoding="utf-8")
    if vpd:
        (place / "vpd").write_bytes(b"\x82\x10\x00" + vpd.encode() + b"\x00\x78")


def write_instance(devices: Path, instance: dict[str, Any]) -> None:
    """Write the devices of an instance type."""
    write_device(devices, AMAZON, "0xefa1", NETWORK_CLASS)
    rack = next((kind for name, kind in RACK_GPUS.items() if name in instance.get("gpu", "")), "")
    for _ in range(instance.get("gpus", 0)):
        write_device(devices, NVIDIA, rack or "0x2330", GPU_CLASS)
    if rack or not instance.get("nvlinks_per_gpu"):
        return
    if instance["gpu_generation"] in SWITCHES:
        kind, count = SWITCHES[instance["gpu_generation"]]
        for _ in range(count):
            write_device(devices, NVIDIA, kind, BRIDGE_CLASS)
    else:
        write_device(devices, MELLANOX, "0x1021", NETWORK_CLASS, vpd="V2 SW_MNG")


def starts(devices: Path) -> bool:
    """Whether the condition lets the service start."""
    done = subprocess.run(["sh", CONDITION, devices], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert done.returncode in {0, 1}
    return done.returncode == 0


@pytest.mark.parametrize("name", INSTANCES)
def test_it_starts_on_instances_with_switches_of_their_own(name: str, tmp_path: Path) -> None:
    instance = INSTANCES[name]
    write_instance(tmp_path, instance)
    in_a_rack = any(gpu in instance.get("gpu", "") for gpu in RACK_GPUS)
    assert starts(tmp_path) == (bool(instance.get("nvlinks_per_gpu")) and not in_a_rack)


def test_instances_of_both_kinds_were_tried() -> None:
    assert {bool(instance.get("nvlinks_per_gpu")) for instance in INSTANCES.values()} == {
        True,
        False,
    }


def test_no_devices_and_foreign_bridges_are_no_switches(tmp_path: Path) -> None:
    assert not starts(tmp_path)
    write_device(tmp_path, "0x8086", "0x1234", BRIDGE_CLASS)
    write_device(tmp_path, MELLANOX, "0x1021", NETWORK_CLASS, vpd="V2 ordinary")
    assert not starts(tmp_path)


def test_the_racks_switches_are_left_to_the_rack(tmp_path: Path) -> None:
    write_device(tmp_path, NVIDIA, RACK_GPUS["GB200"], GPU_CLASS)
    write_device(tmp_path, MELLANOX, "0x1021", NETWORK_CLASS, vpd="V2 SW_MNG")
    assert not starts(tmp_path)
