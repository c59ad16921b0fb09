"""A training run: the trainer, what supervises it, and the folder it leaves."""
