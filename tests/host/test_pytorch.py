"""What the role pytorch promises: the stack's closure, importable, able to communicate."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from bakehouse.checks.versions import same_version

PYTHON = "/opt/venv/bin/python"
LISTING = (
    "import json, re; from importlib import metadata; "
    "print(json.dumps({re.sub('[-_.]+', '-', d.metadata['Name']).lower(): d.version "
    "for d in metadata.distributions()}))"
)
TWO_RANKS = """
import os, torch, torch.distributed as dist, torch.multiprocessing as mp
def work(rank):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT='29511')
    dist.init_process_group('gloo', rank=rank, world_size=2)
    tensor = torch.full((8,), float(rank + 1))
    dist.all_reduce(tensor)
    assert tensor.eq(3).all(), tensor
    os._exit(0)  # a gloo thread may abort a process that ends in the usual way
if __name__ == '__main__':
    mp.spawn(work, nprocs=2)
    print('reduced')
"""
COMPILES = """
import torch
double = torch.compile(lambda tensor: tensor.sin() * 2)
tensor = torch.arange(8.0)
assert double(tensor).allclose(tensor.sin() * 2)
print('compiled')
"""


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    shown = host.check_output(f"{PYTHON} -c 'import torch; print(torch.__version__)'")
    record_property("pytorch", shown)
    assert same_version(shown, stack_versions["pytorch_release"])


def test_closure_is_the_stacks(host: Host, stack_variables: dict[str, Any]) -> None:
    present = json.loads(host.check_output(f'{PYTHON} -c "{LISTING}"'))
    wanted = {r["name"]: r["version"] for r in stack_variables["pytorch_release"]["requirements"]}
    assert {name: present.get(name) for name in wanted} == wanted


def test_two_processes_add_up_their_tensors(host: Host) -> None:
    script = "/tmp/test_pytorch_two_ranks.py"
    done = host.run(
        f"cat > {script} <<'END'\n{TWO_RANKS}\nEND\n{PYTHON} {script}; s=$?; rm {script}; exit $s"
    )
    assert done.stdout.strip() == "reduced", done.stderr


def test_functions_compile_where_there_is_a_compiler(host: Host) -> None:
    if not host.exists("g++"):
        pytest.skip("torch.compile needs a C++ compiler")
    folder = "/tmp/test_pytorch_compile"
    done = host.run(
        f"mkdir {folder} && cat > {folder}/program.py <<'END'\n{COMPILES}\nEND\n"
        f"TORCHINDUCTOR_CACHE_DIR={folder} {PYTHON} {folder}/program.py; s=$?; "
        f"rm -r {folder}; exit $s"
    )
    assert done.stdout.strip() == "compiled", done.stderr


def test_wheels_are_not_kept(host: Host) -> None:
    assert not host.file("/root/.cache/pip").exists
