"""The tests. A regular package: latex2sympy2, which lmms-eval needs, installs another `tests`."""
