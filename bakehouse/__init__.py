"""Bakes machine images and containers for distributed training, and proves that they work."""
