"""Bundles: a folder with everything that a stack's images fetch, for places without a network."""
