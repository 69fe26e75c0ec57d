"""Test cases that need nothing but their description."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def write_case(containers: Path, name: str, **values: Any) -> None:
    """Write containers/<name>/ with a description; what is not given is the least there can be."""
    folder = containers / name
    folder.mkdir(parents=True)
    (folder / "train.py").write_text("")
    (folder / "a.json").write_text("{}")
    configurations: dict[str, Any] = values.setdefault(
        "configurations", {"small": {"path": "a.json", "about": "small"}}
    )
    description = {
        "name": name,
        "title": f"The case {name}",
        "base": "cpu",
        "stack": "gpu-cuda13",  # one that has no records of test cases
        "entry_point": "train.py",
        "parallelism": {"strategy": "none", "backend": "gloo"},
        "default_configuration": next(iter(configurations)),
        "dataset": {
            "name": "nothing",
            "real": False,
            "samples": 2,
            "held_out": 1,
            "source": "nobody",
            "licence": "none",
        },
        "launchers": ["docker", "slurm", "kubernetes", "batch"],
        "status": {"how": "unverified", "about": "it is not there"},
        "resources": {
            "nodes": 1,
            "processes_per_node": 2,
            "threads_per_process": 1,
            "memory_gib_per_process": 1,
        },
        "checks": {"accuracy": 0.5, "world_size": 2},
        **values,
    }
    with (folder / "case.yml").open("w", encoding="utf-8") as file:
        YAML().dump(description, file)
