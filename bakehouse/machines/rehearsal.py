"""A machine image rehearsed: Packer bakes it in a container that boots systemd."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from bakehouse import engine, judge, layout, scratch
from bakehouse.builder import host_configuration, plan, wheelhouse
from bakehouse.builder.buildkit import Step
from bakehouse.builder.supply import Supply
from bakehouse.machines import judgement, judging, packer, told
from bakehouse.machines.plan import BUILD_LABEL, IMAGE_LABEL, Bake
from bakehouse.report import inventory, sbom

SBOM = "build.cdx.json"
HOST = "/run/bakehouse/host"
"""Where packer/ mounts this host's network configuration during a bake."""

_END_S = 30
"""Packer needs about a second to end Ansible and to remove its container."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image that Packer made, which has no name yet, and the roles that made it.

    Attributes:
        image_id: Docker's.
        steps: The roles by name.
        sizes: Bytes that each wrote.
    """

    image_id: str
    steps: dict[str, Step]
    sizes: dict[str, int]


def build(job: Bake, supply: Supply | None = None) -> Built:
    """Run `packer build`, and judge what it makes before and after it is an image.

    Writes packer.log, packer-manifest.json, judged.json and build.cdx.json, the SBOM of what was
    judged, beside the other results.

    Raises:
        BuildError: A role failed, or the judgement. Neither container nor image is left.
        DownloadError: A wheel cannot be had, or is not what its record promises.
        HostError: There is no Packer, or it is too old.
    """
    out = layout.OUT / job.image.name
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "packer-manifest.json"
    container = f"bakehouse-packer-{job.image.name}-{uuid4().hex[:8]}"
    with (
        host_configuration.files(job.image.name, HOST, supply) as host,
        scratch.folder("packer") as temporary,
    ):
        variables = temporary / "variables.json"
        variables.write_text(
            json.dumps(told.variables(job.image, job.stack, plan.build_id(job.whole.key), host)),
            encoding="utf-8",
        )
        given = {
            **_given(job, host, supply),
            "container": container,
            "variables_file": variables,
            "manifest": manifest,
        }
        if job.part is not None:
            playbook = temporary / "playbook.yml"
            playbook.write_text(json.dumps(job.part.plays, indent=1), encoding="utf-8")
            given["playbook_file"] = playbook
        call = packer.Call(
            image=job.image.name,
            stack=job.stack.name,
            layers=job.layers(),
            only="docker",
            given=given,
            temporary=temporary,
            log=out / "packer.log",
            end_s=_END_S,
            judged=out / "judged.json",
            left_out=["docker-tag"],
        )
        try:
            steps = packer.run(call)
        finally:
            engine.remove_container(container)
    builds = json.loads(manifest.read_text(encoding="utf-8"))["builds"]
    image_id = str(builds[-1]["artifact_id"])
    if job.private:
        return Built(image_id=image_id, steps=steps, sizes={})
    try:
        found = _found(job, image_id, call)
        refused = judgement.refusal(call.image, call.judged, call.log, steps)
        if refused is not None:
            raise refused
    except BaseException:
        engine.remove_if_unused(image_id)
        raise
    contents = inventory.from_json(found["inventory"])
    text = sbom.cyclonedx(job.image.name, image_id, contents, datetime.now(UTC))
    (out / SBOM).write_text(text, encoding="utf-8")
    return Built(image_id=image_id, steps=steps, sizes=judgement.sizes(found, steps))


def _found(job: Bake, image_id: str, call: packer.Call) -> dict[str, Any]:
    """The judge's findings, with what can be seen only on an image that has never booted."""
    found = dict(json.loads(call.judged.read_text(encoding="utf-8")))
    found["results"] += [
        asdict(result) for result in judge.never_booted(job.image, image_id, job.stack)
    ]
    call.judged.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _given(job: Bake, host: Path, supply: Supply | None) -> dict[str, object]:
    """Values of the variables of packer/."""
    labels = {
        IMAGE_LABEL: job.image.name,
        BUILD_LABEL: job.whole.key,
        "org.bakehouse.stack": f"{job.stack.name}@sha256:{job.stack.digest}",
    }
    return {
        "image": job.part.listed if job.part is not None else job.image.name,
        "namespace": layout.NAMESPACE,
        "playbook": job.image.playbook,
        "stack": job.stack.name,
        "base_image": job.base,
        "owner": engine.owner_label()[engine.OWNER],
        "wheelhouse": wheelhouse.prepare(job.stack, supply=supply),
        "host_configuration": host,
        "environment": json.dumps(_network(host)),
        "cgroup_mount": engine.cgroup_mount(),
        "labels": json.dumps(labels),
        "judge": "" if job.private else judging.PROGRAM,
    }


def _network(host: Path) -> dict[str, str]:
    """What makes apt, pip and Python inside the machine reach the network as this host does."""
    certificates = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    files = {
        "APT_CONFIG": "apt.conf",
        "PIP_CONFIG_FILE": "pip.conf",
        **dict.fromkeys(certificates, "ca.pem"),
    }
    return {name: f"{HOST}/{file}" for name, file in files.items() if (host / file).is_file()}
