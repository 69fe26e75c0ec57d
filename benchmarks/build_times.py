"""How fast the builder is, against the physical limit, in ratios from one run.

    .venv/bin/python benchmarks/build_times.py --repeat 3 --write

(a) a cold build of `cpu` against one bare shell script in a Dockerfile that installs exactly the
same packages over the same base; (b) an unchanged rebuild; (c) a rebuild after a change in the last
role; (d) Packer's rehearsal of the same playbook against (a). The measured builds take turns, so
that a busy machine slows them alike. `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BAKEHOUSE = [sys.executable, "-m", "bakehouse"]
TREE = ("bakehouse", "containers", "images.yml", "packer", "playbooks", "requirements", "roles", "stacks", "ansible.cfg")
BEGIN, END = "<!-- BEGIN build_times -->", "<!-- END build_times -->"
ROLE_TOUCHED = Path("roles/image_cleanup/tasks/main.yml")

BARE_DOCKERFILE = """\
FROM bakehouse/debian-12:latest
RUN --mount=type=bind,source=install.sh,target=/install.sh \\
    --mount=type=bind,source=wheels,target=/wheels \\
    --mount=type=bind,source=requirements.txt,target=/requirements.txt \\
    sh /install.sh
"""

BARE_SCRIPT = """\
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends {packages}
python3 -m venv /opt/venv
/opt/venv/bin/pip install -q --no-cache-dir --no-index --find-links /wheels --require-hashes -r /requirements.txt
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
"""


def timed(command: list[str], **environment: str) -> float:
    """Seconds that a command takes; its output is shown only when it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started


def docker() -> str:
    """A docker client that can drive BuildKit, as the builder itself chooses it."""
    from bakehouse.engine import buildkit_client  # noqa: PLC0415 - only this script needs it

    return buildkit_client()


def installed_packages(image: str) -> dict[str, str]:
    """Debian packages of an image: name to version."""
    listing = subprocess.run(
        ["docker", "run", "--rm", image, "dpkg-query", "-W", "-f", "${Package}=${Version}\\n"],
        capture_output=True, text=True, check=True,
    ).stdout
    return dict(line.split("=", 1) for line in listing.splitlines())


def bare_context(folder: Path) -> None:
    """Write the bare build: the packages that `cpu` has beyond its base, the same wheels."""
    from bakehouse.builder import wheelhouse  # noqa: PLC0415
    from bakehouse.stacks.stack import load_stack  # noqa: PLC0415

    stack = load_stack("cpu")
    base = installed_packages("bakehouse/debian-12:latest")
    added = {n: v for n, v in installed_packages("bakehouse/cpu:latest").items() if base.get(n) != v}
    packages = " ".join(f"{name}={version}" for name, version in sorted(added.items()))
    (folder / "install.sh").write_text(BARE_SCRIPT.format(packages=packages))
    (folder / "Dockerfile").write_text(BARE_DOCKERFILE)
    requirements = stack.variables["pytorch_release"]["requirements"]
    lines = [
        f"{r['name']}=={r['version']} " + " ".join(f"--hash=sha256:{h}" for h in r["sha256"])
        for r in requirements
    ]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    wheels = folder / "wheels"
    wheels.mkdir()
    names = {r["name"].replace("-", "_").lower() for r in requirements}
    for wheel in wheelhouse.prepare(stack).glob("*.whl"):
        if wheel.name.split("-")[0].lower() in names:
            shutil.copy2(wheel, wheels)


def layer_seconds(out: Path, image: str) -> dict[str, float]:
    """Seconds per layer that really ran in the last build of an image."""
    layers = json.loads((out / image / "layers.json").read_text())["layers"]
    return {layer["name"]: layer["seconds"] for layer in layers if not layer["cached"]}


def measure(repeat: int) -> dict[str, object]:
    """Run every build `repeat` times, taking turns, and return the raw seconds."""
    with tempfile.TemporaryDirectory(prefix="bakehouse-benchmark-") as scratch:
        tree = Path(scratch, "tree")
        for name in TREE:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name) if tree.exists() else (
                tree.mkdir(), (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name))
        return _measured(repeat, Path(scratch), tree)


def _measured(repeat: int, scratch: Path, tree: Path) -> dict[str, object]:
    timed([*BAKEHOUSE, "build", "cpu"])
    bare = scratch / "bare"
    bare.mkdir()
    bare_context(bare)
    client = docker()
    out = scratch / "out"
    here = {"BAKEHOUSE_OUT": str(out)}
    copy = {**here, "BAKEHOUSE_ROOT": str(tree), "BAKEHOUSE_STATE": str(ROOT / ".bakehouse")}
    seconds: dict[str, list[float]] = {k: [] for k in ("bare", "cold", "unchanged", "changed", "own", "packer")}
    slowest: dict[str, float] = {}
    for turn in range(repeat):
        seconds["bare"].append(
            timed([client, "build", "--no-cache", "-q", "-t", "bakehouse-benchmark/bare:latest", str(bare)], DOCKER_BUILDKIT="1")
        )
        seconds["cold"].append(timed([*BAKEHOUSE, "build", "cpu", "--no-cache"], **here))
        slowest = layer_seconds(out, "cpu")
        seconds["unchanged"].append(timed([*BAKEHOUSE, "build", "cpu"], **here))
        with (tree / ROLE_TOUCHED).open("a") as role:
            role.write(f"# touched by the benchmark, turn {turn}, {time.time()}\n")
        seconds["changed"].append(timed([*BAKEHOUSE, "build", "cpu"], **copy))
        seconds["own"].append(sum(layer_seconds(out, "cpu").values()))
        seconds["packer"].append(timed([*BAKEHOUSE, "build", "cpu-machine", "--no-cache"], **here))
    subprocess.run(["docker", "rmi", "-f", "bakehouse-benchmark/bare:latest"], capture_output=True, check=False)
    timed([*BAKEHOUSE, "build", "cpu"])
    return {"seconds": seconds, "cold_layers": slowest}


def table(result: dict[str, object], repeat: int) -> str:
    """The result as Markdown."""
    seconds = {name: statistics.median(values) for name, values in result["seconds"].items()}  # type: ignore[attr-defined]
    overhead = statistics.median(
        [c - o for c, o in zip(result["seconds"]["changed"], result["seconds"]["own"], strict=True)]  # type: ignore[index]
    )
    rows = [
        ("(a) cold build of `cpu` / bare shell script", f"{seconds['cold'] / seconds['bare']:.2f}×", "≤ 1.15×", f"{seconds['cold']:.1f} s / {seconds['bare']:.1f} s"),
        ("(b) unchanged rebuild", f"{seconds['unchanged']:.2f} s", "≤ 1 s", f"{seconds['unchanged'] / seconds['cold']:.3f}× of cold"),
        ("(c) last role changed, beyond that role's own time", f"{overhead:.2f} s", "≤ 1.5 s", f"{seconds['changed']:.1f} s in all, {seconds['own']:.1f} s the role"),
        ("(d) Packer's rehearsal / (a)", f"{seconds['packer'] / seconds['cold']:.2f}×", "–", f"{seconds['packer']:.1f} s"),
    ]
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d}: medians of {repeat} turns on {os.cpu_count()} cores, {platform.machine()}, "
        f"kernel {platform.release().split('-')[0]}, by `benchmarks/build_times.py --repeat {repeat} --write`.",
        "",
        "| what | measured | aim | seconds |",
        "|---|---|---|---|",
        *[f"| {a} | {b} | {c} | {d} |" for a, b, c, d in rows],
        "",
        "Where the time of a cold build goes (last turn):",
        "",
        "| layer | seconds |",
        "|---|---|",
        *[f"| {name} | {value:.1f} |" for name, value in result["cold_layers"].items()],  # type: ignore[attr-defined]
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and with --write rewrite the marked part of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = table(measure(options.repeat), options.repeat)
    print(text)
    if options.write:
        page = ROOT / "docs" / "benchmarks.md"
        head, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
