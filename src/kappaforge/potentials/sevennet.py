"""SevenNet's universal models.

They go through their ASE calculator, one crystal after the other: on a CPU, several crystals in one graph are slower
(measured: 41 ms per atom one by one, 70 in graphs of 64 atoms).
"""

from __future__ import annotations

import hashlib
import os
import warnings
from importlib.metadata import version
from pathlib import Path

from ase.data import chemical_symbols

from kappaforge.errors import InputError
from kappaforge.potentials.ase_calculator import AsePotential


def sevennet_0() -> AsePotential:
    """Return SevenNet-0 (11 July 2024; doi 10.1021/acs.jctc.4c00190), whose weights come with the package ``sevenn``.

    It computes in single precision, with one thread unless OMP_NUM_THREADS says otherwise: a campaign runs one process
    per core.

    Raises
    ------
    InputError
        Where the package or its weights are missing; nothing is downloaded.
    """
    try:
        import torch
        from sevenn._const import SEVENNET_0_11Jul2024
        from sevenn.calculator import SevenNetCalculator
    except ImportError as error:
        raise InputError("potential '7net-0' needs SevenNet: pip install 'kappaforge[sevenn]'") from error
    weights = Path(SEVENNET_0_11Jul2024)
    if not weights.is_file():
        raise InputError(f"potential '7net-0': {weights} is missing; reinstall with pip install 'kappaforge[sevenn]'")
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about accelerators for graphics cards
        calculator = SevenNetCalculator(weights, device="cpu")
    content = hashlib.sha256(weights.read_bytes())
    content.update(repr([(package, version(package)) for package in ("sevenn", "torch", "e3nn")]).encode())
    elements = frozenset(chemical_symbols[number] for number in calculator.type_map)
    return AsePotential("7net-0", calculator, content.hexdigest(), elements)
