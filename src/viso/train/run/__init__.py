"""A training run: the trainer, its supervisor, and the run folder."""
