"""The packed program: a network as a list of operations on packed weights, run by NumPy alone.

Import from the modules; this package imports nothing. The format is written down in
``docs/packed_format.md``.
"""
