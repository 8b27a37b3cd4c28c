"""Kernels in C that run packed programs: the same bits as NumPy's, in a fraction of the time.

`build` compiles the library, and `library` loads it. Where it is not there, NumPy computes.
"""
