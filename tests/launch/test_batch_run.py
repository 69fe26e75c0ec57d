"""The rendered requests for AWS Batch, in an account that runs jobs as containers of this machine.

Simulated: the account is moto's, with the shim of `batch_account`. Not verified: devices of EFA,
GPUs, limits, start of all nodes at once, retries.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import aws_account
import pytest
from batch_account import REGION, BatchAccount, batch_account, node_environment
from started_runs import Finished

from bakehouse import engine
from bakehouse.launch.batch import BatchOptions, definition, submission
from bakehouse.launch.job import prepare
from bakehouse.launch.scheduler import Options, submit

pytestmark = pytest.mark.docker

PATIENCE_S = 90
"""Collectives give up after 60 s."""


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchAccount]:
    with aws_account.opened(monkeypatch), batch_account(monkeypatch) as opened:
        yield opened


def test_a_job_trains_over_all_its_nodes_to_its_end(
    account: BatchAccount, case_image: str, unbroken_run: Finished
) -> None:
    job = prepare("cpu-ddp", "batch", image=case_image)
    identifier = submit(job, "batch", Options(), REGION)
    assert account.ended(identifier) == "SUCCEEDED"
    records = [json.loads(line) for line in account.output(identifier) if line.startswith("{")]
    assert (records[0]["event"], records[0]["world_size"]) == ("start", 4)
    final = next(record for record in records if record["event"] == "final")
    same = unbroken_run.record["attempts"][-1]["records"][-1]
    assert final["parameters_sha256"] == same["parameters_sha256"]


def test_a_training_that_fails_fails_the_job(account: BatchAccount, case_image: str) -> None:
    job = prepare("cpu-ddp", "batch", image=case_image, nodes=1, processes_per_node=1)
    request = definition(job, BatchOptions())
    container = request["nodeProperties"]["nodeRangeProperties"][0]["container"]
    container["command"][-1] = container["command"][-1].replace("digits-cnn.json", "none.json")
    identifier = account.submitted(request, submission(job, BatchOptions()))
    assert account.ended(identifier) == "FAILED"


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_node_is_lost_the_other_ends_by_itself(case_image: str, lost: int) -> None:
    """Without moto, which would end it."""
    job = prepare("cpu-ddp", "batch", image=case_image)
    request = definition(job, BatchOptions())
    command = request["nodeProperties"]["nodeRangeProperties"][0]["container"]["command"]
    environments: list[dict[str, Any]] = [node_environment("job", number, 2) for number in (0, 1)]
    options = {"user": "10001"}
    with engine.running_container(
        case_image, command, environment=environments[0], **options
    ) as main:
        main.reload()
        address = main.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        environments[1]["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"] = address
        with engine.running_container(
            case_image, command, environment=environments[1], **options
        ) as other:
            until = time.monotonic() + PATIENCE_S
            while '"event": "step"' not in main.logs().decode():
                assert time.monotonic() < until, main.logs().decode()
                time.sleep(0.2)
            nodes = [main, other]
            nodes[lost].kill()
            assert nodes[1 - lost].wait(timeout=PATIENCE_S)["StatusCode"] == 1
