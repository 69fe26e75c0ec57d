"""The container builder: one BuildKit layer per role."""

from bakehouse.builder.build import BuildResult, Layer, build_image

__all__ = ["BuildResult", "Layer", "build_image"]
