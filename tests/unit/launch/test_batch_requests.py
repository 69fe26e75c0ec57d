"""What stands in the requests for AWS Batch."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import validate_parameters

from bakehouse.errors import InputError
from bakehouse.launch.batch import BatchOptions, definition, submission
from bakehouse.launch.job import prepare

ROLE = "arn:aws:iam::123456789012:role/batch"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:hf"
ADDRESS = "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"


def request(**options: Any) -> dict[str, Any]:
    return definition(prepare("cpu-ddp", "batch", **options), BatchOptions(execution_role=ROLE))


def container(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = request(**options)["nodeProperties"]["nodeRangeProperties"][0]
    assert found["targetNodes"] == "0:"
    return dict(found["container"])


@pytest.mark.lengthy
def test_both_requests_have_only_what_awss_own_description_of_them_has() -> None:
    service = get_session().get_service_model("batch")
    job = prepare(
        "cpu-ddp",
        "batch",
        instance="p5.48xlarge",
        secrets=[f"HF_TOKEN={SECRET}"],
        checkpoints="/fsx/kept",
        data="/fsx/corpus",
        time_limit_s=3600,
    )
    options = BatchOptions(execution_role=ROLE, job_role=ROLE)
    for operation, values in (
        ("RegisterJobDefinition", definition(job, options)),
        ("SubmitJob", submission(job, options)),
    ):
        shape: Any = service.operation_model(operation).input_shape
        validate_parameters(values, shape)
        assert unknown(values, shape) == []


def unknown(value: Any, shape: Any, path: str = "") -> list[str]:
    """Fields that a shape of botocore does not have; it would leave them out of what it sends."""
    if shape.type_name == "list":
        return [found for item in value for found in unknown(item, shape.member, path)]
    if shape.type_name != "structure":
        return []
    return [
        found
        for name, item in value.items()
        for found in (
            unknown(item, shape.members[name], f"{path}.{name}")
            if name in shape.members
            else [f"{path}.{name}"]
        )
    ]


def test_a_field_that_aws_does_not_know_is_found() -> None:
    service = get_session().get_service_model("batch")
    shape = service.operation_model("RegisterJobDefinition").input_shape
    spoilt = request()
    spoilt["nodeProperties"]["nodeRangeProperties"][0]["container"]["shmSize"] = 1
    assert unknown(spoilt, shape) == [".nodeProperties.nodeRangeProperties.container.shmSize"]


def test_every_node_of_a_job_starts_the_same_command() -> None:
    found = request(nodes=8)["nodeProperties"]
    assert (found["numNodes"], found["mainNode"]) == (8, 0)
    assert len(found["nodeRangeProperties"]) == 1


def test_an_instance_brings_its_devices_and_size() -> None:
    found = container(instance="p5.48xlarge")
    needs = {each["type"]: each["value"] for each in found["resourceRequirements"]}
    assert needs["GPU"] == "8"
    assert int(needs["VCPU"]) <= 192
    assert int(needs["MEMORY"]) <= 2048 * 1024
    paths = [device["hostPath"] for device in found["linuxParameters"]["devices"]]
    assert paths == [f"/dev/infiniband/uverbs{number}" for number in range(32)]
    assert found["linuxParameters"]["sharedMemorySize"] >= 8192
    assert found["ulimits"] == [{"name": "memlock", "softLimit": -1, "hardLimit": -1}]
    assert found["instanceType"] == "p5.48xlarge"


def test_no_value_waits_for_an_expansion_that_ecs_does_not_do() -> None:
    values = [each["value"] for each in container(instance="p5.48xlarge")["environment"]]
    assert values
    assert not [value for value in values if "$" in value]


def test_a_secret_is_named_by_its_arn_and_needs_a_role() -> None:
    found = container(secrets=[f"HF_TOKEN={SECRET}"])
    assert found["secrets"] == [{"name": "HF_TOKEN", "valueFrom": SECRET}]
    assert found["executionRoleArn"] == ROLE
    job = prepare("cpu-ddp", "batch", secrets=[f"HF_TOKEN={SECRET}"])
    with pytest.raises(InputError, match="read by an execution role") as refused:
        definition(job, BatchOptions())
    assert refused.value.where == "--execution-role"


def test_only_a_lost_machine_is_tried_again() -> None:
    retries = request(restarts=5)["retryStrategy"]
    assert retries["attempts"] == 6
    assert [rule["action"] for rule in retries["evaluateOnExit"]] == ["RETRY", "EXIT"]


def test_folders_of_the_machine_are_mounted() -> None:
    found = container(checkpoints="/fsx/kept", data="/fsx/corpus")
    sources = {each["name"]: each["host"]["sourcePath"] for each in found["volumes"]}
    assert sources == {"checkpoints": "/fsx/kept", "data": "/fsx/corpus"}
    read_only = {each["sourceVolume"]: each["readOnly"] for each in found["mountPoints"]}
    assert read_only == {"checkpoints": False, "data": True}


def started(tmp_path: Path, **told: str) -> tuple[int, str]:
    """What a node would start, said by a stand-in for torchrun."""
    program = tmp_path / "torchrun"
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        container()["command"],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin:/usr/sbin",
            "AWS_BATCH_JOB_ID": "abc#1",
            "AWS_BATCH_JOB_ATTEMPT": "2",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
            "AWS_BATCH_JOB_NUM_NODES": "3",
            **told,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_node_joins_the_main_one_by_its_address(tmp_path: Path) -> None:
    status, said = started(tmp_path, AWS_BATCH_JOB_NODE_INDEX="1", **{ADDRESS: "10.0.0.7"})
    assert status == 0
    for word in (
        "--nnodes=3",
        "--node-rank=1",
        "--master-addr=10.0.0.7",
        "--rdzv-id=abc.2",
        "--nproc-per-node=2",
    ):
        assert word in said.splitlines()


def test_the_main_node_finds_its_own_address(tmp_path: Path) -> None:
    status, said = started(tmp_path, AWS_BATCH_JOB_NODE_INDEX="0")
    assert status == 0, said
    assert any(line.startswith("--master-addr=") and line[14:] for line in said.splitlines())


def test_another_node_without_an_address_ends_at_once(tmp_path: Path) -> None:
    status, said = started(tmp_path, AWS_BATCH_JOB_NODE_INDEX="2")
    assert (status, "the main node has no address" in said) == (1, True)
