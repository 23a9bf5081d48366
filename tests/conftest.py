"""Fixtures shared by all tests."""

import os
from pathlib import Path

# One thread per test process: results do not depend on the machine's core count, and workers do not fight.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from kappaforge.crystal import Crystal


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of development data beside the checkout (or $KAPPAFORGE_DATA); none of it is part of the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("KAPPAFORGE_DATA", beside))
    if not folder.is_dir():
        pytest.skip("the development data are not here: set KAPPAFORGE_DATA to their folder")
    return folder


@pytest.fixture
def diamond() -> Crystal:
    """Diamond in its primitive cell."""
    return Crystal.from_ase(bulk("C", "diamond", a=3.567), id="diamond", source="test")


@pytest.fixture
def poscar(tmp_path: Path) -> Path:
    """Diamond in a file."""
    path = tmp_path / "POSCAR"
    write(path, bulk("C", "diamond", a=3.56), format="vasp")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20251)


@pytest.fixture(scope="session")
def small_flow(tmp_path_factory):
    """A flow that has seen a few known carbons for a few epochs, in a file."""
    from kappaforge.dataset.known_carbon import known_carbons
    from kappaforge.generate.flow.generator import Flow
    from kappaforge.generate.flow.settings import FlowSettings
    from kappaforge.generate.training import TrainingSettings

    crystals = [entry.crystal for entry in known_carbons() if len(entry.crystal) <= 8]
    model = FlowSettings(layers=2, scalars=24, vectors=12, tensors=6, radials=8, latent=8, encoder_layers=1)
    flow = Flow.fit(crystals, model=model, training=TrainingSettings(epochs=120, batch_size=4, learning_rate=3e-3))
    path = tmp_path_factory.mktemp("flow") / "small.safetensors"
    flow.save(path)
    return path


@pytest.fixture(scope="session")
def small_cdvae(tmp_path_factory):
    """A CDVAE that has seen a few known carbons for a few epochs, in a file."""
    from kappaforge.dataset.known_carbon import known_carbons
    from kappaforge.generate.cdvae.generator import Cdvae
    from kappaforge.generate.cdvae.settings import CdvaeSettings, DecoderSettings, EncoderSettings
    from kappaforge.generate.training import TrainingSettings

    crystals = [entry.crystal for entry in known_carbons() if len(entry.crystal) <= 8]
    encoder = EncoderSettings(hidden=16, triplet=8, atom=16, blocks=1, output_layers=1, neighbours=8)
    decoder = DecoderSettings(hidden=24, triplet=8, bilinear=8, blocks=1, radial=32, atom_layers=1, neighbours=8)
    model = CdvaeSettings(encoder=encoder, decoder=decoder, latent=8, head_hidden=16)
    cdvae = Cdvae.fit(crystals, model=model, training=TrainingSettings(epochs=15, batch_size=4, learning_rate=3e-3))
    path = tmp_path_factory.mktemp("cdvae") / "small.safetensors"
    cdvae.save(path)
    return path
