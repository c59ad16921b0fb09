"""Networks of papers, with their objectives: Lin et al. 2018, Uhlich et al. 2017."""
