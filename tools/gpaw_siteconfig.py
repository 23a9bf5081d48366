"""How GPAW is compiled (GPAW_CONFIG): serial, as every crystal gets its own process, with FFTW, OpenBLAS and libxc."""

mpi = False
compiler = "g++"
fftw = True
noblas = False
nolibxc = False
libraries += ["fftw3", "openblas"]  # noqa: F821 (GPAW's setup.py defines the list)
