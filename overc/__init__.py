"""OverC, a push monitor: hosts report the states of their services, one server watches.

`overc.cli` and `overc.client` need the standard library alone; the agent and the server need the
extras of the same names.
"""

__version__ = "2.0.0"
