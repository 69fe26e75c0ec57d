"""The command line that launchers use: the same for every entry point."""

import argparse
from pathlib import Path


def parser(default_configuration: Path, *, changes: bool = True) -> argparse.ArgumentParser:
    """Return a parser of what every entry point takes; what it does not know is an error.

    Args:
        default_configuration: What is trained unless told otherwise.
        changes: Whether `--set NAME=VALUE` may change the configuration.
    """
    made = argparse.ArgumentParser(allow_abbrev=False)
    made.add_argument("--configuration", type=Path, default=default_configuration)
    made.add_argument("--checkpoints", type=Path, required=True, help="a folder of all nodes")
    made.add_argument("--timeout-s", type=float, default=120, help="patience with other ranks")
    if changes:
        told = "another value for a key of the configuration; may be given several times"
        made.add_argument("--set", type=_change, action="append", default=[], help=told)
    return made


def _change(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value
