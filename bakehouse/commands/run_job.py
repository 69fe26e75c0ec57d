"""`bakehouse run --on` a scheduler, and `--dry-run`."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from bakehouse.console import progress, results
from bakehouse.errors import InputError
from bakehouse.launch.case import Launcher
from bakehouse.stacks.validation import suggestion

if TYPE_CHECKING:
    from bakehouse.launch.job import Job
    from bakehouse.launch.scheduler import Options

# Whom an option speaks to; the others would not listen, and the user would not know.
_ONLY: dict[str, tuple[Launcher, ...]] = {
    "venv": ("slurm",),
    "code": ("slurm",),
    "logs": ("slurm",),
    "partition": ("slurm",),
    "checkpoints": ("slurm", "batch", "docker"),
    "data": ("slurm", "kubernetes", "batch"),
    "restarts": ("slurm", "kubernetes", "batch"),
    "kind": ("kubernetes",),
    "namespace": ("kubernetes",),
    "claim": ("kubernetes",),
    "queue": ("batch",),
    "execution_role": ("batch",),
    "job_role": ("batch",),
    "region": ("batch",),
    "part": ("batch",),
    "kill_node": ("docker",),
    "kill_after_step": ("docker",),
    "output": ("docker",),
}


def known_launcher(name: str) -> Launcher:
    """A launcher by name.

    Raises:
        InputError: There is none of that name.
    """
    launchers: tuple[Launcher, ...] = get_args(Launcher)
    for launcher in launchers:
        if name == launcher:
            return launcher
    remedy = suggestion(name, launchers)
    raise InputError(f"there is no launcher {name}", where="--on", remedy=remedy)


def refuse_misplaced(launcher: Launcher, given: Mapping[str, Any]) -> None:
    """Refuse options that the chosen launcher does nothing with.

    Raises:
        InputError: There is one.
    """
    for name, value in given.items():
        listeners = _ONLY.get(name)
        if value and listeners is not None and launcher not in listeners:
            raise InputError(
                f"it says nothing to {launcher}",
                where=f"--{name.replace('_', '-')}",
                remedy=f"leave it out, or run --on {' or '.join(listeners)}",
            )


def prepared(case: str, launcher: Launcher, given: Mapping[str, Any]) -> "Job":
    """The job that the options describe.

    Raises:
        InputError: Something about it is wrong.
    """
    from bakehouse.launch.job import RESTARTS, prepare

    names = (
        "configuration", "nodes", "processes_per_node", "instance", "image", "venv", "code",
        "checkpoints", "data", "logs", "job_name", "interface",
    )  # fmt: skip
    timeout, restarts = given["timeout"], given["restarts"]
    return prepare(
        case,
        launcher,
        **{name: given[name] for name in names},
        secrets=given["secret"] or (),
        restarts=RESTARTS if restarts is None else restarts,
        time_limit_s=int(timeout) if timeout else None,
    )


def run_job(case: str, launcher: Launcher, given: Mapping[str, Any], *, dry_run: bool) -> None:
    """Print what a scheduler would get, or give it.

    Raises:
        InputError: An option is wrong.
        HostError: This machine cannot reach the scheduler.
        RunError: The scheduler refuses the job.
    """
    from bakehouse.launch.scheduler import render, submit

    job, options = prepared(case, launcher, given), _options(given)
    if job.image_lacks_cuda:
        told = (
            f"no image of {case} is made for GPUs: {job.image} trains on processors, give --image"
        )
        progress.print(f"[bold yellow]warning:[/] {told}")
    if dry_run:
        sys.stdout.write(render(job, launcher, options, given["part"]))
        return
    if job.image_is_local and launcher in {"kubernetes", "batch"}:
        progress.print(f"no --image: the nodes must have {job.image} already", markup=False)
    results.print(submit(job, launcher, options, given["region"]), markup=False, highlight=False)


def _options(given: Mapping[str, Any]) -> "Options":
    from bakehouse.launch.batch import BatchOptions
    from bakehouse.launch.kubernetes import Kind, KubernetesOptions
    from bakehouse.launch.scheduler import Options
    from bakehouse.launch.slurm import SlurmOptions

    kind: Kind = given["kind"] or "pytorchjob"
    part = given["part"]
    _one_of("--kind", kind, ("pytorchjob", "job"))
    if part is not None:
        _one_of("--part", part, ("register-job-definition", "submit-job"))
    return Options(
        slurm=SlurmOptions(partition=given["partition"]),
        kubernetes=KubernetesOptions(kind=kind, namespace=given["namespace"], claim=given["claim"]),
        batch=BatchOptions(
            queue=given["queue"] or BatchOptions.queue,
            execution_role=given["execution_role"],
            job_role=given["job_role"],
        ),
    )


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"there is no {value}", where=option, remedy=suggestion(value, choices))
