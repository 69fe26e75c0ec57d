"""Benchmarks that a user runs: how fast a machine's or a cluster's collectives are."""
