"""viso beside other separators: speed, memory, size and quality, measured in one run.

    environments -> systems (what to run) -> measuring (round robin) -> scores -> tables

Each system runs as a process of its own, in a virtual environment of its own; see `__main__`.
"""
