"""Models: their cards, where they are stored, and how to run them."""
