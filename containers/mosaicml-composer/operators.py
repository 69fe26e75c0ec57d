"""Makes Composer importable beside a torch without torchvision's compiled operators.

Composer imports torchvision, whose wheel for another build of torch cannot load its operators; two
of them must at least be declared. Nothing here calls them. Where the wheel is of torch's own build
they are loaded, and nothing is declared.
"""

from importlib.util import find_spec
from pathlib import Path

import torch


def loaded() -> bool:
    """Whether torchvision's own operators are there; its import would not say why they are not."""
    found = find_spec("torchvision")
    places = found.submodule_search_locations if found else None
    try:
        for place in places or ():
            for library in Path(place).glob("_C*.so"):
                torch.ops.load_library(library)
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


DECLARED = None if loaded() else torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms") if DECLARED else ():
    DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
