"""Networks as papers describe them, with their objectives: Lin et al. 2018, Uhlich et al. 2017."""
