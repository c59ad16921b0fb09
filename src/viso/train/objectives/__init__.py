"""Objectives: compute a loss from a batch and a network."""
