"""The compute family: networks compiled into compute shaders, for Unity projects without an inference package.

`operators` reads a valid graph into steps, `compiler` fuses steps into a `plan` of dispatches, `kernels` writes
the `.compute` file and `file` the `.bytes` asset; `emulation` computes a plan with NumPy, `execution` runs it on a
GPU. docs/compute.md describes the family.
"""
