"""Options of `bakehouse run` that say how a scheduler starts a job."""

from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "--configuration",
        help="One of the test case's configurations. Default: as case.yml says.",
    ),
]
Nodes = Annotated[
    int | None,
    typer.Option(min=1, help="Default: what the model is meant for, or as case.yml says."),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--nproc",
        "--processes-per-node",
        min=1,
        help="Processes of a node. Default: one for each accelerator, or as case.yml says.",
    ),
]
On = Annotated[str, typer.Option(help="docker (this machine), slurm, kubernetes or batch.")]
Instance = Annotated[
    str | None,
    typer.Option(help="EC2 instance type of the nodes. Default: what the model is meant for."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be submitted, complete, and end.")
]
Secret = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=PLACE]",
        help="A variable whose value the scheduler finds: slurm: /a/file of mode 600; "
        "kubernetes: SECRET/KEY; batch: its ARN. Without a place: the environment (docker, "
        "slurm), or the Secret of the job's name (kubernetes). Never the value. Repeatable.",
    ),
]
Checkpoints = Annotated[
    str | None, typer.Option(help="Folder that all nodes share (slurm, batch, docker --dry-run).")
]
Data = Annotated[
    str | None,
    typer.Option(help="Folder with data that all nodes share, read only; kubernetes: a claim."),
]
Logs = Annotated[str | None, typer.Option(help="slurm: folder for logs, which must exist.")]
JobName = Annotated[
    str | None, typer.Option(help="Name of the job. Default: of case and configuration.")
]
Restarts = Annotated[
    int | None, typer.Option(min=0, help="How often a failed job is started again. Default: 3.")
]
Venv = Annotated[
    str | None, typer.Option(help="slurm: virtual environment on every node, instead of an image.")
]
Code = Annotated[
    str | None,
    typer.Option(help="slurm, with --venv: folder of the test case on every node."),
]
Interface = Annotated[
    str | None, typer.Option(help="Network interface between nodes, where it must be told.")
]
Partition = Annotated[str | None, typer.Option(help="slurm: partition.")]
Kind = Annotated[
    str | None, typer.Option(help="kubernetes: pytorchjob (needs its operator; default) or job.")
]
Namespace = Annotated[str | None, typer.Option(help="kubernetes: namespace.")]
Claim = Annotated[
    str | None,
    typer.Option(help="kubernetes: PersistentVolumeClaim for checkpoints; else they are lost."),
]
Queue = Annotated[str | None, typer.Option(help="batch: job queue. Default: bakehouse.")]
ExecutionRole = Annotated[
    str | None, typer.Option(help="batch: ARN of the role that reads secrets.")
]
JobRole = Annotated[str | None, typer.Option(help="batch: ARN of the processes' own role.")]
AwsRegion = Annotated[
    str | None, typer.Option("--region", help="batch: AWS region. Default: the environment's.")
]
Part = Annotated[
    str | None,
    typer.Option(help="batch, with --dry-run: print only register-job-definition or submit-job."),
]
