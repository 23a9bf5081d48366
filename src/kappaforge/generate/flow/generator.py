"""The flow as a generator: fit, sample, encode, decode, save, load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.base import Proposal
from kappaforge.generate.flow import path as paths
from kappaforge.generate.flow.judge import Judge
from kappaforge.generate.flow.losses import losses_of
from kappaforge.generate.flow.network import FlowNetwork
from kappaforge.generate.flow.sampling import STEPS, Draft, Sampler, batch_of, proposal, propose
from kappaforge.generate.flow.settings import FlowSettings
from kappaforge.generate.pattern import free_pattern
from kappaforge.generate.prior import PatternPrior, learn
from kappaforge.generate.settings import GenerateSettings
from kappaforge.generate.solvers import solver
from kappaforge.generate.training import EpochLosses, TrainingSettings, losses_text, train
from kappaforge.generate.wishes import wish_of
from kappaforge.weights import read_weights, weights_digest, write_weights

FORMAT = "kappaforge-flow-1"
ALGORITHM = 2
"""Counts up when the same weights, settings and seed give other crystals than before."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A flow from random positions in a random cell to crystals; see `kappaforge.generate.base.LearnedGenerator`.

    Parameters
    ----------
    network
        Fitted.
    elements
        Symbols that it knows, by atomic number.
    volumes_ang3
        Of an atom of each element, shape (n_elements,).
    prior
        The patterns that it proposes.
    settings
        What to generate.
    judge
        Chooses among drafts; None for the network's own judgement.
    card
        What a user should know of it: data, training, errors.
    """

    network: FlowNetwork
    elements: tuple[str, ...]
    volumes_ang3: np.ndarray
    prior: PatternPrior
    settings: GenerateSettings = field(default_factory=GenerateSettings)
    judge: Judge | None = None
    card: dict[str, str] = field(default_factory=dict)

    name = "flow"
    batch = 64

    @classmethod
    def fit(
        cls,
        crystals: Sequence[Crystal],
        *,
        model: FlowSettings | None = None,
        training: TrainingSettings | None = None,
        start: Flow | None = None,
        validation: Sequence[Crystal] = (),
        seed: int = 0,
        checkpoint: Path | None = None,
        on_epoch: Callable[[EpochLosses], None] | None = None,
        settings: GenerateSettings | None = None,
    ) -> Flow:
        """Fit a flow to crystals, or go on from `start`, whose elements it keeps.

        Raises
        ------
        InputError
            For no crystals, an element that `start` does not know, or a checkpoint of another training.
        """
        if not crystals:
            raise InputError("training needs at least one crystal")
        training = training or TrainingSettings()
        known = start.elements if start else _elements(crystals)
        examples, weights = _examples(crystals, known), {}
        held_out = _examples(validation, known) if validation else []
        torch.manual_seed(seed)
        network = FlowNetwork(start.network.settings if start else model or FlowSettings(), len(known))
        if start:
            network.load_state_dict(start.network.state_dict())
            weights = _arrays(start.network)
        volumes = start.volumes_ang3 if start else _volumes(examples, len(known))
        about = [asdict(network.settings), [c.digest for c in crystals], [c.digest for c in validation]]

        def batches(of: Sequence[paths.Example]) -> Callable[[torch.Generator], Iterable[paths.Ways]]:
            def draw(rng: torch.Generator) -> Iterable[paths.Ways]:
                numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
                return paths.batches(of, volumes, network.settings, training.batch_size, numbers)

            return draw

        log = train(
            network,
            losses_of(network),
            batches(examples),
            batches(held_out) if held_out else None,
            settings=training,
            seed=seed,
            identity=weights_digest(about, weights),
            checkpoint=checkpoint,
            on_epoch=on_epoch,
        )
        prior = learn([each.symmetric for each in examples], [each.symmetric_cell for each in examples], seed)
        card = {
            "data": f"{len(crystals)} crystals",
            "data digest": weights_digest(about[1], {}),
            "epochs": str(len(log)),
            "last losses": ", ".join(f"{name} {value:.3f}" for name, value in log[-1].losses.items()),
            "losses": losses_text(log),
        }
        return cls(network, known, volumes, prior, settings or GenerateSettings(), card=card)

    @property
    def digest(self) -> str:
        """Hash of weights, prior, settings and algorithm."""
        settings = asdict(self.settings)
        for name in ("generator", "n"):
            del settings[name]
        return weights_digest([FORMAT, ALGORITHM, self._about(), settings], self._content())

    def sample(
        self,
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        num_atoms: int | None = None,
        spacegroup: int | None = None,
        latent: np.ndarray | None = None,
        steps: int | None = None,
    ) -> list[Proposal]:
        """Return the proposals number `first` to `first + n - 1`; see `kappaforge.generate.base.Generator`.

        `latent`, shape (n_latent,), guides all of them; `steps` goes before that of the settings.
        """
        for name, value in (("n", n), ("first", first), ("seed", seed)):
            if value < 0:
                raise InputError(f"{name}: expected 0 or more, got {value}")
        wish = wish_of(self.settings, self.elements, num_atoms, spacegroup)
        if latent is not None:
            latent = self._checked(np.asarray(latent)[None])[0]
        found: list[Proposal] = []
        # Round-off depends on what is computed together: batches always hold the same proposals.
        for block in range(first // self.batch, -(-(first + n) // self.batch) if n else 0):
            numbers = range(block * self.batch, (block + 1) * self.batch)
            found += propose(
                self._sampler(steps),
                lambda rng: self.prior.draw(wish, rng),
                numbers,
                seed=seed,
                source=self.name,
                latent=latent,
                best_of=self.settings.best_of,
                max_attempts=self.settings.max_attempts,
                min_distance_factor=self.settings.min_distance_factor,
            )
        skipped = first % self.batch
        return found[skipped : skipped + n]

    def with_judge(self, drafts: Sequence[Crystal], energies_ev_per_atom: np.ndarray) -> Flow:
        """Return the flow with a judge that has learned which drafts relax to low energies.

        Parameters
        ----------
        drafts
            Proposals of this flow as they were generated.
        energies_ev_per_atom
            After their relaxation, shape (n_drafts,), in eV/atom; of several compositions, above the lowest of each.
        """
        sampler = self._sampler()
        features = np.concatenate([sampler.features([_draft(one)]) for one in drafts])
        judge = Judge.fit(features, np.asarray(energies_ev_per_atom))
        return replace(self, judge=judge, card=self.card | {"judge": f"{len(drafts)} relaxed drafts"})

    def towards(self, crystals: Sequence[Crystal], seed: int = 0) -> Flow:
        """Return the flow that draws the sizes, space groups and sites of other crystals; network and judge stay.

        Raises
        ------
        InputError
            For no crystals, or an element that the flow does not know.
        """
        if not crystals:
            raise InputError("a prior needs at least one crystal")
        examples = _examples(crystals, self.elements)
        prior = learn([each.symmetric for each in examples], [each.symmetric_cell for each in examples], seed)
        return replace(self, prior=prior, card=self.card | {"patterns": f"of {len(crystals)} crystals"})

    def doubts(self, drafts: Sequence[Crystal]) -> np.ndarray:
        """Return how bad drafts look, shape (n_drafts,), which `sample` chooses among; see `Sampler.doubts`."""
        return self._sampler().doubts([_draft(one) for one in drafts])

    def encode(self, crystals: Sequence[Crystal]) -> np.ndarray:
        """Return the latents' means, shape (n_crystals, n_latent); see `LearnedGenerator`."""
        if not self.network.settings.latent:
            raise InputError("this flow was trained without a latent and encodes nothing")
        latents = np.empty((len(crystals), self.network.settings.latent))
        for index, crystal in enumerate(crystals):
            (example,) = _examples([crystal], self.elements)
            state = batch_of([Draft(example.free, example.free.fractional, example.free_cell)])
            with torch.no_grad():
                mean, _ = self.network.encode(state, torch.from_numpy(example.types)[None])
            latents[index] = mean[0].double().numpy()
        return latents

    def decode(self, latents: np.ndarray, *, seed: int = 0, num_atoms: int | None = None) -> list[Proposal]:
        """Make a crystal of each latent, of any symmetry; see `LearnedGenerator`."""
        latents = self._checked(latents)
        told = torch.from_numpy(latents).float()
        with torch.no_grad():
            sizes = self.network.count_head(told).argmax(dim=-1).numpy() + 1
            shares = self.network.composition_head(told).softmax(dim=-1).double().numpy()
        patterns = []
        for size, share in zip(sizes, shares, strict=True):
            types = _types(share, num_atoms or int(size))
            numbers = np.array([atomic_numbers[self.elements[number]] for number in types])
            patterns.append(free_pattern(numbers, np.zeros((len(numbers), 3))))
        sampler = self._sampler()
        starts = [sampler.start(pattern, np.random.default_rng([seed, i])) for i, pattern in enumerate(patterns)]
        return [proposal(number, end, self.name) for number, end in enumerate(sampler.ends(starts, latents))]

    def reconstruct(self, crystals: Sequence[Crystal], *, seed: int = 0) -> list[Proposal]:
        """Encode crystals and decode their latents."""
        return self.decode(self.encode(crystals), seed=seed)

    def save(self, path: Path) -> None:
        """Write weights, prior and settings of the network to one file, atomically."""
        about = self._about() | {"card": self.card, "digest": weights_digest(self._about(), self._content())}
        write_weights(path, FORMAT, about, self._content())

    @classmethod
    def load(cls, path: Path, settings: GenerateSettings | None = None) -> Flow:
        """Read what `save` wrote; raises `InputError` for a file that is missing, damaged or of another kind."""
        about, content = read_weights(path, FORMAT)
        try:
            network = FlowNetwork(FlowSettings(**about["settings"]), len(about["elements"]))
            own = {name[8:]: torch.from_numpy(array) for name, array in content.items() if name.startswith("network.")}
            network.load_state_dict(own)
            prior = PatternPrior.of({name[6:]: array for name, array in content.items() if name.startswith("prior.")})
            judge = {name[6:]: array for name, array in content.items() if name.startswith("judge.")}
            flow = cls(
                network.eval(),
                tuple(about["elements"]),
                content["volumes_ang3"],
                prior,
                settings or GenerateSettings(),
                Judge(**judge) if judge else None,
                dict(about["card"]),
            )
            intact = about["digest"] == weights_digest(flow._about(), content)
        except (ValueError, KeyError, TypeError, RuntimeError, InputError) as error:
            raise InputError(f"model {path} has unusable settings: {str(error).splitlines()[0]}") from None
        if not intact:
            raise InputError(f"model {path} is damaged: its content does not match its digest; copy it again")
        return flow

    def _about(self) -> dict[str, Any]:
        return {"settings": asdict(self.network.settings), "elements": list(self.elements)}

    def _content(self) -> dict[str, np.ndarray]:
        network = {f"network.{name}": array for name, array in _arrays(self.network).items()}
        prior = {f"prior.{name}": array for name, array in self.prior.arrays().items()}
        judge = {f"judge.{name}": array for name, array in vars(self.judge).items()} if self.judge else {}
        return network | prior | judge | {"volumes_ang3": self.volumes_ang3}

    def _checked(self, latents: np.ndarray) -> np.ndarray:
        latents = np.asarray(latents, dtype=float)
        expected = self.network.settings.latent
        if not expected or latents.ndim != 2 or latents.shape[1] != expected or not np.isfinite(latents).all():
            raise InputError(f"latents: expected finite numbers of shape (n, {expected}), got {latents.shape}")
        return latents

    def _sampler(self, steps: int | None = None) -> Sampler:
        n_steps = steps or self.settings.steps or STEPS
        solve = solver(self.settings.solver)
        return Sampler(self.network, self.elements, self.volumes_ang3, solve, n_steps, self.judge)


def _draft(crystal: Crystal) -> Draft:
    return Draft(free_pattern(crystal.numbers, crystal.fractional), crystal.fractional, crystal.cell)


def _elements(crystals: Sequence[Crystal]) -> tuple[str, ...]:
    return tuple(sorted(set().union(*(crystal.elements for crystal in crystals)), key=atomic_numbers.__getitem__))


def _examples(crystals: Sequence[Crystal], elements: Sequence[str]) -> list[paths.Example]:
    numbers = [atomic_numbers[symbol] for symbol in elements]
    examples = []
    for crystal in crystals:
        if unknown := sorted(crystal.elements - set(elements)):
            raise InputError(f"crystal {crystal.id!r}: the generator knows {', '.join(elements)}, not {unknown[0]}")
        example = paths.example_of(crystal, numbers)
        if example is None:
            raise InputError(f"crystal {crystal.id!r}: no primitive cell found; look for atoms on one point")
        examples.append(example)
    return examples


def _volumes(examples: Sequence[paths.Example], n_elements: int) -> np.ndarray:
    """Return the volume of an atom of each element by least squares, shape (n_elements,), Å³."""
    counts = np.array([np.bincount(each.types, minlength=n_elements) for each in examples], dtype=float)
    volumes = np.array([abs(np.linalg.det(each.free_cell)) for each in examples])
    mean = volumes.sum() / counts.sum()
    # two elements that always come together share the volume evenly
    fitted = np.linalg.lstsq(
        np.vstack([counts, np.eye(n_elements)]), np.append(volumes, np.full(n_elements, mean)), rcond=None
    )[0]
    return np.maximum(fitted, 0.2 * mean)


def _types(shares: np.ndarray, n_atoms: int) -> np.ndarray:
    """Return the type of each atom, shape (n_atoms,), for shares of the elements: the largest remainders round up."""
    exact_counts = shares * n_atoms
    counts = np.floor(exact_counts).astype(int)
    missing = n_atoms - counts.sum()
    counts[np.argsort(counts - exact_counts)[:missing]] += 1
    return np.repeat(np.arange(len(shares)), counts)


def _arrays(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}
