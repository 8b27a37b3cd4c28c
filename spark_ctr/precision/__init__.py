"""Mixed 8-bit and 1-bit precision: training, layer choice and the packed model.

Import from the modules; this package imports nothing, so `spark_ctr.precision.packed` loads
without torch.
"""
