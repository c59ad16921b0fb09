"""From a batch and a network to a loss."""
