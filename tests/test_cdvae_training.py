"""CDVAE learns and samples: scores against a brute-force oracle, dynamics, training in small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.cdvae.batch import Batch
from kappaforge.generate.cdvae.langevin import annealed_langevin
from kappaforge.generate.cdvae.network import CdvaeNetwork, fresh_network
from kappaforge.generate.cdvae.sampling import decode, likely_sizes
from kappaforge.generate.cdvae.settings import LangevinSettings
from kappaforge.generate.cdvae.wrapped import wrapped_scores
from test_cdvae import TINY, random_crystal

# Wrapped scores


def log_density(position: np.ndarray, sigma: float, cell: np.ndarray) -> float:
    """Brute force: all images within nine standard deviations."""
    n = np.ceil(9 * sigma / np.linalg.svd(cell)[1].min() + 2).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    exponents = -((position + grid) ** 2).sum(axis=1) / (2 * sigma**2)
    return float(exponents.max() + np.log(np.exp(exponents - exponents.max()).sum()))


@pytest.mark.parametrize("sigma", [0.01, 0.2, 0.6, 1.0, 1.6, 3.0])
@pytest.mark.parametrize(
    "cell",
    [
        2.5 * np.eye(3),
        random_crystal(6).cell,
        np.diag([2.0, 2.5, 6.0]),
        np.array([[2.5, 0, 0], [1.2, 2.2, 0], [1, 1, 5]]),
    ],
    ids=["cubic", "triclinic", "long", "skewed"],
)
def test_wrapped_scores_are_the_slope_of_the_log_density(cell: np.ndarray, sigma: float) -> None:
    moved = np.random.default_rng(7).normal(scale=sigma, size=(4, 3))
    scores = wrapped_scores(
        torch.from_numpy(moved), torch.tensor([sigma]).double(), torch.tensor(cell)[None], torch.tensor([4])
    ).numpy()
    step = 1e-3 * min(sigma, 1.0)
    for position, score in zip(moved, scores, strict=True):
        slopes = [
            (log_density(position + e, sigma, cell) - log_density(position - e, sigma, cell)) / (2 * step)
            for e in step * np.eye(3)
        ]
        np.testing.assert_allclose(score * sigma, np.array(slopes) * sigma, atol=2e-4)


def test_wrapped_scores_vanish_where_the_noise_exceeds_the_cell_and_are_gaussian_where_it_is_small() -> None:
    cells, n = 2.5 * torch.eye(3)[None], torch.tensor([5])
    moved = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert wrapped_scores(10 * moved, torch.tensor([10.0]), cells, n).abs().max() < 1e-6
    torch.testing.assert_close(wrapped_scores(0.01 * moved, torch.tensor([0.01]), cells, n), -100 * moved)
    assert torch.isfinite(wrapped_scores(moved, torch.tensor([1e-3]), cells, n)).all()


def test_langevin_with_the_exact_scores_finds_the_sites() -> None:
    crystal = random_crystal(9, 4)
    sites = torch.from_numpy(crystal.fractional) % 1
    cell = torch.from_numpy(crystal.cell.copy())[None]

    def denoiser(fractional: torch.Tensor, numbers: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        moved = (fractional - sites) @ cell[0]
        return wrapped_scores(moved, torch.tensor([sigma]), cell, torch.tensor([4])), numbers

    rng = torch.Generator().manual_seed(1)
    network = fresh_network(TINY, seed=0)
    fractional, _ = annealed_langevin(
        torch.rand(4, 3, generator=rng).double(),
        torch.full((4,), 6),
        cell.expand(4, 3, 3),
        denoiser,
        lambda: torch.randn(4, 3, generator=rng).double(),
        network.sigmas_ang,
        LangevinSettings(steps_per_level=30, first_sigma_ang=3.0),
    )
    delta = fractional - sites
    errors = ((delta - delta.round()) @ cell[0]).norm(dim=1)
    assert errors.max() < 0.06  # six times the last noise


def test_noise_levels_are_the_published_ones() -> None:
    network = fresh_network(TINY, seed=0)
    np.testing.assert_allclose(network.sigmas_ang, np.geomspace(10, 0.01, 50), rtol=1e-5)
    np.testing.assert_allclose(network.type_sigmas, np.geomspace(5, 0.01, 50), rtol=1e-5)


# Training and sampling


def carbons() -> list[Crystal]:
    graphite = bulk("C", "hcp", a=2.46, c=4.1)
    return [Crystal.from_ase(atoms) for atoms in (bulk("C"), bulk("C", cubic=True), graphite, bulk("C", "fcc", 3.1))]


def salts() -> list[Crystal]:
    kinds = [("LiF", "rocksalt", 4.0), ("MgO", "rocksalt", 4.2), ("BN", "zincblende", 3.6), ("SiC", "zincblende", 4.4)]
    return [Crystal.from_ase(bulk(name, kind, a)) for name, kind, a in kinds]


@torch.no_grad()
def measured(network: CdvaeNetwork, batch: Batch) -> dict[str, float]:
    """Mean losses over the same draws of noise, whatever the weights."""
    rows = [network.loss(batch, torch.Generator().manual_seed(seed)) for seed in range(10)]
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}


def fitted(crystals: list[Crystal], steps: int) -> tuple[CdvaeNetwork, dict[str, float], dict[str, float]]:
    """Train in a handful of steps; return the network with the losses before and after."""
    network = fresh_network(TINY, seed=3)
    batch, rng = Batch.from_crystals(crystals * 4), torch.Generator().manual_seed(4)
    network.prepare(batch, rng)
    before = measured(network, batch)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(steps):
        loss = network.loss(batch, rng)["loss"]
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    after = measured(network, batch)
    return network.eval(), before, after


@pytest.fixture(scope="module")
def of_carbon() -> tuple[CdvaeNetwork, dict[str, float], dict[str, float]]:
    return fitted(carbons(), 120)


@pytest.fixture(scope="module")
def of_salts() -> tuple[CdvaeNetwork, dict[str, float], dict[str, float]]:
    return fitted(salts(), 120)


def test_loss_falls_on_carbon(of_carbon) -> None:
    _, before, after = of_carbon
    assert after["loss"] < 0.5 * before["loss"]
    for name in ("num_atoms", "lattice", "composition", "types"):
        assert after[name] < 0.5 * before[name], name
    assert after["coordinates"] < 0.95 * before["coordinates"]


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    network = fresh_network(TINY, seed=0)
    losses = network.loss(Batch.from_crystals(carbons()), torch.Generator().manual_seed(0))
    weights = {"num_atoms": 1, "coordinates": 10, "types": 1, "lattice": 10, "composition": 1, "kl": 0.01}
    assert set(losses) == {"loss", *weights}
    expected = sum(weight * losses[name] for name, weight in weights.items())
    torch.testing.assert_close(losses["loss"], expected)


def test_every_trained_weight_gets_a_gradient() -> None:
    network = fresh_network(replace(TINY, predict_property=True), seed=0)
    batch = Batch.from_crystals(salts(), properties=[1.0, 2.0, 3.0, 4.0])
    network.prepare(batch, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for output in network.encoder.outputs:
            torch.nn.init.orthogonal_(output.last.weight)  # they begin as zero, which stops gradients
    network.loss(batch, torch.Generator().manual_seed(0))["loss"].backward()
    idle = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert idle == {name for name, p in network.named_parameters() if not p.requires_grad}
    assert all(".energy." in name for name in idle)


def test_scale_factors_keep_the_variance() -> None:
    network = fresh_network(TINY, seed=0)
    batch = Batch.from_crystals([random_crystal(seed) for seed in range(8)])
    network.prepare(batch, torch.Generator().manual_seed(0))
    factors = [float(value) for name, value in network.state_dict().items() if name.endswith("factor")]
    assert len(factors) == (4 * TINY.decoder.blocks + 1) + (2 * TINY.encoder.blocks + 1)
    assert all(np.isfinite(factors))
    assert len({round(factor, 6) for factor in factors}) == len(factors)


def test_property_head_learns() -> None:
    network = fresh_network(replace(TINY, predict_property=True), seed=0)
    with pytest.raises(InputError, match="property"):
        network.loss(Batch.from_crystals(carbons()), torch.Generator())
    with pytest.raises(InputError, match="no property"):
        fresh_network(TINY, seed=0).properties(torch.zeros(1, 8))
    batch, rng = Batch.from_crystals(salts(), properties=[-3.0, 10.0, 20.0, 7.0]), torch.Generator().manual_seed(0)
    network.prepare(batch, rng)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(100):
        loss = network.loss(batch, rng)["property"]
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        predicted = network.properties(network.encode(batch)[0])
    np.testing.assert_allclose(predicted, batch.properties, atol=2.0)


def test_decoder_moves_to_the_predicted_cells_after_teacher_forcing() -> None:
    network = fresh_network(replace(TINY, teacher_forcing_epochs=1), seed=0)
    batch = Batch.from_crystals(carbons())
    network.prepare(batch, torch.Generator().manual_seed(0))
    found = []
    for _ in range(2):
        network.begin_epoch()
        losses = network.loss(batch, torch.Generator().manual_seed(5))
        assert all(torch.isfinite(value) for value in losses.values())
        found.append({name: float(value.detach()) for name, value in losses.items()})
    assert found[0]["coordinates"] != found[1]["coordinates"]
    assert found[0]["lattice"] == found[1]["lattice"]


def test_too_many_atoms_are_refused() -> None:
    network = fresh_network(replace(TINY, max_atoms=4), seed=0)
    with pytest.raises(InputError, match="max_atoms"):
        network.loss(Batch.from_crystals([random_crystal(0)]), torch.Generator())


def sampled(network: CdvaeNetwork, n: int, seed: int, num_atoms: list[int] | None = None, **options):
    rngs = [torch.Generator().manual_seed(seed + index) for index in range(n)]
    latents = torch.stack([torch.randn(network.settings.latent, generator=rng) for rng in rngs])
    sizes = num_atoms or likely_sizes(network, latents, range(1, 25))
    return decode(network, latents, sizes, rngs, LangevinSettings(steps_per_level=2), **options)


def test_samples_are_crystals_and_the_same_again_for_the_same_seed(of_carbon) -> None:
    network = of_carbon[0]
    first, again, other = (sampled(network, 3, seed) for seed in (0, 0, 50))
    for one, two in zip(first, again, strict=True):
        assert not one.reason
        crystal = Crystal(one.cell, one.positions, one.numbers)
        assert crystal.elements == {"C"}
        np.testing.assert_array_equal(one.positions, two.positions)
        np.testing.assert_array_equal(one.cell, two.cell)
    assert not np.array_equal(first[0].cell, other[0].cell)


def test_numbers_of_atoms_and_elements_can_be_given(of_salts) -> None:
    network = of_salts[0]
    assert [len(one.numbers) for one in sampled(network, 3, 0, [1, 7, 4])] == [1, 7, 4]
    given = [np.array([5, 7, 5]), np.array([6])]
    for one, numbers in zip(sampled(network, 2, 0, [3, 1], numbers=given), given, strict=True):
        np.testing.assert_array_equal(one.numbers, numbers)
    for one in sampled(network, 2, 0, elements=[8, 12]):
        assert set(one.numbers) <= {8, 12}
    latents = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    assert set(likely_sizes(network, latents, [3, 9])) <= {3, 9}
    with pytest.raises(InputError, match="1 to 24"):
        likely_sizes(network, latents, [25])


def test_cells_without_room_are_failures_with_a_reason(of_carbon) -> None:
    network = fresh_network(TINY, seed=0).eval()
    with torch.no_grad():
        network.lattice_mean.copy_(torch.tensor([0.1, 0.1, 0.1, 90, 90, 90]))
    assert all("cannot hold" in one.reason for one in sampled(network, 2, 0))


def test_two_elements_train_and_sample(of_salts) -> None:
    network, before, after = of_salts
    assert after["loss"] < 0.5 * before["loss"]
    assert after["coordinates"] < 0.9 * before["coordinates"]
    assert after["composition"] < 0.6 * before["composition"]
    known = np.unique(np.concatenate([crystal.numbers for crystal in salts()]))
    free, held = sampled(network, 12, 0), sampled(network, 4, 0, elements=known.tolist())
    assert not any(one.reason for one in [*free, *held])
    drawn = np.concatenate([one.numbers for one in free])
    assert np.isin(drawn, known).mean() > 0.8, "8 of 100 elements would be drawn by chance"
    for one in held:  # as the generator samples
        assert np.isin(one.numbers, known).all()
