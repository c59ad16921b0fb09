"""Pages and pictures that evaluations and listening tests leave behind."""
