"""`bakehouse-check`: run the checks on this machine.

Exit status: 0 nothing failed; 1 a check failed; 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable

from bakehouse.checks import collectives, environment, hygiene, node, outputs, training, versions
from bakehouse.checks.host import IDENTITY, Host
from bakehouse.checks.registry import CHECKS, run, select
from bakehouse.checks.result import GROUPS, Result, counts

MODULES = (environment, versions, node, collectives, training, hygiene)
FORMATS = ("json", "junit", "prometheus", "html")
VERSION = "1"


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and write what was asked for."""
    parser = _parser()
    options = parser.parse_args(arguments)
    targets = [path for path in map(vars(options).get, FORMATS) if path]
    if len(set(targets)) < len(targets):
        parser.error("two formats cannot go to the same place")
    if options.root and not os.path.isdir(options.root):
        parser.error(f"there is no folder {options.root}")
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that knows no arrows is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.list:
        for each in CHECKS.values():
            print(f"{each.group:<12} {each.id:<24} {each.title}")
        return 0
    try:
        chosen = select(options.group, options.check)
    except KeyError as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        return 2
    host = Host(
        root=options.root.rstrip("/"),
        identity_path=options.identity,
        run_path=options.run,
        budget_s=options.timeout,
    )
    results = run(chosen, host)
    try:
        _write(options, results, host)
    except OSError as error:
        print(f"error: the results cannot be written: {error}", file=sys.stderr)
        return 2
    return 1 if counts(results)["fail"] else 0


def _write(options: argparse.Namespace, results: list[Result], host: Host) -> None:
    try:
        identity = host.identity()
    except ValueError:
        identity = None
    texts: dict[str | None, Callable[[], str]] = {
        options.json: lambda: outputs.as_json(results, identity),
        options.junit: lambda: outputs.as_junit(results),
        options.prometheus: lambda: outputs.as_prometheus(results),
        options.html: lambda: outputs.as_html(results),
    }
    for path, text in texts.items():
        if path == "-":
            sys.stdout.write(text())
        elif path:
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text())
    if "-" not in texts:
        sys.stdout.write(outputs.as_table(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bakehouse-check",
        description="Compare this machine with what its image promises.",
        epilog="example: bakehouse-check --group versions --group node --json -",
    )
    parser.add_argument("--group", action="append", default=[], help=f"one of {', '.join(GROUPS)}")
    parser.add_argument("--check", action="append", default=[], help="one check by its id")
    parser.add_argument("--list", action="store_true", help="list the checks and end")
    parser.add_argument("--version", action="version", version=f"bakehouse-check {VERSION}")
    parser.add_argument("--run", help="run.json of a training run to judge")
    parser.add_argument("--identity", default=IDENTITY, help="the image's identity file")
    parser.add_argument("--root", default="", help="look at files below this folder")
    parser.add_argument("--timeout", type=_seconds, default=60.0, help="seconds for one program")
    for name in FORMATS:
        parser.add_argument(f"--{name}", metavar="FILE", help=f"write {name}; - is the output")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError("give a number of seconds above zero")
    return value


if __name__ == "__main__":
    sys.exit(main())
