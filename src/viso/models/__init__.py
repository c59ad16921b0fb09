"""Models: their cards, where they are kept, and how one runs."""
