"""Everything that is SQL, and nothing else.

Functions here take a `Transaction` and run in a database thread; `engine.Store` runs them.
"""
