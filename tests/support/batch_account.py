"""An AWS account with a queue of AWS Batch, in moto, which runs jobs as containers of this machine.

Shim, since moto 5.2 does not do it: each node is told its number and how many there are, as AWS
says (https://docs.aws.amazon.com/batch/latest/userguide/mnp-env-vars.html), and runs as the user of
the definition. Not done by anybody: devices, limits, shared memory, several machines, retries.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from docker.models.containers import ContainerCollection
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID

from bakehouse import owner

REGION = "eu-central-1"
QUEUE = "bakehouse"
LIMIT_S = 240


@dataclass
class BatchAccount:
    """The account, as somebody without Bakehouse sees it."""

    client: Any
    logs: Any

    def submitted(self, definition: dict[str, Any], submission: dict[str, Any]) -> str:
        """Register a definition, then submit a job of it; returns the job's id."""
        self.client.register_job_definition(**definition)
        return str(self.client.submit_job(**submission)["jobId"])

    def ended(self, job: str) -> str:
        """Status in which a job ends."""
        until = time.monotonic() + LIMIT_S
        while True:
            status = str(self.client.describe_jobs(jobs=[job])["jobs"][0]["status"])
            if status in {"SUCCEEDED", "FAILED"}:
                return status
            assert time.monotonic() < until, f"{job} is still {status}"
            time.sleep(0.2)

    def output(self, job: str) -> list[str]:
        """Lines of all nodes; moto has one stream for them, AWS one for each."""
        found = self.client.describe_jobs(jobs=[job])["jobs"][0]
        stream = found["container"]["logStreamName"]
        events = self.logs.get_log_events(
            logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
        )
        return [event["message"] for event in events["events"]]


@contextmanager
def batch_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchAccount]:
    """An account in which a mocked AWS is already at work (see `aws_account`)."""
    monkeypatch.setattr(ContainerCollection, "run", _told(ContainerCollection.run))
    iam = boto3.client("iam", region_name=REGION)
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    client = boto3.client("batch", region_name=REGION)
    environment = client.create_compute_environment(
        computeEnvironmentName="machines", type="UNMANAGED", state="ENABLED", serviceRole=role
    )["computeEnvironmentArn"]
    client.create_job_queue(
        jobQueueName=QUEUE,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )
    yield BatchAccount(client=client, logs=boto3.client("logs", region_name=REGION))


def _told(run: Any) -> Any:
    """docker's `containers.run` for moto, which gives a node of a job the name JOB-ID-NUMBER."""

    def told(collection: Any, image: str, **options: Any) -> Any:
        match = re.fullmatch(r".+-([0-9a-f-]{36})-(\d+)", str(options.get("name")))
        if match is not None:
            options["environment"] |= node_environment(match[1], int(match[2]), _nodes(match[1]))
            options["labels"] = owner.owner_label()
            options["user"] = _user(match[1])
        return run(collection, image, **options)

    return told


def node_environment(job: str, number: int, nodes: int) -> dict[str, str]:
    """What AWS tells a node, but for the main node's address."""
    return {
        "AWS_BATCH_JOB_ID": f"{job}#{number}",
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JOB_NODE_INDEX": str(number),
        "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
        "AWS_BATCH_JOB_NUM_NODES": str(nodes),
    }


def _nodes(job: str) -> int:
    return int(_properties(job)["numNodes"])


def _user(job: str) -> str:
    return str(_properties(job)["nodeRangeProperties"][0]["container"]["user"])


def _properties(job: str) -> dict[str, Any]:
    """What a job's definition says of its nodes; moto leaves it out of its descriptions."""
    found: Any = get_backend("batch")[DEFAULT_ACCOUNT_ID][REGION].get_job_by_id(job)
    return dict(found.job_definition.node_properties)
