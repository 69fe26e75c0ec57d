"""Stacks: which versions go together, and the rules between them."""
