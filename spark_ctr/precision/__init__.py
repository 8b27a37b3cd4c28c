"""Mixed 8-bit and 1-bit precision: training, layer choice, and packing into a program.

Import from the modules; this package imports nothing. What computes a packed program is
`spark_ctr.runtime`.
"""
