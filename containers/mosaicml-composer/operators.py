"""Makes Composer importable beside a torch without torchvision's compiled operators.

Composer imports torchvision, whose wheel for another build of torch cannot load its operators; two
of them must at least be declared. Nothing here calls them.
"""

import torch

DECLARED = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
