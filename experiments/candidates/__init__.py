"""Candidate networks for the larger model, trained at an equal small budget and compared.

    tfc_tdf, band_split, subband, two_pass <- designs (all of them, by name)
    shares (part of the songs) -> training (a run) -> results (tables) , scaling (more songs)

`__main__` has the commands. What was found: docs/evidence/experiments.md, docs/evidence/quality.md.
"""
