"""Say which versions are here, as one line of JSON on standard output.

This program is sent to machines, containers and images over standard input (`python3 -I -S -`), so
it is one file, however long: Python 3.9 or newer, standard library only, nothing of ours imported.
Every component is asked in a thread of its own and within one time limit; what is absent, broken
or hangs is a reason in the answer, never a traceback.
"""

from __future__ import annotations

import abc
import argparse
import fnmatch
import glob
import json
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Callable, Optional, Tuple, TypeVar

SCHEMA = 1
MOST_OUTPUT = 16 << 20  # bytes that a program which we ask may write before it is ended
MOST_FINDINGS = 8
MARGIN_S = 0.5  # what is left of the time limit to say that a program took too long
VERSION = r"(\d[\w.+~-]*)"
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib/*-linux-gnu", "/usr/local/lib")
# Login shells of schedulers and `ssh host command` do not have these on PATH.
PROGRAMS = (
    "/opt/venv/bin", "/opt/amazon/efa/bin", "/opt/amazon/openmpi5/bin", "/opt/amazon/openmpi/bin",
    "/opt/slurm/bin", "/opt/aws/neuron/bin", "/usr/local/cuda/bin", "/usr/local/sbin",
    "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
)  # fmt: skip
SITES = (
    "/opt/venv/lib/python3*/site-packages",
    "/opt/*/lib/python3*/site-packages",
    "/opt/*/envs/*/lib/python3*/site-packages",
    "/usr/local/lib/python3*/*-packages",
    "/usr/lib/python3*/*-packages",
)
Candidate = Tuple[str, Callable[[], Optional[str]]]
Got = TypeVar("Got")
_ASK_NCCL = (
    "import ctypes, sys; v = ctypes.c_int();"
    "ctypes.CDLL(sys.argv[1]).ncclGetVersion(ctypes.byref(v)); print(v.value)"
)


class UnclearError(Exception):
    """Something is here, and does not say its version."""


class Target:
    """What is asked: files and programs below a root.

    Args:
        root: Prefix of every path, so that a folder can stand in for a machine.
        limit_s: Seconds after which every program has been ended.
        image: Whether this is an image, where /proc and /sys show another machine.
    """

    def __init__(self, root: str, limit_s: float, image: bool) -> None:
        self.root = root
        self.image = image
        self.limit_s = limit_s
        self._ends = time.monotonic() + limit_s
        self._lock = threading.Lock()
        self._packages: dict[str, str] | None = None

    def matches(self, *patterns: str) -> list[str]:
        """Paths, without the root; a file with several names once."""
        found: dict[str, str] = {}
        for pattern in patterns:
            for path in sorted(glob.glob(self.root + pattern)):
                found.setdefault(os.path.realpath(path), path[len(self.root) :])
        return list(found.values())

    def read(self, path: str) -> str:
        """Text of a file."""
        with open(self.root + path, encoding="utf-8", errors="replace") as stream:
            return stream.read(MOST_OUTPUT)

    def programs(self, name: str) -> list[str]:
        """Where this program is, in the order in which a shell would find it."""
        folders = [*PROGRAMS[:1], *os.environ.get("PATH", "").split(":"), *PROGRAMS]
        paths = [f"{folder}/{name}" for folder in dict.fromkeys(folders) if folder]
        good = [p for p in paths if os.path.isfile(self.root + p) and os.access(self.root + p, 1)]
        return self.matches(*(glob.escape(path) for path in good))

    def run(self, *command: str) -> tuple[int, str]:
        """Status and output of a program, which is ended with its children in time."""
        seconds = max(0.1, self._ends - time.monotonic() - MARGIN_S)
        name = os.path.basename(command[0])
        # Memory and not a pipe: what a program leaves running would hold a pipe open.
        with os.fdopen(os.memfd_create(name), "w+b") as output:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
                cwd="/",
            )
            try:
                status = started.wait(seconds)
            except subprocess.TimeoutExpired:
                raise UnclearError(f"{name} did not end within {self.limit_s:g} s") from None
            finally:
                with suppress(OSError):
                    os.killpg(started.pid, signal.SIGKILL)
            output.seek(0)
            return status, output.read(MOST_OUTPUT).decode("utf-8", "replace")

    def packages(self) -> dict[str, str]:
        """Names and versions of the distribution's packages."""
        with self._lock:
            if self._packages is None:
                self._packages = dict(self._list_packages())
            return self._packages

    def _list_packages(self) -> list[tuple[str, str]]:
        try:
            text = self.read("/var/lib/dpkg/status")
        except OSError:
            rpm = self.programs("rpm")
            if not rpm:
                return []
            asked = ("-qa", "--qf", "%{NAME}\t%{VERSION}-%{RELEASE}\n")
            lines = self.run(self.root + rpm[0], *asked)[1].splitlines()
            return [(line.split("\t")[0], line.split("\t")[1]) for line in lines if "\t" in line]
        pattern = r"^Package: (\S+)\nStatus: \S+ \S+ installed\n(?:.+\n)*?Version: (?:\d+:)?(\S+)"
        return re.findall(pattern, text, re.MULTILINE)


class Source(abc.ABC):
    """Where versions can be found: places, and how to get the version at each.

    Args:
        place: What to call all of them where there is nothing.
    """

    def __init__(self, place: str) -> None:
        self.place = place

    @abc.abstractmethod
    def candidates(self, target: Target) -> list[Candidate]:
        """Each place that there is, with a function that returns its version or says nothing."""


class Text(Source):
    """A version in the text of files; several groups are its parts."""

    def __init__(self, pattern: str, *paths: str, place: str = "") -> None:
        super().__init__(place or ", ".join(paths))
        self._pattern, self._paths = pattern, paths

    def candidates(self, target: Target) -> list[Candidate]:
        """Files that match."""
        return [(p, partial(self._version, target, p)) for p in target.matches(*self._paths)]

    def _version(self, target: Target, path: str) -> str | None:
        found = re.search(self._pattern, target.read(path), re.MULTILINE)
        if found is None:
            raise UnclearError(f"{path} gives no version")
        return ".".join(found.groups())


class Live(Text):
    """As Text, of files which in an image are those of the machine below."""

    def candidates(self, target: Target) -> list[Candidate]:
        """Files that match; in an image none."""
        return [] if target.image else super().candidates(target)


class Binary(Text):
    """A version in the bytes of files."""

    def _version(self, target: Target, path: str) -> str:
        with open(target.root + path, "rb") as stream:
            # An empty file cannot be mapped.
            if os.fstat(stream.fileno()).st_size:
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    found = re.search(self._pattern.encode(), content)
                    if found:
                        return found[1].decode("ascii", "replace")
        raise UnclearError(f"{path} gives no version")


class Name(Text):
    """A version in the names of files; a name without one says nothing."""

    def _version(self, target: Target, path: str) -> str | None:
        real = os.path.realpath(target.root + path)
        found = re.search(self._pattern, real) or re.search(self._pattern, path)
        return found[1] if found else None


class Program(Source):
    """What a program prints. `everywhere`: all that there are, not only the first on PATH."""

    def __init__(self, pattern: str, *command: str, everywhere: bool = False) -> None:
        super().__init__(command[0])
        self._pattern, self._command, self._everywhere = pattern, command, everywhere

    def candidates(self, target: Target) -> list[Candidate]:
        """Programs of this name."""
        paths = target.programs(self._command[0])[: None if self._everywhere else 1]
        return [(path, partial(self._version, target, path)) for path in paths]

    def _version(self, target: Target, path: str) -> str:
        status, output = target.run(target.root + path, *self._command[1:])
        found = re.search(self._pattern, output, re.MULTILINE | re.IGNORECASE)
        if found is None:
            said = " ".join(output.split())[:120] or "nothing"
            raise UnclearError(f"{path} ended with {status} and gives no version: {said}")
        return found[1]


class Package(Source):
    """A package of the distribution, whose name fits one of these patterns."""

    def __init__(self, *patterns: str) -> None:
        super().__init__("packages " + ", ".join(patterns))
        self._patterns = patterns

    def candidates(self, target: Target) -> list[Candidate]:
        """The first package that fits."""
        packages = target.packages()
        fitting = (n for pattern in self._patterns for n in fnmatch.filter(packages, pattern))
        found: list[Candidate] = [(f"package {n}", partial(str, packages[n])) for n in fitting]
        return found[:1]


class Distribution(Source):
    """A Python distribution, in any of the usual environments; nothing is imported."""

    def __init__(self, *names: str) -> None:
        super().__init__("Python packages " + ", ".join(names))
        self._names = names

    def candidates(self, target: Target) -> list[Candidate]:
        """What pip left of them."""
        patterns = [f"{site}/{n}-[0-9]*.dist-info" for site in SITES for n in self._names]
        paths = [os.path.split(path) for path in target.matches(*patterns)]
        return [(site, partial(str, name[:-10].split("-")[1])) for site, name in paths]


class Module(Source):
    """A kernel module: the loaded one and the one on disk, which differ until a reboot."""

    def __init__(self, name: str) -> None:
        super().__init__(f"kernel module {name}")
        self._name = name

    def candidates(self, target: Target) -> list[Candidate]:
        """The loaded module, and what modinfo says of the one on disk."""
        found: list[Candidate] = []
        loaded = f"/sys/module/{self._name}/version"
        if not target.image and os.path.exists(target.root + loaded):
            found.append((f"{loaded} (loaded)", lambda: _plain(target.read(loaded))))
        kernels: list[list[str]] = [[]]
        if target.image:
            kernels = [["-k", os.path.basename(path)] for path in target.matches("/lib/modules/*")]
        for path in target.programs("modinfo")[:1]:
            for kernel in kernels:
                command = [*kernel, "-F", "version", self._name]
                where = " ".join(["modinfo", *kernel, self._name, "(on disk)"])
                found.append((where, partial(self._on_disk, target, path, command)))
        return found

    def _on_disk(self, target: Target, path: str, command: list[str]) -> str | None:
        status, output = target.run(target.root + path, *command)
        return _plain(output) if status == 0 else None


class Nccl(Source):
    """NCCL: the library says it itself, in a process of its own; else its bytes do."""

    def __init__(self, place: str, *folders: str, ldconfig: bool = False) -> None:
        super().__init__(place)
        self._patterns = [f"{f}/libnccl.so{s}" for f in folders for s in (".2", ".2.*", "")]
        self._ldconfig = ldconfig

    def candidates(self, target: Target) -> list[Candidate]:
        """Libraries, first those that a program would load."""
        paths: list[str] = []
        for program in target.programs("ldconfig")[:1] if self._ldconfig else []:
            output = target.run(target.root + program, "-p")[1]
            paths = re.findall(r"libnccl\.so\S* .*=> (/\S+)", output)
        found = target.matches(*map(glob.escape, paths), *self._patterns)
        return [(path, partial(self._version, target, path)) for path in found]

    def _version(self, target: Target, path: str) -> str:
        command = (sys.executable, "-I", "-S", "-c", _ASK_NCCL, target.root + path)
        status, output = target.run(*command)
        if status == 0 and output.strip().isdigit():
            number = int(output)  # 23007 is 2.30.7; before 2.9, 2708 was 2.7.8
            scale = 10000 if number >= 10000 else 1000
            return f"{number // scale}.{number % scale // 100}.{number % 100}"
        found = Binary(r"NCCL version (\d+\.\d+\.\d+)", path).candidates(target)
        try:
            return str(found[0][1]())
        except UnclearError:
            last = (output.strip().splitlines() or [f"it ended with {status}"])[-1]
            raise UnclearError(f"{path} does not say its version: {last[:120]}") from None


class Kernel(Source):
    """The running kernel; in containers and images those that are installed."""

    def candidates(self, target: Target) -> list[Candidate]:
        """The running kernel, or each that is installed."""
        marks = ("/.dockerenv", "/run/.containerenv")
        if target.image or any(os.path.exists(target.root + mark) for mark in marks):
            return Name(r"modules/(\d\S*)$", "/lib/modules/[0-9]*").candidates(target)
        return Text(r"^(\S+)", "/proc/sys/kernel/osrelease").candidates(target)


def _plain(text: str) -> str | None:
    """A module's version; EFA's says 3.3.0g where it was built for GPUDirect."""
    found = re.fullmatch(r"(\d[\w.+~-]*?)g?", text.strip())
    return found[1] if found else None


def _below(folders: tuple[str, ...], *names: str) -> list[str]:
    return [f"{folder}/{name}" for folder in folders for name in names]


_PLUGIN = ("/opt/amazon/ofi-nccl", "/opt/aws-ofi-nccl", "/opt/aws-ofi-nccl/install")
_PLUGINS = tuple(_below(_PLUGIN, "lib", "lib64", "lib/*-linux-gnu"))
_NEURON = "/opt/aws/neuron/lib"
EVERY, FIRST = True, False

# Of each component, whether every source is asked or the first that answers, and the sources.
COMPONENTS: dict[str, tuple[bool, list[Source]]] = {
    "os": (FIRST, [Text(r'^PRETTY_NAME="?([^"\n]+)', "/etc/os-release")]),
    "kernel": (FIRST, [Kernel("/proc/sys/kernel/osrelease, /lib/modules")]),
    "python": (FIRST, [Program(rf"^Python {VERSION}", "python3", "--version")]),
    "nvidia_driver": (EVERY, [
        Live(r"Module(?: for \S+)?\s+(\d+\.\d+[.\d]*)", "/proc/driver/nvidia/version"),
        Module("nvidia"),
        Program(r"^\s*(\d+\.\d+[.\d]*)\s*$", "nvidia-smi", "--query-gpu=driver_version",
                "--format=csv,noheader"),
        Name(r"\.so\.(\d+\.\d+[.\d]*)$", *_below(LIBRARIES, "libnvidia-ml.so.1"),
             place="libnvidia-ml.so.1"),
    ]),
    "nvidia_fabric_manager": (FIRST, [
        Program(rf"version is\s*:\s*{VERSION}", "nv-fabricmanager", "--version"),
        Package("nvidia-fabricmanager*", "nvidia-fabric-manager*"),
    ]),
    "nvidia_cuda": (FIRST, [
        Text(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', "/usr/local/cuda/version.json"),
        Program(r"release (\d+\.\d+)", "nvcc", "--version"),
        Distribution("nvidia_cuda_nvcc*"),
    ]),
    "nvidia_cudnn": (EVERY, [
        Text(r"CUDNN_MAJOR (\d+)[\s\S]*?CUDNN_MINOR (\d+)[\s\S]*?CUDNN_PATCHLEVEL (\d+)",
             "/usr/include/cudnn_version*.h", "/usr/include/*-linux-gnu/cudnn_version*.h",
             "/usr/local/cuda/include/cudnn_version.h",
             *_below(SITES, "nvidia/cudnn/include/cudnn_version.h"), place="cudnn_version.h"),
        Package("libcudnn[0-9]*-cuda-*", "libcudnn[0-9]"),
    ]),
    "nvidia_nccl": (FIRST, [
        Nccl("libnccl.so of ldconfig, /opt/nccl, CUDA", "/opt/nccl/build/lib", "/opt/nccl/lib",
             "/usr/local/cuda/lib64", *LIBRARIES, ldconfig=True),
        Package("libnccl2", "libnccl"),
    ]),
    "torch_nccl": (FIRST, [
        Nccl("libnccl.so of Python environments", *_below(SITES, "nvidia/*/lib", "torch/lib")),
    ]),
    "aws_efa_installer": (FIRST, [
        Text(rf"EFA installer version:\s*{VERSION}", "/opt/amazon/efa_installed_packages"),
    ]),
    "efa_driver": (FIRST, [Module("efa"), Name(rf"/efa-{VERSION}$", "/usr/src/efa-[0-9]*")]),
    "libfabric": (FIRST, [
        Program(rf"^libfabric: {VERSION}", "fi_info", "--version", everywhere=True),
    ]),
    "aws_ofi_nccl": (FIRST, [
        # The suffix -aws was dropped from 1.14 on; a build from git says git-<commit>.
        Binary(r"aws-ofi-nccl (git-\w+|\d+\.\d+[.\d]*\w*)", *_below(_PLUGINS, "libnccl-net*.so"),
               place="libnccl-net*.so of /opt/amazon/ofi-nccl, /opt/aws-ofi-nccl"),
        Package("libnccl-ofi*", "aws-ofi-nccl*"),
    ]),
    "nvidia_gdrcopy": (FIRST, [
        Name(r"\.so\.(\d+\.\d+[.\d]*)$",
             *_below((*LIBRARIES, "/opt/gdrcopy/lib*"), "libgdrapi.so.[0-9]*"),
             place="libgdrapi.so"),
        Package("libgdrapi", "gdrcopy"),
    ]),
    "gdrcopy_module": (FIRST, [
        Module("gdrdrv"), Name(rf"/gdrdrv-{VERSION}$", "/usr/src/gdrdrv-[0-9]*"),
    ]),
    "open_mpi": (FIRST, [
        Program(rf"Open MPI\) {VERSION}", "mpirun", "--version", everywhere=True),
    ]),
    "rdma_core": (FIRST, [
        Package("rdma-core"),
        Name(r"libibverbs\.so\.1\.\d+\.(\d+\.\d+)$", *_below(LIBRARIES, "libibverbs.so.1"),
             place="libibverbs.so.1"),
    ]),
    "pytorch": (FIRST, [Distribution("torch")]),
    "neuron_driver": (FIRST, [
        Module("neuron"), Name(rf"/aws-neuronx-{VERSION}$", "/usr/src/aws-neuronx-[0-9]*"),
    ]),
    "neuron_runtime": (FIRST, [
        Package("aws-neuronx-runtime-lib"),
        Name(rf"libnrt\.so\.{VERSION}$", f"{_NEURON}/libnrt.so*"),
    ]),
    "neuron_collectives": (FIRST, [
        Package("aws-neuronx-collectives"),
        Name(rf"libnccom\.so\.{VERSION}$", f"{_NEURON}/libnccom.so*"),
    ]),
    "neuron_tools": (FIRST, [
        Package("aws-neuronx-tools"),
        Program(VERSION, "neuron-ls", "--version"),
    ]),
    "neuronx_cc": (FIRST, [Distribution("neuronx_cc")]),
    "torch_neuronx": (FIRST, [Distribution("torch_neuronx")]),
    "nvidia_dcgm": (FIRST, [
        Program(rf"version\s*:\s*{VERSION}", "dcgmi", "--version"),
        Package("datacenter-gpu-manager*"),
    ]),
    "nvidia_container_toolkit": (FIRST, [
        Program(rf"CLI version {VERSION}", "nvidia-ctk", "--version"),
        Package("nvidia-container-toolkit"),
    ]),
    "docker": (FIRST, [
        Program(rf"version {VERSION}", "docker", "--version"),
        Package("docker.io", "docker-ce", "docker", "moby-engine"),
    ]),
    "enroot": (FIRST, [Program(rf"^{VERSION}$", "enroot", "version"), Package("enroot")]),
    "pyxis": (FIRST, [
        Binary(r"pyxis: version v(\d[\w.]*)",
               *_below((*LIBRARIES, "/opt/slurm/lib"), "spank_pyxis.so", "slurm/spank_pyxis.so"),
               place="spank_pyxis.so"),
        Package("nvslurm-plugin-pyxis"),
    ]),
    "slurm": (FIRST, [
        Program(rf"^slurm\S* {VERSION}", "sinfo", "--version"),
        Program(rf"^slurm\S* {VERSION}", "slurmd", "-V"),
    ]),
    "aws_lustre": (FIRST, [
        Module("lustre"),
        Program(rf"^lfs {VERSION}", "lfs", "--version"),
        Package("lustre-client", "lustre-client-modules-*"),
    ]),
}  # fmt: skip


def examine(name: str, target: Target) -> dict[str, object]:
    """What is known of one component: findings, problems, and why there is nothing."""
    every, sources = COMPONENTS[name]
    found: list[dict[str, str]] = []
    problems: list[str] = []
    for source in sources:
        for where, get in _tried(partial(source.candidates, target), source.place, problems) or []:
            version = _tried(get, where, problems)
            if version:
                found.append({"version": version.strip()[:80], "where": where})
        if found and not every:
            break
    reason = "" if found or problems else "nothing at " + ", ".join(s.place for s in sources)
    return {"found": found[:MOST_FINDINGS], "problems": problems[:MOST_FINDINGS], "reason": reason}


def _tried(get: Callable[[], Got], where: str, problems: list[str]) -> Got | None:
    try:
        return get()
    except UnclearError as error:
        problems.append(str(error))
    except Exception as error:  # noqa: BLE001 - whatever is broken there is told, not raised
        problems.append(f"{where}: {type(error).__name__}: {error}"[:200])
    return None


def identity(target: Target) -> dict[str, object] | None:
    """What the image says of itself; None if it says nothing that can be understood."""
    try:
        content = json.loads(target.read("/etc/bakehouse/image.json"))
        return content if isinstance(content, dict) else None
    except (OSError, ValueError):
        return None


def survey(target: Target) -> dict[str, object]:
    """Ask for all components at once, and wait for none beyond the limit."""
    answers: dict[str, dict[str, object]] = {}

    def ask(name: str) -> None:
        answers[name] = examine(name, target)

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in COMPONENTS]
    ends = time.monotonic() + target.limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    late = {
        "found": [],
        "problems": [f"no answer within {target.limit_s:g} s"],
        "reason": "",
    }
    return {
        "bakehouse_versions": SCHEMA,
        "host": os.uname().nodename,
        "identity": identity(target),
        "components": {name: dict(answers).get(name, late) for name in COMPONENTS},
    }


def main() -> None:
    """Print the answer; whatever happens, it is JSON and the status is 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=os.environ.get("BAKEHOUSE_PROBE_ROOT", ""))
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("--image", action="store_true")
    options = parser.parse_args()
    try:
        # Programs inherit it: one that never stops printing fills no memory.
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        most = MOST_OUTPUT if hard == resource.RLIM_INFINITY else min(MOST_OUTPUT, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        answer = survey(Target(options.root, options.limit, options.image))
    except BaseException as error:  # noqa: BLE001 - the other side has to be told
        answer = {"bakehouse_versions": SCHEMA, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # threads that hang would hold the interpreter


if __name__ == "__main__":
    main()
