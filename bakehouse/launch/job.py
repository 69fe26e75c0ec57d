"""A job: the one description from which every scheduler's file is rendered."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.images import latest
from bakehouse.launch.case import Case, Launcher, load_case
from bakehouse.launch.case_image import has_cuda, image_for, stack_name
from bakehouse.launch.environment import Setting
from bakehouse.launch.job_environment import job_environment
from bakehouse.launch.node_command import Place, node_command
from bakehouse.launch.secret import Secret, parse_secret
from bakehouse.launch.shape import check_room, check_splits, room
from bakehouse.stacks.instances import Instance, get_instance

RESTARTS = 3
DOCKER_INTERFACE = "eth0"
"""What Docker calls the first interface in a container."""
IMAGE_USER = 10001
"""User and group of every test case's image."""
_JOB_NAME = re.compile(r"[a-z]([a-z0-9-]{0,50}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that fits its configuration and its machines.

    Attributes:
        name: Name of the job for the scheduler: a DNS label.
        image: Container image; None where the job runs in a virtual environment.
        image_is_local: The image was not named by the user, so only this machine is known to
            have it.
        image_lacks_cuda: The job takes GPUs, but no image of the case is made for them.
        venv: Folder of the virtual environment, on every node.
        folder: Folder of the entry point, in the image or on every node.
        instance_type: EC2 instance type as the scheduler knows it; HyperPod puts `ml.` before it.
        instance: What that type has; None for other machines.
        environment: Variables of every process, each with its reason.
        checkpoints: Folder on storage that all nodes share; None for the scheduler's usual place.
        data: Another such folder, which the job only reads; on Kubernetes the name of a claim.
        logs: Folder for the logs, which must exist.
        restarts: How often the scheduler may start the job again.
        time_limit_s: Seconds after which the scheduler ends an attempt; None for no limit.
    """

    name: str
    case: Case
    configuration: str
    image: str | None
    image_is_local: bool
    image_lacks_cuda: bool
    venv: str | None
    folder: str
    nodes: int
    processes_per_node: int
    instance_type: str | None
    instance: Instance | None
    environment: tuple[Setting, ...]
    secrets: tuple[Secret, ...]
    checkpoints: str | None
    data: str | None
    logs: str | None
    restarts: int
    time_limit_s: int | None

    @property
    def title(self) -> str:
        """One line for a person."""
        machine = f" of {self.instance_type}" if self.instance_type else ""
        shape = f"{self.nodes} nodes{machine} x {self.processes_per_node} processes"
        return f"{self.case.title}: {self.case.name}, {self.configuration}, {shape}"

    @property
    def gpus(self) -> int:
        """GPUs of each node that the job takes: one for each process."""
        if self.instance is not None:
            return min(self.processes_per_node, self.instance.gpus)
        on_gpus = self.case.configuration(self.configuration).device == "gpu"
        return self.processes_per_node if on_gpus else 0

    @property
    def neuron_devices(self) -> int:
        """Neuron devices of each node that the job takes."""
        device = self.case.configuration(self.configuration).device
        if self.instance is None or device != "neuron":
            return 0
        cores_per_device = self.instance.neuron_cores // self.instance.neuron_devices
        return -(-self.processes_per_node // cores_per_device)

    @property
    def efa_interfaces(self) -> int:
        """EFA interfaces of each node that the job takes: all, or the share of its accelerators."""
        if self.instance is None or self.nodes == 1:
            return 0
        device = self.case.configuration(self.configuration).device
        places, _ = room(self.instance, device)
        if not (self.gpus or self.neuron_devices):
            return self.instance.efa_interfaces
        return -(-self.instance.efa_interfaces * self.processes_per_node // places)

    def node_command(self, place: Place, *, checkpoints: str) -> list[str]:
        """Arguments that start the processes of one node, in the folder of the entry point."""
        return node_command(
            self.case,
            self.configuration,
            str(self.processes_per_node),
            place,
            checkpoints=checkpoints,
        )


def prepare(
    name: str,
    launcher: Launcher,
    *,
    configuration: str | None = None,
    nodes: int | None = None,
    processes_per_node: int | None = None,
    instance: str | None = None,
    image: str | None = None,
    venv: str | None = None,
    code: str | None = None,
    checkpoints: str | None = None,
    data: str | None = None,
    logs: str | None = None,
    secrets: Sequence[str] = (),
    job_name: str | None = None,
    restarts: int = RESTARTS,
    time_limit_s: int | None = None,
    interface: str | None = None,
) -> Job:
    """Check everything that can be checked without the scheduler.

    None means what the configuration is meant for, or else the case's own value.

    Raises:
        InputError: A name, a number or a path is wrong; says what was perhaps meant.
    """
    case = load_case(name)
    _check_launcher(case, launcher)
    chosen = configuration or case.default_configuration
    wanted = case.configuration(chosen)
    # The instance that a configuration was made for says nothing about this machine.
    instance_type = instance or (wanted.instance if launcher != "docker" else None)
    profile = get_instance(instance_type.removeprefix("ml.")) if instance_type else None
    node_count = nodes or _usual_nodes(case, chosen, launcher)
    processes = processes_per_node or _usual_processes(case, chosen, profile)
    check_splits(case, chosen, node_count, processes)
    if instance_type and profile:
        check_room(instance_type, profile, wanted.device, processes)
    for option, path in (
        ("--venv", venv),
        ("--code", code),
        ("--checkpoints", checkpoints),
        ("--data", data),
        ("--logs", logs),
    ):
        _check_path(option, path, launcher)
    gpus = wanted.device == "gpu" or bool(profile and profile.gpus)
    own_image = image_for(name, gpus=gpus)
    return Job(
        name=_job_name(job_name or f"{case.name}-{chosen}"),
        case=case,
        configuration=chosen,
        image=None if venv else image or latest(own_image.name if own_image else name),
        image_is_local=image is None,
        image_lacks_cuda=(gpus and not (venv or image) and not (own_image and has_cuda(own_image))),
        venv=venv,
        folder=_folder(case, venv, code),
        nodes=node_count,
        processes_per_node=processes,
        instance_type=instance_type,
        instance=profile,
        environment=(
            *job_environment(
                case,
                stack=(stack_name(own_image) if own_image else None) or case.stack,
                instance=instance_type.removeprefix("ml.") if instance_type else None,
                nodes=node_count,
                launcher=launcher,
                processors=profile.vcpus if profile else None,
                processes_per_node=processes,
                interface=interface or (DOCKER_INTERFACE if launcher == "docker" else None),
            ),
            *_python_path(case, venv, code),
        ),
        secrets=_secrets(secrets, launcher),
        checkpoints=checkpoints,
        data=data,
        logs=logs,
        restarts=restarts,
        time_limit_s=time_limit_s,
    )


def _check_launcher(case: Case, launcher: Launcher) -> None:
    if launcher not in case.launchers:
        raise InputError(
            f"the test case {case.name} does not run on {launcher}",
            where="--on",
            remedy=f"one of: {', '.join(case.launchers)}",
        )


def _usual_nodes(case: Case, configuration: str, launcher: Launcher) -> int:
    """Those that a configuration is meant for; of one machine's GPUs one node takes all."""
    wanted = case.configuration(configuration)
    if launcher != "docker":
        return wanted.nodes or case.resources.nodes
    return 1 if wanted.device == "gpu" else case.resources.nodes


def _usual_processes(case: Case, configuration: str, instance: Instance | None) -> int:
    """One for each accelerator; without any as many as the case says."""
    if instance is not None:
        places, what = room(instance, case.configuration(configuration).device)
        if what != "processors":
            return places or case.resources.processes_per_node
    return case.resources.processes_per_node


def _check_path(option: str, path: str | None, launcher: Launcher) -> None:
    if path is None or launcher == "docker":
        return
    if launcher == "kubernetes":
        _check_claim(option, path)
    elif not PurePosixPath(path).is_absolute() or not path.isprintable() or ":" in path:
        raise InputError(
            f"{path!r} is no path that all nodes know",
            where=option,
            remedy="give an absolute path without colons, on storage that the nodes share",
        )


def _check_claim(option: str, name: str) -> None:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
        raise InputError(
            f"{name!r} cannot be the name of a PersistentVolumeClaim",
            where=option,
            remedy="give the name of a claim; pods see it as /data",
        )


def _job_name(name: str) -> str:
    if not _JOB_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a job",
            where="--job-name",
            remedy="small letters, digits and hyphens, a letter first, at most 52 of them",
        )
    return name


def _folder(case: Case, venv: str | None, code: str | None) -> str:
    if venv is None:
        return f"/opt/{case.name}"
    return code or str(layout.CONTAINERS / case.name)


def _python_path(case: Case, venv: str | None, code: str | None) -> list[Setting]:
    """In the repository the shared packages lie elsewhere than in an image."""
    if venv is None or code is not None or not case.shared:
        return []
    return [
        Setting(
            variable="PYTHONPATH",
            value=str(layout.SHARED),
            reason=f"the entry point imports {', '.join(case.shared)} from there",
        )
    ]


def _secrets(given: Sequence[str], launcher: Launcher) -> tuple[Secret, ...]:
    secrets = tuple(parse_secret(text, launcher) for text in given)
    names = [secret.variable for secret in secrets]
    if len(set(names)) < len(names):
        raise InputError("a secret is named twice", where="--secret", remedy="name it once")
    return secrets
