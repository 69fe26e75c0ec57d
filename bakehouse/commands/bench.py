"""`bakehouse bench`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bakehouse.bench.measurements import Measurements

HELP = """Benchmarks of a machine or a cluster.

Example:

    bakehouse bench collectives
"""

COLLECTIVES_HELP = """
How fast processes talk to each other, and whether what arrives is right.

Measures all_reduce, all_gather, reduce_scatter, all_to_all, broadcast and sendrecv at sizes from 8
bytes to what memory allows, over gloo on CPUs and NCCL on GPUs (Neuron's collectives on Trainium;
neither was run). Times, algorithm and bus bandwidth are those of nccl-tests; every element that
arrives is compared.

Examples:

    bakehouse bench collectives --most 64MiB

    bakehouse bench collectives --image gpu --gpus --processes 8 --plot busbw.svg

    bakehouse bench collectives --here --operations all_reduce --json

    bakehouse bench collectives --compare nccl-tests.txt     # beside the output of all_reduce_perf

Between machines, the same program is started by the cluster's own means:

    srun --nodes=2 torchrun --nnodes=2 ... -m collectives    # PYTHONPATH=containers/shared

Exit status: 0 all is right; 1 numbers arrived that are wrong; 2 wrong input; 3 this machine lacks
something; 6 the measurement failed.
"""

_UNITS = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "B": 1}


def register(application: typer.Typer) -> None:
    """Add this command to the command line."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command(name="collectives", help=COLLECTIVES_HELP)(collectives)
    application.add_typer(group, name="bench")


def collectives(
    *,
    processes: Annotated[int, typer.Option("--processes", min=2)] = 2,
    least: Annotated[str, typer.Option(help="Smallest size, such as 8 or 1KiB.")] = "8",
    most: Annotated[
        str | None, typer.Option(help="Largest size; what memory allows unless given.")
    ] = None,
    operations: Annotated[
        str | None, typer.Option(help="Some of them, separated by commas.")
    ] = None,
    image: Annotated[
        str, typer.Option(help="Image of images.yml in which it runs, or a docker reference.")
    ] = "cpu",
    gpus: Annotated[bool, typer.Option("--gpus", help="Let the container see all GPUs.")] = False,
    here: Annotated[
        bool, typer.Option("--here", help="No container: the torchrun that is in the PATH.")
    ] = False,
    compare: Annotated[
        Path | None, typer.Option(help="File with what a program of nccl-tests printed.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a drawing there, as SVG.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for all of it.")] = 900.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of a table.")] = False,
) -> None:
    """Measure, and show or write what was found."""
    from bakehouse.bench import nccl_tests
    from bakehouse.bench.measurements import from_output
    from bakehouse.bench.processes import command, in_container
    from bakehouse.bench.processes import here as run_here
    from bakehouse.console import progress, results
    from bakehouse.errors import CheckError

    theirs = nccl_tests.read(compare) if compare else []
    options = [f"--least={_bytes('--least', least)}"]
    options += [f"--most={_bytes('--most', most)}"] if most else []
    options += [f"--operations={_operations(operations)}"] if operations else []
    arguments = command(processes, options)
    with progress.status("measuring"):
        if here:
            lines = run_here(arguments, timeout_s=timeout)
        else:
            lines = in_container(_image(image), arguments, gpus=gpus, timeout_s=timeout)
    measured = from_output(lines)
    ratios = {(o, size): ratio for o, size, ratio in nccl_tests.ratios(measured.found, theirs)}
    if plot:
        _write_plot(plot, measured)
    if as_json:
        compared = [{"operation": o, "bytes": s, "ratio": r} for (o, s), r in ratios.items()]
        content = measured.as_json() | ({"nccl_tests": compared} if compare else {})
        typer.echo(json.dumps(content, indent=1))
    else:
        results.print(_table(measured, ratios if compare else None))
    if measured.wrong:
        raise CheckError(
            f"{measured.wrong} numbers arrived with another value",
            where=", ".join(sorted({one.operation for one in measured.found if one.wrong})),
            remedy="look at memory, links and the versions of what carries the messages",
        )


def _bytes(option: str, text: str) -> int:
    from bakehouse.errors import InputError

    digits = text.rstrip("BbGgIiKkMm ")
    unit = text[len(digits) :].strip().upper() or "B"
    if not digits.isdigit() or int(digits) == 0 or unit not in _UNITS:
        raise InputError(
            f"{text!r} is no size", where=option, remedy="for example 8, 64KiB, 16MiB or 1GiB"
        )
    return int(digits) * _UNITS[unit]


OPERATIONS = (
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "sendrecv",
)  # fmt: skip
"""As in containers/shared/collectives/bandwidth.py, which a test compares."""


def _operations(text: str) -> str:
    from bakehouse.errors import InputError
    from bakehouse.stacks.validation import suggestion

    for name in text.split(","):
        if name not in OPERATIONS:
            raise InputError(
                f"there is no operation {name}",
                where="--operations",
                remedy=suggestion(name, OPERATIONS),
            )
    return text


def _image(name: str) -> str:
    from bakehouse.images import get_image, latest, load_images

    if ":" in name or ("/" in name and not name.startswith("case/")):
        return name
    return latest(name if name in load_images() else get_image(name).name)


def _write_plot(path: Path, measured: "Measurements") -> None:
    from bakehouse.bench.plot import svg
    from bakehouse.errors import HostError

    title = f"{measured.ranks} processes over {measured.backend}, torch {measured.torch}"
    try:
        path.write_text(svg(measured, title), encoding="utf-8")
    except OSError as error:
        raise HostError(f"the drawing cannot be written: {error}", where=str(path)) from error


def _table(measured: "Measurements", ratios: "dict[tuple[str, int], float] | None") -> object:
    from rich.table import Table

    from bakehouse.bench.plot import size_text

    title = f"{measured.ranks} processes over {measured.backend}, torch {measured.torch}"
    table = Table(title=title, title_justify="left")
    for heading in ("operation", "size", "time, us", "algbw, GB/s", "busbw, GB/s", "wrong"):
        table.add_column(heading, justify="left" if heading == "operation" else "right")
    if ratios is not None:
        table.add_column("of nccl-tests' busbw", justify="right")
    for one in measured.found:
        cells = [one.operation, size_text(one.bytes), f"{one.time_us:.1f}"]
        cells += [f"{one.algbw:.3g}", f"{one.busbw:.3g}", str(one.wrong)]
        if ratios is not None:
            ratio = ratios.get((one.operation, one.bytes))
            cells.append(f"{ratio:.2f}x" if ratio is not None else "")
        table.add_row(*cells)
    return table
