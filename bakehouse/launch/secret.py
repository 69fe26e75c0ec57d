"""Secrets of a job: names, and where a scheduler finds the values, which nobody reads here."""

import re
from dataclasses import dataclass

from bakehouse.errors import InputError
from bakehouse.launch.case import Launcher

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_PLACES: dict[Launcher, tuple[re.Pattern[str], str]] = {
    "docker": (re.compile(r"(?!)"), "nothing: it is taken from the environment"),
    "slurm": (
        re.compile(r"/[^\0\n]+"),
        "the absolute path of a file of mode 600, or nothing for the environment of sbatch",
    ),
    "kubernetes": (
        re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+"),
        "SECRET/KEY of a Kubernetes Secret, or nothing for a Secret of the job's name",
    ),
    "batch": (
        re.compile(r"arn:aws[a-z-]*:(secretsmanager|ssm):\S+"),
        "the ARN of a secret in Secrets Manager, or of a parameter in Systems Manager",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A variable whose value only the scheduler knows.

    Attributes:
        variable: Name in the environment of the processes.
        place: Where the scheduler finds the value; None for its usual place.
    """

    variable: str
    place: str | None


def parse_secret(text: str, launcher: Launcher) -> Secret:
    """Read NAME or NAME=PLACE.

    Raises:
        InputError: It is neither; never repeats what may be the secret itself.
    """
    variable, separator, place = text.partition("=")
    if not _VARIABLE.fullmatch(variable):
        raise InputError(
            "a secret begins with the name of a variable, in capitals",
            where="--secret",
            remedy="for example --secret HF_TOKEN",
        )
    pattern, wanted = _PLACES[launcher]
    if (separator and not pattern.fullmatch(place)) or (not separator and launcher == "batch"):
        raise InputError(
            f"what stands after {variable} does not say where its value is (never give the value)",
            where="--secret",
            remedy=f"on {launcher} give {wanted}",
        )
    return Secret(variable=variable, place=place or None)
