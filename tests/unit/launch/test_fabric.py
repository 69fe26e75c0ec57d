"""Environment variables for EFA, NCCL and Neuron: what is set where, and what never."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bakehouse import cli, layout
from bakehouse.errors import InputError
from bakehouse.launch.fabric import fabric_settings
from bakehouse.stacks.environment import load_environment
from bakehouse.stacks.instances import load_instances
from bakehouse.stacks.stack import Stack, load_stack, stack_names

FLIGHT_RECORDER = {"TORCH_NCCL_TRACE_BUFFER_SIZE": "2000", "TORCH_NCCL_DUMP_ON_TIMEOUT": "1"}
GPU = FLIGHT_RECORDER | {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
EFA = GPU | {"FI_EFA_USE_HUGE_PAGE": "0"}
NEURON = {"FI_PROVIDER": "efa", "FI_EFA_USE_DEVICE_RDMA": "1"}
OTHERS = {"NCCL_SOCKET_IFNAME": "^docker,lo,veth"}

OLD = {"aws_ofi_nccl_release": "1.5.0", "libfabric_release": "1.17.1amzn3.0"}


def with_versions(**versions: str) -> Stack:
    """The stack gpu-cuda13 with some components in other versions."""
    stack = load_stack("gpu-cuda13")
    changed = {
        name: stack.records[name].model_copy(update={"version": version})
        for name, version in versions.items()
    }
    return replace(stack, records={**stack.records, **changed})


def values(instance: str, stack: Stack | None = None, **options: Any) -> dict[str, str]:
    """What is set, by variable."""
    found, _ = fabric_settings(instance, stack or load_stack("gpu-cuda13"), **options)
    return {setting.variable: setting.value for setting in found}


@pytest.mark.parametrize(
    ("instance", "wanted"),
    [
        ("p4d.24xlarge", EFA | {"NCCL_SOCKET_IFNAME": "en"}),
        ("p5.48xlarge", EFA | {"NCCL_SOCKET_IFNAME": "en"}),
        ("p5en.48xlarge", EFA | OTHERS),
        ("p6-b200.48xlarge", EFA | OTHERS),
        ("p6e-gb200.36xlarge", EFA | OTHERS),
        ("g5.48xlarge", EFA | OTHERS | {"NCCL_SHM_USE_CUDA_MEMCPY": "1"}),
        ("g6.xlarge", GPU | {"NCCL_SHM_USE_CUDA_MEMCPY": "1"}),
        ("trn1.32xlarge", NEURON),
        ("hpc6a.48xlarge", {}),
        ("c7i.48xlarge", {}),
    ],
)
def test_an_instance_type_gets_what_it_needs(instance: str, wanted: dict[str, str]) -> None:
    assert values(instance) == wanted


@pytest.mark.parametrize("stack", stack_names())
@pytest.mark.parametrize("instance", load_instances())
def test_each_variable_is_set_or_left_out_with_a_reason(instance: str, stack: str) -> None:
    found, left_out = fabric_settings(instance, load_stack(stack))
    names = [one.variable for one in found] + [one.variable for one in left_out]
    assert sorted(names) == sorted(load_environment())
    assert all([one.reason for one in found] + [one.reason for one in left_out])
    assert not [one for one in found if "$" in one.value], "nothing would expand it"


def test_old_versions_get_what_they_needed() -> None:
    assert values("p4d.24xlarge", with_versions(**OLD)) == EFA | {
        "FI_PROVIDER": "efa",
        "FI_EFA_USE_DEVICE_RDMA": "1",
        "NCCL_PROTO": "simple",
        "NCCL_SOCKET_IFNAME": "en",
    }


@pytest.mark.parametrize(
    ("versions", "variable", "value"),
    [
        ({"aws_ofi_nccl_release": "1.5.0"}, "FI_PROVIDER", "efa"),
        ({"aws_ofi_nccl_release": "1.6.0"}, "FI_PROVIDER", None),
        ({"aws_ofi_nccl_release": "1.5.0-aws"}, "NCCL_PROTO", "simple"),
        ({"aws_ofi_nccl_release": "1.6.0"}, "NCCL_PROTO", None),
        ({"aws_ofi_nccl_release": "1.6.9"}, "FI_EFA_USE_DEVICE_RDMA", "1"),
        ({"aws_ofi_nccl_release": "1.7.0"}, "FI_EFA_USE_DEVICE_RDMA", None),
        ({"libfabric_release": "1.17.9"}, "FI_EFA_USE_DEVICE_RDMA", "1"),
        ({"libfabric_release": "1.18.0"}, "FI_EFA_USE_DEVICE_RDMA", None),
        ({"aws_efa_installer_release": "1.29.0"}, "FI_EFA_SET_CUDA_SYNC_MEMOPS", "0"),
        ({"aws_efa_installer_release": "1.29.1"}, "FI_EFA_SET_CUDA_SYNC_MEMOPS", None),
        (
            {"aws_efa_installer_release": "1.29.0", "nvidia_nccl_release": "2.18.6"},
            "FI_EFA_SET_CUDA_SYNC_MEMOPS",
            None,
        ),
    ],
)
def test_a_version_decides(versions: dict[str, str], variable: str, value: str | None) -> None:
    assert values("p5.48xlarge", with_versions(**versions)).get(variable) == value


def test_one_machine_needs_nothing_of_efa() -> None:
    assert values("p5.48xlarge", nodes=1) == GPU
    assert values("p5.48xlarge", with_versions(**OLD), nodes=1) == GPU
    assert values("trn1.32xlarge", nodes=1) == {}


@pytest.mark.parametrize("scheduler", ["kubernetes", "docker", None])
def test_a_container_with_a_network_of_its_own_is_told_no_interface(scheduler: Any) -> None:
    assert values("p5.48xlarge", scheduler=scheduler) == EFA


@pytest.mark.parametrize(
    ("instance", "case", "value"),
    [
        ("p5.48xlarge", "megatron-lm", "1"),
        ("p4d.24xlarge", "megatron-lm", "1"),
        ("p6-b200.48xlarge", "megatron-lm", None),
        ("p5.48xlarge", "fsdp", None),
        ("p5.48xlarge", None, None),
    ],
)
def test_megatron_alone_wants_one_queue_and_not_on_blackwell(
    instance: str, case: str | None, value: str | None
) -> None:
    assert values(instance, case=case).get("CUDA_DEVICE_MAX_CONNECTIONS") == value


@pytest.mark.parametrize(
    "variable",
    [
        "FI_EFA_FORK_SAFE", "FI_EFA_ENABLE_SHM_TRANSFER", "RDMAV_FORK_SAFE", "NCCL_BUFFSIZE",
        "NCCL_P2P_NET_CHUNKSIZE", "NCCL_TUNER_PLUGIN", "NCCL_MIN_CHANNELS", "NCCL_DEBUG",
        "NCCL_SOCKET_NTHREADS", "NCCL_NSOCKS_PERTHREAD", "NCCL_NVLS_ENABLE", "LD_PRELOAD",
    ],
)  # fmt: skip
def test_what_the_upstream_sets_in_vain_is_never_set(variable: str) -> None:
    for instance in load_instances():
        for stack in (load_stack("gpu-cuda13"), with_versions(**OLD)):
            assert variable not in values(instance, stack)
    _, left_out = fabric_settings("p5.48xlarge", load_stack("gpu-cuda13"))
    assert variable in {one.variable for one in left_out}


def test_every_value_of_a_rule_is_taken_somewhere() -> None:
    stacks = [
        load_stack("gpu-cuda13"),
        with_versions(**OLD),
        with_versions(aws_ofi_nccl_release="1.6.0"),
        with_versions(libfabric_release="1.17.0"),
        with_versions(aws_efa_installer_release="1.29.0"),
    ]
    taken = {
        (setting.variable, setting.reason)
        for instance in load_instances()
        for stack in stacks
        for case in ("megatron-lm", "fsdp")
        for setting in fabric_settings(instance, stack, case=case)[0]
    }
    rules = {
        (name, value.reason)
        for name, variable in load_environment().items()
        for value in variable.values
    }
    assert taken == rules


@pytest.fixture
def rules(tmp_path: Path) -> Callable[[str, str], str]:
    """Spoil the file; returns what is said about it."""

    def spoil(old: str, new: str) -> str:
        text = (layout.STACKS / "environment.yml").read_text()
        assert old in text
        path = tmp_path / "environment.yml"
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError) as caught:
            load_environment(path)
        return str(caught.value)

    return spoil


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("        reason: Neuron", "        raeson: Neuron", "did you mean reason?"),
        ("- value: efa", "- value: $PROVIDER", "values.0.value"),
        ('"<=1.5.0"', '"up to 1.5"', "is not a version specifier"),
        ("{efa: true, neuron: true}", "{}", "say when"),
        ("{efa: true, neuron: true}", "{efa: true, neurons: true}", "did you mean neuron?"),
        ("aws_ofi_nccl_release:", "aws-ofi-nccl:", "values.1.when.versions"),
        ("    left_out: it is on by default\n", "", "left_out is missing"),
        ("families: [g5, g6, g6e]", "families: []", "when.families"),
    ],
)
def test_a_mistake_in_the_rules_is_told_with_its_place(
    rules: Callable[[str, str], str], old: str, new: str, said: str
) -> None:
    error = rules(old, new)
    assert "environment.yml:" in error
    assert said in error


def env(*arguments: str) -> str:
    done = CliRunner().invoke(cli.application, ["env", *arguments])
    assert done.exception is None, done.output
    return done.output


def test_the_command_prints_what_is_set_and_what_is_left_out_and_why() -> None:
    found = json.loads(env("--instance", "ml.p5.48xlarge", "--json"))
    settings, left_out = fabric_settings("p5.48xlarge", load_stack("gpu-cuda13"))
    assert [one["variable"] for one in found["set"]] == [one.variable for one in settings]
    assert [one["reason"] for one in found["left_out"]] == [one.reason for one in left_out]
    text = env("--instance", "p5.48xlarge")
    told = {one.variable: one.reason for one in settings}
    told |= {one.variable: one.reason for one in left_out}
    for variable, reason in told.items():
        assert variable in text
        assert reason.split()[0] in text


def test_the_command_prints_lines_for_a_shell() -> None:
    lines = env("--instance", "p5.48xlarge", "--export").splitlines()
    assert "export NCCL_SOCKET_IFNAME=en" in lines
    assert lines[lines.index("export NCCL_SOCKET_IFNAME=en") - 1].startswith("# all interfaces")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--instance", "p5.48xlargee"), "did you mean p5.48xlarge?"),
        (("--instance", "p5.48xlarge", "--stack", "gpu-cuda31"), "did you mean gpu-cuda13?"),
        (("--instance", "p5.48xlarge", "--on", "kubernets"), "did you mean kubernetes?"),
        (("--instance", "p5.48xlarge", "--case", "cpu-dpd"), "did you mean cpu-ddp?"),
    ],
)
def test_a_wrong_name_is_told(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(cli.application, ["env", *arguments])
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
