"""The compute family: a network compiled into compute shaders, for Unity projects without an inference package.

`operators` reads the one valid form into steps, `compiler` folds steps into a `plan` of dispatches, `kernels`
writes the `.compute` file, `file` the `.bytes` asset; `emulation` computes what a plan means and `execution` runs
it on a GPU. docs/compute.md describes all of it.
"""
