"""The only module that starts Packer."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from bakehouse import engine, layout, scratch
from bakehouse.builder import host_configuration, identity, plan, wheelhouse
from bakehouse.builder.buildkit import Step
from bakehouse.builder.children import bound
from bakehouse.builder.failures import relevant_lines
from bakehouse.builder.progress import show
from bakehouse.builder.supply import Supply
from bakehouse.errors import BuildError
from bakehouse.machines.output import Output
from bakehouse.machines.plan import BUILD_LABEL, IMAGE_LABEL, Bake

HOST = "/run/bakehouse/host"
"""Where packer/ mounts this host's network configuration during a bake."""

_LOOK_S = 0.05

_END_S = 30
"""Packer needs about a second to end Ansible and to remove its container."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image that Packer made, and the roles that made it, by name."""

    image_id: str
    steps: dict[str, Step]


@dataclass(frozen=True)
class _Call:
    """One `packer build`: what is started, the container it bakes in, where its files go."""

    command: Sequence[str]
    container: str
    temporary: Path
    log: Path


def build(job: Bake, supply: Supply | None = None) -> Built:
    """Run `packer build`; writes packer.log and packer-manifest.json beside the other results.

    Raises:
        BuildError: A role failed. The container is gone.
        DownloadError: A wheel cannot be had, or is not what its record promises.
    """
    out = layout.OUT / job.image.name
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "packer-manifest.json"
    with (
        host_configuration.files(job.image.name, HOST, supply) as host,
        scratch.folder("packer") as temporary,
    ):
        variables = temporary / "variables.json"
        variables.write_text(json.dumps(_variables(job, host)), encoding="utf-8")
        container = f"bakehouse-packer-{job.image.name}-{uuid4().hex[:8]}"
        given = {
            **_given(job, host, supply),
            "container": container,
            "variables_file": variables,
            "manifest": manifest,
        }
        options = [part for name, text in given.items() for part in ("-var", f"{name}={text}")]
        command = ["packer", "build", "-color=false", *options, str(layout.PACKER)]
        call = _Call(command, container, temporary, out / "packer.log")
        steps = _run(job, call)
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
        "image": job.image.name,
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


def _environment() -> dict[str, str]:
    """Environment of Packer, and so of the Ansible that it starts."""
    mitogen = find_spec("ansible_mitogen")
    assert mitogen is not None, "requirements/runtime.txt has it"
    strategies = Path(str(mitogen.origin)).parent / "plugins" / "strategy"
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # A bake took 154 s without mitogen and 119 s with it, on two busy cores.
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(strategies),
        "ANSIBLE_COLLECTIONS_PATH": str(layout.STATE / "collections"),
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "CHECKPOINT_DISABLE": "1",
    }


def _run(job: Bake, call: _Call) -> dict[str, Step]:
    """Run Packer to its end, or end it; returns the roles by name."""
    with (
        show(job.image.name, job.layers()) as on_event,
        _started(call) as process,
    ):
        output = Output(job.roles, on_event)
        for line in _lines(call.log, process):
            output.read(line)
        if process.returncode == 0:
            output.close_role()
            return output.steps
    role = f", role {output.reached}" if output.reached else ""
    text = "\n".join(relevant_lines(list(output.lines)))
    raise BuildError(
        f"the bake failed:\n{text}",
        where=f"{job.image.name}{role}",
        remedy=f"correct it and build again; all that Packer said is in {call.log}",
    )


def _lines(log: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a log as a process writes them, until it has ended."""
    with log.open(encoding="utf-8", errors="replace") as stream:
        line = ""
        while True:
            ended = process.poll() is not None
            part = stream.readline()
            line += part
            if line.endswith("\n") or (line and ended and not part):
                yield line
                line = ""
            elif ended and not part:
                return
            elif not part:
                time.sleep(_LOOK_S)


@contextmanager
def _started(call: _Call) -> Iterator[subprocess.Popen[bytes]]:
    """Packer in a session of its own, where only we end it: a second signal makes it leave things.

    Should we be killed, the kernel ends it, and it removes its container. It writes to a file since
    it would then die of a broken pipe instead.
    """
    with call.log.open("wb") as output:
        process = subprocess.Popen(
            bound(call.command),
            # An interrupted Packer leaves its private key where temporary files go.
            env={**os.environ, **_environment(), "TMPDIR": str(call.temporary)},
            cwd=layout.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_END_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        engine.remove_container(call.container)
