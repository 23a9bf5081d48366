"""Arrays in HDF5 files, and the digests that tell whether a file is whole."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from kappaforge.files import replacing


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays to an HDF5 file and return the file's SHA-256.

    The file is made in memory: a full disk is then an `OSError`, where HDF5 itself would crash the process.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip", shuffle=True)
    with replacing(path) as temporary:
        temporary.write_bytes(image.getbuffer())
    return hashlib.sha256(image.getbuffer()).hexdigest()


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an HDF5 file."""
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
