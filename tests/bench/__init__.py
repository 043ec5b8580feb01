"""The benchmark suite: see `run.py` for the one command, `docs/performance.md` for method and figures.

It knows nothing of the product's code.  It writes a configuration file, starts the built `ccr` as a process
and talks HTTP to it, so it measures what a person gets and measures any other router in the same way.
"""
