"""The parts of CDVAE: sizes, bases, graphs, and the symmetries of encoder and decoder."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from ase.build import bulk, make_supercell
from ase.cell import Cell
from matscipy.neighbours import neighbour_list
from scipy.special import sph_harm_y, spherical_jn
from scipy.stats import special_ortho_group

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.cdvae.basis import bessel, bessel_zeros, zonal_harmonics
from kappaforge.generate.cdvae.batch import Batch
from kappaforge.generate.cdvae.graph import TIE_ANG
from kappaforge.generate.cdvae.lattice import cells_of, lengths_and_angles, usable
from kappaforge.generate.cdvae.network import CdvaeNetwork, fresh_network, graph_of
from kappaforge.generate.cdvae.settings import (
    PRESETS,
    CdvaeSettings,
    DecoderSettings,
    EncoderSettings,
    LangevinSettings,
)

TINY = CdvaeSettings(
    encoder=EncoderSettings(hidden=16, triplet=8, atom=16, blocks=2, output_layers=1, neighbours=9),
    decoder=DecoderSettings(hidden=16, triplet=8, bilinear=8, blocks=2, radial=32, atom_layers=1, neighbours=9),
    latent=8,
    head_hidden=16,
)


def random_crystal(seed: int, n_atoms: int = 5, *, numbers: tuple[int, ...] = (6,)) -> Crystal:
    rng = np.random.default_rng(seed)
    cell = 2.6 * np.eye(3) + rng.normal(scale=0.4, size=(3, 3))
    return Crystal(cell, rng.uniform(size=(n_atoms, 3)) @ cell, rng.choice(numbers, n_atoms))


def raw_batch(crystal: Crystal) -> Batch:
    """The crystal in the very cell and frame it is given in, in double precision."""
    return Batch(
        torch.from_numpy(crystal.numbers.copy()),
        torch.from_numpy(crystal.fractional),
        torch.from_numpy(crystal.cell.copy())[None],
        torch.tensor([len(crystal)]),
    )


@pytest.fixture(scope="module")
def tiny() -> CdvaeNetwork:
    """A network none of whose weights are zero, in double precision."""
    network = fresh_network(TINY, seed=1).double().eval()
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return network


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# Sizes


def published_encoder_size(h: int = 128, t: int = 64, b: int = 8, a: int = 256, out: int = 256) -> int:
    """Weights and biases of DimeNetPlusPlusWrap, layer by layer, with conf/model/encoder/dimenet.yaml."""
    embedding = 6 + 95 * h + (6 * h + h) + (3 * h * h + h)
    output = 6 * h + (h * a + a) + 3 * (a * a + a) + a * out
    square = h * h + h
    interaction = 6 * b + b * h + 42 * b + b * t + 2 * square + h * t + t * h + 2 * square + square + 4 * square
    return embedding + 5 * output + 4 * interaction


def published_decoder_size(h: int = 128, latent: int = 256) -> int:
    """Weights and biases of GemNetTDecoder, layer by layer, with conf/model/decoder/gemnet.yaml; no scale factors."""
    shared = 3 * 128 * 16 + 7 * 128 * 16
    embedding = 100 * h + ((h + latent) * h + h) + (2 * h + 128) * h
    stack = h * h + 3 * 2 * h * h
    triplet = h * h + 16 * h + 64 * 16 * 64 + h * 64 + 2 * 64 * h
    interaction = h * h + triplet + 2 * h * h + 4 * h * h + (16 * h + stack) + 3 * h * h + 2 * h * h
    output = (16 * h + stack + h) + (16 * h + stack + h)
    return shared + embedding + 3 * interaction + 4 * output + (h * 100 + 100)


def test_paper_preset_has_the_published_numbers_of_parameters() -> None:
    network = fresh_network(PRESETS["paper"], seed=0)
    assert published_encoder_size() == 2_213_510  # 2.2 M
    assert published_decoder_size() == 2_345_188  # 2.35 M
    assert n_parameters(network.encoder) == pytest.approx(published_encoder_size(), rel=0.02)
    assert n_parameters(network.decoder) == pytest.approx(published_decoder_size(), rel=0.02)


def test_small_preset_fits_five_megabytes() -> None:
    assert 4 * n_parameters(fresh_network(PRESETS["small"], seed=0)) < 5e6


# Bases


@pytest.mark.parametrize("order", range(7))
def test_spherical_bessel_functions_are_those_of_scipy(order: int) -> None:
    x = np.geomspace(1e-3, 40, 400)
    np.testing.assert_allclose(bessel(order, torch.from_numpy(x)).numpy(), spherical_jn(order, x), atol=2e-6)
    assert abs(spherical_jn(order, bessel_zeros(7, 6)[order])).max() < 1e-9
    assert (np.diff(bessel_zeros(7, 6)[order]) > 3).all()


def test_zonal_harmonics_are_those_of_scipy() -> None:
    cosines = np.linspace(-1, 1, 21)
    expected = [sph_harm_y(order, 0, np.arccos(cosines), 0).real for order in range(7)]
    np.testing.assert_allclose(zonal_harmonics(torch.from_numpy(cosines), 7, dim=0), expected, atol=1e-12)


# Cells and graphs


def test_lengths_and_angles_are_those_of_ase_and_come_back() -> None:
    cells = np.array([random_crystal(seed).cell for seed in range(20)])
    parameters = lengths_and_angles(torch.from_numpy(cells))
    np.testing.assert_allclose(parameters, [Cell(cell).cellpar() for cell in cells])
    made = cells_of(parameters).numpy()
    np.testing.assert_allclose(made, [Cell.fromcellpar(row).array for row in parameters.numpy()], atol=1e-9)


def test_cells_that_cannot_hold_the_atoms_are_told() -> None:
    rows = [[3, 3, 3, 90, 90, 90], [3, 3, 3, 60, 60, 121], [3, 3, 0.5, 90, 90, 90], [3, 3, float("nan"), 90, 90, 90]]
    rows += [[2, 2, 2, 90, 90, 90], [3, 3, 3, 90, 90, -60]]
    found = usable(torch.tensor(rows), torch.full((6,), 9))
    assert found.tolist() == [True, False, False, False, False, False]


def test_batch_holds_the_same_crystals_in_reduced_cells() -> None:
    crystals = [random_crystal(seed, numbers=(6, 7)) for seed in range(4)]
    skewed = [np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ crystal.cell for crystal in crystals]
    batch = Batch.from_crystals(
        [Crystal(cell, c.positions, c.numbers) for cell, c in zip(skewed, crystals, strict=True)], dtype=torch.float64
    )
    plain = Batch.from_crystals(crystals, dtype=torch.float64)
    torch.testing.assert_close(batch.cells, plain.cells)
    for index, crystal in enumerate(crystals):
        atoms = batch.of_atom == index
        positions = batch.fractional[atoms] @ batch.cells[index]
        made = Crystal(batch.cells[index].numpy(), positions.numpy(), batch.numbers[atoms].numpy())
        ours, theirs = (np.sort(neighbour_list("d", c.to_ase(), 4.0)) for c in (made, crystal))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        np.testing.assert_array_equal(made.numbers, crystal.numbers)


def test_batch_refuses_elements_beyond_the_model_and_emptiness() -> None:
    with pytest.raises(InputError, match="up to 100"):
        Batch.from_crystals([random_crystal(0, numbers=(103,))])
    with pytest.raises(InputError, match="at least one"):
        Batch.from_crystals([])


def expected_edges(crystal: Crystal, cutoff_ang: float, k: int) -> list[tuple[int, int, float]]:
    """Brute force: k nearest of all images with ties, and the reverse of each edge."""
    i, j, d, shifts = neighbour_list("ijdS", crystal.to_ase(), cutoff_ang)
    edges = set()
    for atom in range(len(crystal)):
        mine = np.flatnonzero(i == atom)
        last = np.sort(d[mine])[k - 1] if len(mine) >= k else cutoff_ang
        for edge in mine[d[mine] <= last + TIE_ANG]:
            shift = tuple(int(s) for s in shifts[edge])
            edges.add((int(i[edge]), int(j[edge]), shift, round(float(d[edge]), 6)))
            edges.add((int(j[edge]), int(i[edge]), tuple(-s for s in shift), round(float(d[edge]), 6)))
    return sorted((one, two, distance) for one, two, _, distance in edges)


@pytest.mark.parametrize("cutoff_ang", [7.0, 3.0])
@pytest.mark.parametrize(
    "crystal",
    [Crystal.from_ase(bulk("C")), Crystal.from_ase(bulk("Po", "sc", 2.2)), random_crystal(3), random_crystal(4, 1)],
    ids=["diamond", "cubic", "random", "one atom"],
)
def test_graph_is_the_nearest_neighbours_of_brute_force(crystal: Crystal, cutoff_ang: float) -> None:
    settings = replace(TINY.encoder, cutoff_ang=cutoff_ang)
    batch = raw_batch(crystal)
    graph = graph_of(batch.fractional, batch.cells, batch.num_atoms, settings)
    rows = zip(graph.target.tolist(), graph.source.tolist(), graph.distances.tolist(), strict=True)
    found = sorted((target, source, round(distance, 6)) for target, source, distance in rows)
    np.testing.assert_allclose(found, expected_edges(crystal, cutoff_ang, settings.neighbours), atol=2e-6)


def test_graph_pairs_every_edge_with_its_reverse() -> None:
    batch = Batch.from_crystals([random_crystal(seed, 3 + seed) for seed in range(4)])
    graph = graph_of(batch.fractional, batch.cells, batch.num_atoms, TINY.decoder)
    assert (graph.reverse[graph.reverse] == torch.arange(len(graph.reverse))).all()
    assert (graph.source[graph.reverse] == graph.target).all()
    assert (batch.of_atom[graph.source] == batch.of_atom[graph.target]).all()
    torch.testing.assert_close(graph.units[graph.reverse], -graph.units, rtol=0, atol=0)


def test_triplet_sums_are_those_of_a_loop(tiny: CdvaeNetwork) -> None:
    batch = raw_batch(random_crystal(5, 3))
    graph = graph_of(batch.fractional, batch.cells, batch.num_atoms, TINY.decoder)
    rng = torch.Generator().manual_seed(0)
    n = len(graph.source)
    messages, radial = torch.rand(n, 16, generator=rng).double(), torch.rand(n, 6, generator=rng).double()
    spherical = torch.rand(n, 7, 6, generator=rng).double()
    angular = (zonal_harmonics(-graph.cosines(), 7, dim=-1) * graph.others()[..., None]).flatten(2)
    block = tiny.encoder.interactions[0]
    found = block(messages, radial, spherical, angular, graph)

    silu = torch.nn.functional.silu
    arriving = silu(block.down(silu(block.arriving(messages)) * block.radial_up(block.radial_down(radial))))
    sums = []
    for edge in range(n):  # j to i
        total = torch.zeros(8, dtype=torch.float64)
        for other in range(n):  # k to j
            if graph.target[other] == graph.source[edge] and other != graph.reverse[edge]:
                # towards j along the one edge, on to i along the other
                cosine = torch.dot(-graph.units[other], -graph.units[edge])
                harmonics = zonal_harmonics(cosine[None], 7, dim=-1)[0]
                weight = block.spherical_up(block.spherical_down((spherical[other] * harmonics[:, None]).flatten()))
                total = total + arriving[other] * weight
        sums.append(total)
    x = silu(block.leaving(messages)) + silu(block.up(torch.stack(sums)))
    torch.testing.assert_close(found, block.after_skip(silu(block.skip(block.before_skip(x))) + messages))


def test_lonely_atoms_and_atoms_on_top_of_each_other_give_finite_numbers(tiny: CdvaeNetwork) -> None:
    lonely = Crystal(20 * np.eye(3), [[0, 0, 0]], [6])
    piled = Crystal(3 * np.eye(3), [[0, 0, 0], [0, 0, 0], [1e-9, 0, 0]], [6, 6, 6])
    for crystal in (lonely, piled):
        pushes, logits = decoded(tiny, crystal)
        assert torch.isfinite(pushes).all()
        assert torch.isfinite(logits).all()
        with torch.no_grad():
            assert torch.isfinite(tiny.encode(raw_batch(crystal))[0]).all()


# Symmetries: each turns a crystal into another description of it

ROTATION = special_ortho_group.rvs(3, random_state=np.random.default_rng(8))
ORDER = (3, 0, 4, 1, 2)


def rotated(crystal: Crystal) -> Crystal:
    return Crystal(crystal.cell @ ROTATION, crystal.positions @ ROTATION, crystal.numbers)


def mirrored(crystal: Crystal) -> Crystal:
    return Crystal(-crystal.cell, -crystal.positions, crystal.numbers)


def translated(crystal: Crystal) -> Crystal:
    return Crystal(crystal.cell, crystal.positions + np.array([0.7, -5.1, 11.3]), crystal.numbers)


def permuted(crystal: Crystal) -> Crystal:
    order = [index for index in ORDER if index < len(crystal)]
    return Crystal(crystal.cell, crystal.positions[order], crystal.numbers[order])


def rebased(crystal: Crystal) -> Crystal:
    return Crystal(np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]]) @ crystal.cell, crystal.positions, crystal.numbers)


def doubled(crystal: Crystal) -> Crystal:
    return Crystal.from_ase(make_supercell(crystal.to_ase(), [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]))


CHANGES = [rotated, mirrored, translated, permuted, rebased, doubled]
CRYSTALS = {
    "diamond": Crystal.from_ase(bulk("C")),
    "zinc blende": Crystal.from_ase(bulk("BN", "zincblende", 3.6)),
    "two elements": random_crystal(1, numbers=(5, 7)),
    "crowded": random_crystal(2),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", CRYSTALS)
def test_encoder_sees_the_crystal_not_its_description(tiny: CdvaeNetwork, name: str, change) -> None:
    with torch.no_grad():
        before = tiny.encode(raw_batch(CRYSTALS[name]))
        after = tiny.encode(raw_batch(change(CRYSTALS[name])))
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-8)


def test_encoder_tells_crystals_apart(tiny: CdvaeNetwork) -> None:
    with torch.no_grad():
        means = [tiny.encode(raw_batch(crystal))[0] for crystal in CRYSTALS.values()]
    for index, one in enumerate(means):
        for other in means[index + 1 :]:
            assert (one - other).abs().max() > 1e-2 * one.abs().max()


def place_of(position: np.ndarray, crystal: Crystal) -> int:
    """Index of the atom of which this is an image."""
    shifts = (position - crystal.positions) @ np.linalg.inv(crystal.cell)
    return int(abs(shifts - shifts.round()).sum(axis=1).argmin())


def decoded(network: CdvaeNetwork, crystal: Crystal) -> tuple[torch.Tensor, torch.Tensor]:
    batch = raw_batch(crystal)
    graph = graph_of(batch.fractional, batch.cells, batch.num_atoms, network.settings.decoder)
    latents = torch.linspace(-1, 1, network.settings.latent, dtype=torch.float64).expand(len(crystal), -1)
    with torch.no_grad():
        return network.decoder(latents, batch.numbers, graph)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", CRYSTALS)
def test_decoder_turns_with_the_crystal(tiny: CdvaeNetwork, name: str, change) -> None:
    crystal = CRYSTALS[name]
    pushes, logits = decoded(tiny, crystal)
    changed_pushes, changed_logits = decoded(tiny, change(crystal))
    if change is rotated:
        pushes = pushes @ torch.from_numpy(ROTATION)
    elif change is mirrored:
        pushes = -pushes
    elif change is permuted:
        order = [index for index in ORDER if index < len(crystal)]
        pushes, logits = pushes[order], logits[order]
    elif change is doubled:
        origin = [place_of(position, crystal) for position in change(crystal).positions]
        pushes, logits = pushes[origin], logits[origin]
    torch.testing.assert_close(changed_pushes, pushes, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(changed_logits, logits, rtol=1e-6, atol=1e-8)
    if name in ("two elements", "crowded"):
        assert pushes.abs().max() > 1e-3


# Settings


def test_settings_come_back_from_a_dictionary_and_have_a_digest() -> None:
    for settings in PRESETS.values():
        assert CdvaeSettings.from_dict(asdict(settings)) == settings
    assert PRESETS["paper"].digest != PRESETS["small"].digest
    assert PRESETS["paper"].digest == CdvaeSettings().digest
    assert LangevinSettings().digest != LangevinSettings(steps_per_level=5).digest


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EncoderSettings(hidden=0), r"\[cdvae.encoder\] hidden"),
        (lambda: DecoderSettings(cutoff_ang=float("nan")), r"\[cdvae.decoder\] cutoff_ang"),
        (lambda: CdvaeSettings(sigma_min_ang=20.0), "sigma_min_ang"),
        (lambda: CdvaeSettings(latent=-1), "latent"),
        (lambda: LangevinSettings(steps_per_level=0), "steps_per_level"),
        (lambda: CdvaeSettings.from_dict({"latents": 3}), "another version"),
    ],
)
def test_bad_settings_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
