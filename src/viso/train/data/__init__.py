"""Training data: readers, the packed corpus, the linter, and the mixer that draws from it."""
