"""Is what a job needs to start there: identity, interpreter, framework, no secrets lying about."""

from __future__ import annotations

import re

from bakehouse.checks.host import VENV_PYTHON, Host
from bakehouse.checks.registry import check
from bakehouse.checks.result import Outcome, judged, skipped

PYTORCH = ("pytorch", "pytorch_neuron")
PYTHON = ("python", *PYTORCH)
"""Components that bring the training environment."""

KEYS = ("image", "kind", "build", "commit", "stack", "components", "os")
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY)", re.IGNORECASE)


@check("image-identity", "environment", "The image says what it is")
def image_identity(host: Host) -> Outcome:
    """The identity file is there and complete."""
    identity = host.identity()
    if identity is None:
        return Outcome(
            "fail", None, host.identity_path, "role image_info",
            "there is no identity file", "bake the image with the role image_info",
        )  # fmt: skip
    missing = [key for key in KEYS if not identity.get(key)]
    return judged(
        not missing,
        f"{identity.get('image')} {identity.get('build')}",
        "all keys",
        "role image_info",
        reason=f"without {', '.join(missing)}",
        remedy="bake the image again",
    )


@check("python-environment", "environment", "The training environment has a Python")
def python_environment(host: Host) -> Outcome:
    """The virtual environment's interpreter runs; nodes that only run containers have none."""
    if not _may_have(host, PYTHON):
        return skipped("the image has no training environment of its own")
    status, output, errors = host.run(
        VENV_PYTHON, "-c", "import platform; print(platform.python_version())"
    )
    return judged(
        status == 0 and re.match(r"\d+\.\d+\.\d+", output) is not None,
        output.strip()[:80] or None,
        f"{VENV_PYTHON} runs",
        "role python",
        reason=errors.strip()[-200:] or "it does not say its version",
        remedy="bake the image with the role python",
    )


@check("torch-import", "environment", "PyTorch imports")
def torch_import(host: Host) -> Outcome:
    """PyTorch can be imported."""
    if not _may_have(host, PYTORCH):
        return skipped("the image has no PyTorch of its own")
    facts = host.torch()
    return judged(
        "error" not in facts,
        facts.get("version"),
        "imports",
        "role pytorch",
        reason=str(facts.get("error", "")),
        remedy="bake the image with the role pytorch",
    )


@check("torch-backends", "environment", "PyTorch has its CPU backends")
def torch_backends(host: Host) -> Outcome:
    """gloo for communication, oneDNN and OpenMP for speed."""
    facts = host.torch()
    if "error" in facts:
        return skipped("PyTorch does not import")
    wanted = ("gloo", "mkldnn", "openmp")
    there = [name for name in wanted if facts.get(name)]
    return judged(
        len(there) == len(wanted),
        ", ".join(there),
        ", ".join(wanted),
        "PyTorch's own build flags",
        remedy="use a build of PyTorch that has them",
    )


@check("secrets-in-environment", "environment", "No secrets in the environment")
def secrets_in_environment(host: Host) -> Outcome:
    """No variable is named like a secret; values are never shown."""
    names = sorted(name for name in host.environment if _SECRET.search(name))
    return judged(
        not names,
        ", ".join(names) or "none",
        "none",
        "names like TOKEN, SECRET, PASSWORD, KEY",
        reason="every process of the job can read them, and logs may show them",
        remedy="hand secrets over in files that only the job can read",
    )


def _may_have(host: Host, names: tuple[str, ...]) -> bool:
    """Whether the image has one of these components; one that does not say what it has may."""
    identity = host.identity()
    if identity is None or not identity.get("components"):
        return True
    return any(component.get("component") in names for component in identity["components"])
