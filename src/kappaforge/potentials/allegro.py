"""Allegro models as potentials, many crystals in one graph."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from kappaforge.errors import InputError
from kappaforge.potentials.allegro_model import AllegroModel, Graph, energies_and_forces, graphs_of, module_of
from kappaforge.potentials.base import Batch, Prediction, require_elements
from kappaforge.potentials.contraction import ROOM
from kappaforge.potentials.model_file import model_digest, read_model

EDGES_PER_GRAPH = 8_000
"""Crystals are joined up to this size: larger graphs no longer fit the processor's cache."""

EDGES_PER_BLOCK = 32
"""Each crystal's edges are padded to a multiple of this: then every edge meets the same vector instructions wherever
its crystal stands in a graph, and a crystal's numbers do not depend on its neighbours in the batch, to the last bit."""


def allegro(name: str, file: Path) -> AllegroPotential:
    """Return the potential of a model file under the name that loads it again.

    It computes with one thread unless OMP_NUM_THREADS says otherwise: a campaign runs one process per core.

    Raises
    ------
    InputError
        Where the file is missing, damaged, or of another kind.
    """
    potential = AllegroPotential(name, read_model(file))
    try:
        _ = potential.module
    except InputError as error:
        raise InputError(f"model {name}: {error}") from None
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    return potential


@dataclass(frozen=True, eq=False)
class AllegroPotential:
    """An Allegro model behind the batched interface.

    Parameters
    ----------
    name
        The registry's name, which for a model of one's own is the path of its file.
    model
        Shape and weights.
    """

    name: str
    model: AllegroModel

    @cached_property
    def module(self) -> torch.nn.Module:
        """The torch module of the model."""
        return module_of(self.model)

    @cached_property
    def digest(self) -> str:
        """Hash of the model and of the versions of the packages that evaluate it."""
        packages = [(package, version(package)) for package in ("nequip", "nequip-allegro", "torch", "e3nn")]
        return hashlib.sha256(
            f"{model_digest(self.model)} {packages} {EDGES_PER_GRAPH} {EDGES_PER_BLOCK} {ROOM}".encode()
        ).hexdigest()

    @property
    def elements(self) -> frozenset[str]:
        """Elements of the training set."""
        return frozenset(self.model.elements)

    def compute(self, batch: Batch) -> Prediction:
        """Return energies, forces and stresses; see `kappaforge.potentials.base.Potential`."""
        require_elements(self, frozenset(chemical_symbols[number] for number in np.unique(batch.numbers)))
        prediction = Prediction.nan_for(batch)
        cutoff_ang = self.model.settings.cutoff_ang
        graphs = graphs_of(batch, self.model.elements, cutoff_ang)
        for indices in _groups(graphs):
            graph = Graph.joined([_padded(graph, cutoff_ang) for index in indices if (graph := graphs[index])])
            energies, forces, gradient = energies_and_forces(self.module, graph)
            rows = np.concatenate([np.arange(len(batch.numbers))[batch.slices[index]] for index in indices])
            volumes = np.abs(np.linalg.det(batch.cells[indices]))
            prediction.energies_ev[indices] = energies.numpy()
            prediction.forces_ev_per_ang[rows] = forces.numpy()
            prediction.stresses_ev_per_ang3[indices] = _virials(graph, gradient) / volumes[:, None, None]
        return prediction.with_nan_where_not_finite(batch)


def _groups(graphs: list[Graph | None]) -> Iterator[list[int]]:
    """Yield the indices of crystals, in order, that are evaluated together."""
    group: list[int] = []
    edges = 0
    for index, graph in enumerate(graphs):
        if graph is None:
            continue
        if group and edges + len(graph.first) > EDGES_PER_GRAPH:
            yield group
            group, edges = [], 0
        group.append(index)
        edges += len(graph.first)
    if group:
        yield group


def _padded(graph: Graph, cutoff_ang: float) -> Graph:
    """Fill a crystal's last block with edges beyond the cutoff, which contribute exactly nothing."""
    missing = -len(graph.first) % EDGES_PER_BLOCK
    ends = graph.first.new_zeros(missing)
    beyond = graph.vectors.new_tensor([2 * cutoff_ang, 0, 0]).expand(missing, 3)
    return graph._replace(
        first=torch.cat([graph.first, ends]),
        second=torch.cat([graph.second, ends]),
        vectors=torch.cat([graph.vectors, beyond]),
    )


def _virials(graph: Graph, gradient: torch.Tensor) -> np.ndarray:
    """Return dE/dε in eV, shape (n_crystals, 3, 3): the strain stretches every edge vector r by ε r."""
    of_edge = graph.of_atom[graph.first]
    outer = graph.vectors[:, :, None] * gradient[:, None, :]
    virials = gradient.new_zeros(graph.n_crystals, 3, 3).index_add(0, of_edge, outer)
    return (0.5 * (virials + virials.transpose(1, 2))).numpy()
