"""Pages and pictures of evaluations and listening tests."""
