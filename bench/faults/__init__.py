"""Faults for batches: what breaks, what is there afterwards, what the user reads of it."""
