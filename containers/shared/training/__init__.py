"""What test cases share: text, records, speed, checkpoints, and a starter of ranks."""
