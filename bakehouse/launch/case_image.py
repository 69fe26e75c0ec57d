"""Which of a test case's images fits the machines that it is to run on."""

from bakehouse.images import Image, lineage, load_images
from bakehouse.stacks.stack import load_stack

CUDA = "nvidia_cuda_release"
"""A stack with this record makes images for GPUs."""


def image_for(case: str, *, gpus: bool) -> Image | None:
    """The first image of a case that is made for GPUs, or for none; else its first image.

    None for a case of which images.yml has no image.

    Raises:
        InputError: images.yml or a stack is wrong.
    """
    images = [image for image in load_images().values() if image.case == case]
    fitting = [image for image in images if has_cuda(image) == gpus]
    return next(iter([*fitting, *images]), None)


def has_cuda(image: Image) -> bool:
    """Whether an image is made for GPUs.

    Raises:
        InputError: Its stack is wrong.
    """
    stack = stack_name(image)
    return stack is not None and CUDA in load_stack(stack).records


def stack_name(image: Image) -> str | None:
    """The stack of an image: its own, or that of what it stands on."""
    stacks = [below.stack for below in lineage(image.name) if below.stack]
    return stacks[-1] if stacks else None
