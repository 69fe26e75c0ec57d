"""Which versions machines, containers and images really have, side by side with a stack."""
