"""How fast processes talk to each other, and whether what arrives is right."""
