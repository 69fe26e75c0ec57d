"""A machine image rehearsed: Packer bakes it in a container that boots systemd."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from bakehouse import engine, layout, scratch
from bakehouse.builder import host_configuration, identity, plan, wheelhouse
from bakehouse.builder.buildkit import Step
from bakehouse.builder.supply import Supply
from bakehouse.machines import packer
from bakehouse.machines.plan import BUILD_LABEL, IMAGE_LABEL, Bake

HOST = "/run/bakehouse/host"
"""Where packer/ mounts this host's network configuration during a bake."""

_END_S = 30
"""Packer needs about a second to end Ansible and to remove its container."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image that Packer made, and the roles that made it, by name."""

    image_id: str
    steps: dict[str, Step]


def build(job: Bake, supply: Supply | None = None) -> Built:
    """Run `packer build`; writes packer.log and packer-manifest.json beside the other results.

    Raises:
        BuildError: A role failed. The container is gone.
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
        variables.write_text(json.dumps(_variables(job, host)), encoding="utf-8")
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
            layers=job.layers(),
            only="docker",
            given=given,
            temporary=temporary,
            log=out / "packer.log",
            end_s=_END_S,
            left_out=["docker-tag"],
        )
        try:
            steps = packer.run(call)
        finally:
            engine.remove_container(container)
    builds = json.loads(manifest.read_text(encoding="utf-8"))["builds"]
    return Built(image_id=str(builds[-1]["artifact_id"]), steps=steps)


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
    }


def _variables(job: Bake, host: Path) -> dict[str, Any]:
    """Ansible variables beyond the stack's."""
    mirrors = host / "mirrors.json"
    return {
        **(json.loads(mirrors.read_text(encoding="utf-8")) if mirrors.is_file() else {}),
        **identity.values(job.image, job.stack),
        "image_info_build": plan.build_id(job.whole.key),
        "bakehouse_package_lists_valid_s": plan.LISTS_VALID_S,
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
