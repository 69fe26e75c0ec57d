"""What is known of an image: inventory, SBOMs, provenance, report; functions of plain data."""
