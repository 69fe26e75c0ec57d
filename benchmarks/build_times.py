"""How fast the builder is, against the physical limit, in ratios from one run.

    .venv/bin/python benchmarks/build_times.py --repeat 3 --write

(a) a cold build of `cpu` against one bare shell script in a Dockerfile that installs exactly the
same packages over the same base, with the same download caches; (b) an unchanged rebuild; (c) a
rebuild after a change in the last role; (d) Packer's rehearsal of the same playbook against (a).
The builds take turns, so that a busy machine slows them alike. `--write` puts the table into
docs/benchmarks.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import benchmarks_page

from bakehouse import engine, layout
from bakehouse.builder import host_configuration, wheelhouse
from bakehouse.images import roles_of
from bakehouse.stacks.stack import load_stack

BAKEHOUSE = (sys.executable, "-m", "bakehouse")
BARE_IMAGE = "bakehouse-benchmark/bare:latest"

BARE_DOCKERFILE = """\
FROM bakehouse/debian-12:latest
RUN --mount=type=bind,source=bare,target=/mnt \\
    --mount=type=cache,target=/var/cache/apt,sharing=locked \\
    --mount=type=cache,id=bakehouse-benchmark-lists,target=/var/lib/apt/lists,sharing=locked \\
    --mount=type=secret,id=apt.conf,target=/run/apt.conf \\
    sh /mnt/install.sh
"""
BARE_SCRIPT = """\
set -eu
export DEBIAN_FRONTEND=noninteractive
if [ -s /run/apt.conf ]; then export APT_CONFIG=/run/apt.conf; fi
apt-get update -q
apt-get install -qy --no-install-recommends {packages}
python3 -m venv /opt/venv
/opt/venv/bin/pip install -q --no-cache-dir --no-index --find-links /mnt --require-hashes \\
    --requirement /mnt/requirements.txt
"""


@dataclass
class Seconds:
    """What each turn took, in seconds, and the layers of the last cold build."""

    bare: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    beyond_own: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    packer: list[float] = field(default_factory=list)
    layers: dict[str, float] = field(default_factory=dict)
    packer_layers: dict[str, float] = field(default_factory=dict)


def timed(command: tuple[str, ...], environment: Mapping[str, str] | None = None) -> float:
    """Seconds that a command takes; its output is shown only when it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started


def installed_packages(image: str) -> dict[str, str]:
    """Debian packages of an image: name to version."""
    listing = engine.connect().containers.run(
        image, ["dpkg-query", "--show", "--showformat", "${Package}=${Version}\\n"], remove=True
    )
    return dict(line.split("=", 1) for line in listing.decode().splitlines())


def write_bare_context(folder: Path) -> None:
    """Write the bare build: the packages that `cpu` has beyond its base, and the same wheels."""
    context = folder / "bare"
    context.mkdir(parents=True)
    base = installed_packages("bakehouse/debian-12:latest")
    whole = installed_packages("bakehouse/cpu:latest")
    added = {f"{name}={version}" for name, version in whole.items() if base.get(name) != version}
    (folder / "Dockerfile").write_text(BARE_DOCKERFILE)
    (context / "install.sh").write_text(BARE_SCRIPT.format(packages=" ".join(sorted(added))))
    stack = load_stack("cpu")
    requirements = stack.variables["pytorch_release"]["requirements"]
    lines = [
        f"{r['name']}=={r['version']} " + " ".join(f"--hash=sha256:{h}" for h in r["sha256"])
        for r in requirements
    ]
    (context / "requirements.txt").write_text("\n".join(lines) + "\n")
    names = {re.sub(r"[-_.]+", "_", r["name"]).lower() for r in requirements}
    for wheel in wheelhouse.prepare(stack).glob("*.whl"):
        if wheel.name.split("-")[0].lower() in names:
            shutil.copy2(wheel, context)


def copy_tree(target: Path) -> None:
    """Clone the checkout with what is not committed yet, so that a role can be changed there.

    With its history, since an image says which commit it is of.
    """
    subprocess.run(["git", "clone", "--quiet", str(layout.ROOT), str(target)], check=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (layout.ROOT / name).is_symlink() or (layout.ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).unlink(missing_ok=True)
            shutil.copy2(layout.ROOT / name, target / name, follow_symlinks=False)


def layer_seconds(out: Path, image: str) -> dict[str, float]:
    """Seconds per layer that really ran in the last build of an image."""
    layers = json.loads((out / image / "layers.json").read_text())["layers"]
    return {layer["name"]: layer["seconds"] for layer in layers if not layer["cached"]}


class Turns:
    """The builds that are compared."""

    def __init__(self, scratch: Path, bare_build: tuple[str, ...]) -> None:
        """Prepare in an empty folder; `bare_build` is the command of the bare build."""
        self.seconds = Seconds()
        self._out, self._tree = scratch / "out", scratch / "tree"
        self._bare_build = bare_build
        self._here = {"BAKEHOUSE_OUT": str(self._out)}
        copy_tree(self._tree)

    def take(self, turn: int) -> None:
        """Build each once."""
        found = self.seconds
        found.bare.append(timed(self._bare_build, {"DOCKER_BUILDKIT": "1"}))
        found.cold.append(timed((*BAKEHOUSE, "build", "cpu", "--no-cache"), self._here))
        found.layers = layer_seconds(self._out, "cpu")
        found.unchanged.append(timed((*BAKEHOUSE, "build", "cpu"), self._here))
        self._change_last_role(turn)
        found.packer.append(timed((*BAKEHOUSE, "build", "cpu-machine", "--no-cache"), self._here))
        found.packer_layers = layer_seconds(self._out, "cpu-machine")

    def _change_last_role(self, turn: int) -> None:
        last = roles_of("cpu")[-1]
        with (self._tree / "roles" / last / "tasks" / "main.yml").open("a") as tasks:
            tasks.write(f"# turn {turn} of a benchmark at {time.time()}\n")
        environment = {
            **self._here,
            "BAKEHOUSE_ROOT": str(self._tree),
            "BAKEHOUSE_STATE": str(layout.STATE),
        }
        whole = timed((*BAKEHOUSE, "build", "cpu"), environment)
        ran = layer_seconds(self._out, "cpu")
        assert set(ran) == {last}, f"only {last} should have run, not {', '.join(ran)}"
        self.seconds.own.append(ran[last])
        self.seconds.beyond_own.append(whole - ran[last])


def measure(repeat: int) -> Seconds:
    """Let the builds take turns, `repeat` times, over a warm download cache."""
    timed((*BAKEHOUSE, "build", "cpu", "cpu-machine"))
    with tempfile.TemporaryDirectory(prefix="bakehouse-benchmark-") as folder:
        scratch = Path(folder)
        write_bare_context(scratch / "bare")
        with host_configuration.files("benchmark", "/run") as host:
            apt = host / "apt.conf"
            secret = ("--secret", f"id=apt.conf,src={apt}") if apt.is_file() else ()
            options = ("--no-cache", "--quiet", "--tag", BARE_IMAGE, *secret)
            turns = Turns(
                scratch, (engine.buildkit_client(), "build", *options, str(scratch / "bare"))
            )
            try:
                for turn in range(repeat):
                    turns.take(turn)
            finally:
                engine.remove_if_unused(BARE_IMAGE)
                timed((*BAKEHOUSE, "build", "cpu", "cpu-machine"))
    return turns.seconds


def table(found: Seconds, repeat: int) -> str:
    """The result as Markdown."""
    bare, cold, packer = median(found.bare), median(found.cold), median(found.packer)
    unchanged, own = median(found.unchanged), median(found.own)
    ratio = median(c / b for c, b in zip(found.cold, found.bare, strict=True))
    rehearsal = median(p / c for p, c in zip(found.packer, found.cold, strict=True))
    rows = [
        ("(a) cold build of `cpu` / bare shell script", f"{ratio:.2f}×", "≤ 1.15×",
         f"{cold:.1f} s / {bare:.1f} s"),
        ("(b) unchanged rebuild", f"{unchanged:.2f} s", "≤ 1 s",
         f"{unchanged / cold:.3f}× of a cold build"),
        ("(c) last role changed, beyond that role's own time", f"{median(found.beyond_own):.2f} s",
         "≤ 1.5 s", f"{own:.1f} s the role itself"),
        ("(d) Packer's rehearsal / (a)", f"{rehearsal:.2f}×", "–", f"{packer:.1f} s"),
    ]  # fmt: skip
    command = f".venv/bin/python benchmarks/build_times.py --repeat {repeat} --write"
    lines = [
        benchmarks_page.measured(f"medians of {repeat} turns", command),
        "",
        "| what | measured | aim | |",
        "|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", "Where the time goes, of the last turn:", ""]
    lines += ["| layer | builder, s | Packer, s |", "|---|---|---|"]
    for name in dict.fromkeys([*found.layers, *found.packer_layers]):
        columns = (found.layers.get(name), found.packer_layers.get(name))
        shown = ["–" if value is None else f"{value:.1f}" for value in columns]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    rest = (found.cold[-1] - sum(found.layers.values()), found.packer[-1])
    other = rest[1] - sum(found.packer_layers.values())
    lines.append(f"| (all else) | {rest[0]:.1f} | {other:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and with --write rewrite the marked part of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = table(measure(options.repeat), options.repeat)
    print(text)
    if options.write:
        benchmarks_page.write("build_times", text)


if __name__ == "__main__":
    main()
