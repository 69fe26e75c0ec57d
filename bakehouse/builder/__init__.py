"""The container builder: one BuildKit layer per role."""

from bakehouse.builder.build import build_image
from bakehouse.builder.result import BuildResult, Layer

__all__ = ["BuildResult", "Layer", "build_image"]
