"""`bakehouse run`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bakehouse.commands import run_options

if TYPE_CHECKING:
    from bakehouse.launch.request import Request
    from bakehouse.launch.run_record import RunRecord
    from bakehouse.launch.summary import Summary

HELP = """Run a test case: on this machine, where each node is a container, or on a scheduler.

On this machine results go to `out/<image>/run/`: `run.json` (what happened, every logged step),
one log for each node, and the checkpoints. The old ones are removed when the new run begins.

Examples:

    bakehouse run cpu-ddp                                          # to the end, unbroken

    bakehouse run cpu-ddp --kill-node 1 --kill-after-step 60       # kill a node, then resume

    bakehouse run cpu-ddp --if-changed                             # only in a new image

    bakehouse run cpu-ddp --nodes 1 --nproc 4 --model digits-mlp

    bakehouse run cpu-ddp --json --output /tmp/run | jq .accuracy

    bakehouse run cpu-ddp --on slurm --image /fsx/cpu-ddp.sqsh --dry-run > job.sbatch

    bakehouse run cpu-ddp --on kubernetes --image REGISTRY/cpu-ddp --claim fsx --dry-run

    bakehouse run cpu-ddp --on batch --image REGISTRY/cpu-ddp --queue p5

See docs/launch.md for what each scheduler is given, and how to submit it without Bakehouse.

Exit status: 0 done and as promised; 1 the accuracy, the number of processes or the repeated steps
are not as the test case promises; 2 wrong input; 3 this machine lacks something; 6 the run failed;
130 interrupted.
"""


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""

    @application.command(name="run", help=HELP)
    def run_command(
        case: Annotated[
            str,
            typer.Argument(help="Test case: a folder of containers/.", autocompletion=_case_names),
        ],
        *,
        on: run_options.On = "docker",
        model: run_options.Model = None,
        nodes: run_options.Nodes = None,
        nproc: run_options.Processes = None,
        instance: run_options.Instance = None,
        dry_run: run_options.DryRun = False,
        kill_node: Annotated[
            int | None,
            typer.Option(min=0, help="Kill this node in mid-training, then start all again."),
        ] = None,
        kill_after_step: Annotated[
            int | None,
            typer.Option(min=1, help="Kill once this step is logged and a checkpoint is there."),
        ] = None,
        image: Annotated[
            str | None,
            typer.Option(help="Image: of a registry, or a squash file. Default: the last built."),
        ] = None,
        secret: run_options.Secret = None,
        output: Annotated[
            Path | None, typer.Option(help="Folder for the results, empty or of an earlier run.")
        ] = None,
        timeout: Annotated[
            float | None,
            typer.Option(
                min=1,
                help="Seconds for the whole run, attempts together; for a scheduler, of an "
                "attempt. Default: 600 on docker, no limit on a scheduler.",
            ),
        ] = None,
        keep: Annotated[
            bool, typer.Option("--keep", help="Leave containers and network for a look at them.")
        ] = False,
        if_changed: Annotated[
            bool, typer.Option("--if-changed", help="Keep a finished run of the same image.")
        ] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the figures as JSON instead of a table.")
        ] = False,
        checkpoints: run_options.Checkpoints = None,
        data: run_options.Data = None,
        logs: run_options.Logs = None,
        job_name: run_options.JobName = None,
        restarts: run_options.Restarts = None,
        interface: run_options.Interface = None,
        venv: run_options.Venv = None,
        code: run_options.Code = None,
        partition: run_options.Partition = None,
        kind: run_options.Kind = None,
        namespace: run_options.Namespace = None,
        claim: run_options.Claim = None,
        queue: run_options.Queue = None,
        execution_role: run_options.ExecutionRole = None,
        job_role: run_options.JobRole = None,
        region: run_options.AwsRegion = None,
        part: run_options.Part = None,
    ) -> None:
        given = {"configuration": model, "processes_per_node": nproc, **locals()}
        from bakehouse.commands import run_job
        from bakehouse.console import progress, results
        from bakehouse.errors import CheckError
        from bakehouse.launch.docker_launcher import launch
        from bakehouse.launch.earlier import same_run
        from bakehouse.launch.progress import RunProgress
        from bakehouse.launch.request import prepare
        from bakehouse.launch.summary import summarise

        launcher = run_job.known_launcher(on)
        run_job.refuse_misplaced(launcher, given)
        if dry_run or launcher != "docker":
            run_job.run_job(case, launcher, given, dry_run=dry_run)
            return
        if instance is not None:
            run_job.prepared(case, launcher, given)
        request = prepare(
            case,
            nodes=nodes,
            processes_per_node=nproc,
            kill_node=kill_node,
            kill_after_step=kill_after_step,
            configuration=model,
            image=image,
            output=output,
            timeout_s=timeout or 600.0,
            keep=keep,
            secrets=secret or (),
        )
        record = same_run(request) if if_changed else None
        if record is not None:
            progress.print(f"[bold]{case}[/bold] has run in this image: nothing to do")
        else:
            with RunProgress(progress) as watcher:
                record = launch(request, watcher)
        summary = summarise(record)
        if as_json:
            results.print_json(data=_figures(request, record, summary))
        else:
            results.print(_table(record, summary))
            results.print(f"record and logs: {request.output}", markup=False, highlight=False)
        if summary.problems:
            raise CheckError(
                "; ".join(summary.problems),
                where=str(request.output / "run.json"),
                remedy="see the logs beside it",
            )


def _case_names(incomplete: str) -> list[str]:
    from bakehouse.launch.case import case_names

    return [name for name in case_names() if name.startswith(incomplete)]


def _figures(request: "Request", record: "RunRecord", summary: "Summary") -> dict[str, object]:
    from dataclasses import asdict

    return {
        "case": record.case,
        "configuration": record.configuration,
        "image": record.image,
        "record": str(request.output / "run.json"),
        "seconds": record.seconds,
        "expected": record.expected,
        **asdict(summary),
    }


def _table(record: "RunRecord", summary: "Summary") -> object:
    from rich.table import Table

    table = Table(title=f"{record.case}, {record.configuration}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("promised", justify="right")
    expected = record.expected
    rows = []
    for name, figure, bound in (
        ("accuracy", summary.accuracy, "at least"),
        ("loss", summary.loss, "at most"),
    ):
        if figure is not None:
            promise = expected.get(name)
            promised = f"{bound} {promise}" if promise is not None else ""
            of = f"{name} on {summary.held_out} held-out samples"
            rows.append((of, f"{figure:.4f}", promised))
    rows += [
        ("processes", str(summary.world_size), str(expected["world_size"])),
        ("steps", str(summary.steps), ""),
        (summary.unit.replace("_per_s", " per second"), f"{summary.rate:.0f}", ""),
    ]
    for attempt in record.attempts:
        if attempt.killed is not None:
            killed = attempt.killed
            rows.append((f"node {killed.node} killed", f"at step {killed.at_step}", ""))
    if summary.resumed_at is not None:
        same = summary.replayed if summary.replay_differs_at is None else "not all"
        rows += [
            ("resumed from the checkpoint", f"of step {summary.resumed_at}", ""),
            (f"losses as promised in {summary.replayed} repeated steps", str(same), "all"),
        ]
    rows.append(("seconds", f"{record.seconds:.1f}", ""))
    for row in rows:
        table.add_row(*row)
    return table
