"""The targets with which AMIs are made."""

import os
import subprocess

import pytest

from bakehouse.images import load_images
from bakehouse.layout import ROOT

TARGETS = {
    "ami_pcluster_cpu": "pcluster-cpu",
    "ami_pcluster_gpu": "pcluster-gpu",
    "ami_pcluster_neuron": "pcluster-neuron",
    "ami_base": "base-gpu",
    "ami_dlami_gpu": "dlami-gpu",
    "ami_dlami_neuron": "dlami-neuron",
    "ami_eks_gpu": "eks-gpu",
    "ami_eks_neuron": "eks-neuron",
    "ami_hyperpod_gpu": "hyperpod-gpu",
    "ami": "--all",
}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("target", "meant"), TARGETS.items())
def test_each_target_bakes_its_image(target: str, meant: str) -> None:
    done = make("--dry-run", target, "REGION=us-west-2", "AMI_OPTIONS=--var spot=true")
    assert done.returncode == 0, done.stderr
    command = f".venv/bin/bakehouse ami build {meant} --region us-west-2 --var spot=true"
    assert done.stdout.splitlines()[-1] == command


def test_every_ami_has_a_target() -> None:
    assert {name for name, image in load_images().items() if image.ami} == set(TARGETS.values()) - {
        "--all"
    }


@pytest.mark.lengthy
def test_without_a_region_make_fails_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    done = make("ami_pcluster_gpu")
    assert done.returncode == 2
    assert "error: --region: no region is given" in done.stderr
