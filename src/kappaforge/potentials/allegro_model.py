"""Allegro models as plain torch modules, and their energies and gradients on graphs of many crystals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from allegro.model.allegro_models import FullAllegroModel
from ase.data import atomic_numbers
from e3nn.o3 import Irreps
from matscipy.neighbours import neighbour_list
from nequip.utils import conditional_torchscript_mode, torch_default_dtype

from kappaforge.errors import InputError
from kappaforge.potentials.allegro_settings import AllegroSettings
from kappaforge.potentials.base import Batch
from kappaforge.potentials.contraction import replace_contracters
from kappaforge.potentials.core import CoreRepulsion

MIN_DISTANCE_ANG = 0.2
"""Atoms nearer than this are taken for overlapping; the bond of H₂ is 0.74 Å."""

MAX_DENSITY_PER_ANG3 = 2.0
"""Atoms per Å³ above which a crystal counts as crushed, lest its neighbours fill the memory; diamond has 0.18."""

_PERIODIC = np.ones(3, dtype=bool)


@dataclass(frozen=True)
class ModelCard:
    """What a user should know of a model before trusting it, in words."""

    data: str = ""
    functional: str = ""
    errors: str = ""


@dataclass(frozen=True, eq=False)
class AllegroModel:
    """A model with everything that is needed to build it again.

    Parameters
    ----------
    settings
        Its shape.
    elements
        Symbols it knows.
    mean_neighbours
        Neighbours of an atom within the cutoff, averaged over the training set; normalises the sums.
    precision
        ``float32`` or ``float64``: of the network; edge vectors and sums over atoms are always double.
    weights
        Parameters, and the energy scale and shift of each element in eV, by their names in the module.
    card
        Its data, functional and errors.
    """

    settings: AllegroSettings
    elements: tuple[str, ...]
    mean_neighbours: float
    precision: str
    weights: dict[str, np.ndarray] = field(repr=False)
    card: ModelCard = ModelCard()


class Graph(NamedTuple):
    """Neighbours within the cutoff, of all crystals of a batch.

    ==========  ============  =====================================================
    field       shape         content
    ==========  ============  =====================================================
    first       (n_edges,)    central atom of each edge
    second      (n_edges,)    neighbour
    vectors     (n_edges, 3)  from the central atom to the neighbour, Å, float64
    types       (n_atoms,)    index of each atom's element among the model's
    of_atom     (n_atoms,)    index of each atom's crystal
    n_crystals  –             number of crystals
    ==========  ============  =====================================================
    """

    first: torch.Tensor
    second: torch.Tensor
    vectors: torch.Tensor
    types: torch.Tensor
    of_atom: torch.Tensor
    n_crystals: int

    @classmethod
    def joined(cls, graphs: Sequence[Graph]) -> Graph:
        """Return one graph of all the crystals."""
        atoms = np.cumsum([0, *(len(graph.types) for graph in graphs)])
        crystals = np.cumsum([0, *(graph.n_crystals for graph in graphs)])
        return cls(
            torch.cat([graph.first + int(start) for graph, start in zip(graphs, atoms[:-1], strict=True)]),
            torch.cat([graph.second + int(start) for graph, start in zip(graphs, atoms[:-1], strict=True)]),
            torch.cat([graph.vectors for graph in graphs]),
            torch.cat([graph.types for graph in graphs]),
            torch.cat([graph.of_atom + int(start) for graph, start in zip(graphs, crystals[:-1], strict=True)]),
            int(crystals[-1]),
        )


def graphs_of(batch: Batch, elements: Sequence[str], cutoff_ang: float) -> list[Graph | None]:
    """Return the graph of each crystal; None for one that is not finite, crushed, or has overlapping atoms."""
    type_of = np.full(119, -1)
    type_of[[atomic_numbers[symbol] for symbol in elements]] = np.arange(len(elements))
    graphs: list[Graph | None] = []
    for cell, rows in zip(batch.cells, batch.slices, strict=True):
        positions = batch.positions[rows]
        finite = np.isfinite(cell).all() and np.isfinite(positions).all()
        if not finite or len(positions) > MAX_DENSITY_PER_ANG3 * abs(np.linalg.det(cell)):
            graphs.append(None)
            continue
        i, j, vectors = neighbour_list("ijD", cutoff=cutoff_ang, positions=positions, cell=cell, pbc=_PERIODIC)
        if len(i) and (vectors**2).sum(axis=1).min() < MIN_DISTANCE_ANG**2:
            graphs.append(None)
            continue
        first, second = (torch.from_numpy(ends.astype(np.int64)) for ends in (i, j))
        types = torch.from_numpy(type_of[batch.numbers[rows]])
        graphs.append(Graph(first, second, torch.from_numpy(vectors), types, torch.zeros_like(types), 1))
    return graphs


def energies_and_forces(
    module: torch.nn.Module, graph: Graph, *, training: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return energies in eV, forces in eV/Å, and the derivatives by the edge vectors in eV/Å; all double.

    Shapes (n_crystals,), (n_atoms, 3) and (n_edges, 3). With `training`, the forces can be differentiated again.
    """
    vectors = graph.vectors.detach().requires_grad_()
    edges = torch.stack([graph.first, graph.second])
    answer = module({"edge_vectors": vectors, "edge_index": edges, "atom_types": graph.types})
    per_atom = answer["atomic_energy"].view(-1)
    energies = per_atom.new_zeros(graph.n_crystals).index_add(0, graph.of_atom, per_atom)
    (gradient,) = torch.autograd.grad(per_atom.sum(), vectors, create_graph=training)
    still = gradient.new_zeros(len(graph.types), 3)
    forces = still.index_add(0, graph.first, gradient).index_add(0, graph.second, gradient, alpha=-1)
    return (energies if training else energies.detach()), forces, gradient


def fresh_module(
    settings: AllegroSettings, elements: Sequence[str], mean_neighbours: float, precision: str, seed: int
) -> torch.nn.Module:
    """Return the torch module of a new model with random weights, energy scales 1 and shifts 0."""
    parities = (1, -1) if settings.odd_features else (1,)
    harmonics = Irreps.spherical_harmonics(settings.l_max, p=-1)
    tracked = Irreps([(1, (order, parity)) for order in range(settings.l_max + 1) for parity in parities])
    # nequip's own builder wants its global state, which changes torch's default precision and random state for
    # every other potential in the process; the function it wraps wants only what is set here, and for the call alone.
    with _fresh_torch(precision, seed):
        model = FullAllegroModel.__wrapped__(
            r_max=settings.cutoff_ang,
            type_names=list(elements),
            irreps_edge_sh=repr(harmonics),
            tensor_track_allowed_irreps=tracked if settings.odd_features else repr(harmonics),
            radial_chemical_embed={
                "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
                "num_bessels": settings.bessels,
                "polynomial_cutoff_p": settings.envelope_power,
            },
            num_layers=settings.layers,
            num_scalar_features=settings.scalar_features,
            num_tensor_features=settings.tensor_features,
            avg_num_neighbors=float(mean_neighbours),
            per_type_energy_scales=dict.fromkeys(elements, 1.0),
            per_type_energy_shifts=dict.fromkeys(elements, 0.0),
            pair_potential=_core(settings.cutoff_ang, elements) if settings.core_repulsion else None,
            do_derivatives=False,
            **_network("scalar_embed_mlp", settings.two_body_hidden),
            **_network("allegro_mlp", settings.latent_hidden),
            **_network("readout_mlp", settings.readout_hidden),
        )
    energy_model: torch.nn.Module = model.func
    replace_contracters(energy_model)
    return energy_model


def module_of(model: AllegroModel) -> torch.nn.Module:
    """Return a stored model as a torch module.

    Raises
    ------
    InputError
        Where names or shapes of the weights are not those of its settings.
    """
    module = fresh_module(model.settings, model.elements, model.mean_neighbours, model.precision, seed=0)
    load_weights(module, model.weights)
    return module.eval().requires_grad_(False)


def weights_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """Return what training decides: the parameters, and scale and shift of the energies."""
    shaped: dict[str, torch.Tensor] = dict(module.named_parameters())
    shaped |= {name: buffer for name, buffer in module.named_buffers() if name.endswith((".scales", ".shifts"))}
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in sorted(shaped.items())}


def load_weights(module: torch.nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Copy weights into a module, cast to its precision; raises `InputError` where they do not fit."""
    own = weights_of(module)
    wrong = [name for name in own.keys() | weights.keys() if name not in own or name not in weights]
    wrong += [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if wrong:
        raise InputError(f"the weights do not fit the model's settings: {min(wrong)} is missing, unknown or misshapen")
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    module.load_state_dict(tensors, strict=False)


def set_energy_scale(module: torch.nn.Module, scale_ev: float) -> None:
    """Set the energy scale of all elements, which training keeps."""
    module.get_buffer("per_type_energy_scale_shift.scales").fill_(scale_ev)


def add_to_energy_shifts(module: torch.nn.Module, shifts_ev: np.ndarray) -> None:
    """Add to the energy per atom of each element, which training keeps; shape (n_elements,)."""
    shifts = module.get_buffer("per_type_energy_scale_shift.shifts")
    shifts.add_(torch.from_numpy(shifts_ev).view_as(shifts))


def _network(name: str, hidden: tuple[int, ...]) -> dict[str, Any]:
    width = hidden[0] if hidden else None
    return {f"{name}_hidden_layers_depth": len(hidden), f"{name}_hidden_layers_width": width}


def _core(cutoff_ang: float, elements: Sequence[str]) -> dict[str, Any]:
    target = f"{CoreRepulsion.__module__}.{CoreRepulsion.__qualname__}"
    return {"_target_": target, "cutoff_ang": cutoff_ang, "chemical_species": list(elements)}


@contextmanager
def _fresh_torch(precision: str, seed: int) -> Iterator[None]:
    dtype = {"float32": torch.float32, "float64": torch.float64}[precision]
    with torch.random.fork_rng(devices=[]), torch_default_dtype(dtype), conditional_torchscript_mode(False):
        torch.manual_seed(seed)
        yield
