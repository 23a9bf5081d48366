"""The autoencoder as a generator: fit, sample, encode, decode, save, load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError, suggestion
from kappaforge.generate.base import Proposal, proposal_id
from kappaforge.generate.cdvae.batch import Batch
from kappaforge.generate.cdvae.network import CdvaeNetwork, fresh_network
from kappaforge.generate.cdvae.sampling import Decoded, decode, drawn_sizes, likely_sizes
from kappaforge.generate.cdvae.settings import PRESETS, CdvaeSettings, LangevinSettings
from kappaforge.generate.distances import too_close
from kappaforge.generate.settings import GenerateSettings
from kappaforge.generate.training import EpochLosses, TrainingSettings, losses_text, train
from kappaforge.generate.wishes import formula_unit
from kappaforge.weights import read_weights, weights_digest, write_weights

FORMAT = "kappaforge-cdvae-1"
ALGORITHM = 1
"""Counts up when the same weights, settings and seed give other crystals than before."""

MEASURED = 256
"""Crystals from which the scales of lattices and messages are taken before training."""

LATENT_DRAWS = 100
"""Latent vectors drawn in search of one that stands for a number of atoms asked for."""


@dataclass(frozen=True, eq=False)
class Cdvae:
    """A fitted autoencoder; see `kappaforge.generate.base.LearnedGenerator`.

    Parameters
    ----------
    network
        Fitted.
    elements
        Symbols that it knows, by atomic number.
    settings
        What to generate. It works without space groups.
    langevin
        How its decoder samples, unless `settings.steps` says otherwise.
    card
        What a user should know of it: data, training, errors.
    """

    network: CdvaeNetwork
    elements: tuple[str, ...]
    settings: GenerateSettings = field(default_factory=GenerateSettings)
    langevin: LangevinSettings = field(default_factory=LangevinSettings)
    card: dict[str, str] = field(default_factory=dict)

    name = "cdvae"
    batch = 16

    @staticmethod
    def preset(name: str) -> CdvaeSettings:
        """Return the settings of that name, ``paper`` or ``small``; raises `InputError` for others."""
        if name not in PRESETS:
            raise InputError(f"unknown preset {name!r}{suggestion(name, PRESETS)}")
        return PRESETS[name]

    @classmethod
    def fit(
        cls,
        crystals: Sequence[Crystal],
        *,
        model: CdvaeSettings | None = None,
        training: TrainingSettings | None = None,
        start: Cdvae | None = None,
        validation: Sequence[Crystal] = (),
        properties: Sequence[float] | None = None,
        seed: int = 0,
        checkpoint: Path | None = None,
        on_epoch: Callable[[EpochLosses], None] | None = None,
        settings: GenerateSettings | None = None,
    ) -> Cdvae:
        """Fit an autoencoder to crystals, or go on from `start`, whose elements it keeps.

        `properties` are one number per crystal for a model that predicts one; validation does without.

        Raises
        ------
        InputError
            For no crystals, an element that `start` does not know, or a checkpoint of another training.
        """
        if not crystals:
            raise InputError("training needs at least one crystal")
        training = training or TrainingSettings()
        present = {int(number) for crystal in crystals for number in crystal.numbers}
        known = start.elements if start else tuple(chemical_symbols[number] for number in sorted(present))
        examples = _examples(crystals, known, properties)
        held_out = _examples(validation, known) if validation else []
        network = fresh_network(start.network.settings if start else model or CdvaeSettings(), seed)
        if start:
            network.load_state_dict(start.network.state_dict())
        else:
            rng = torch.Generator().manual_seed(seed)
            some = torch.randperm(len(examples), generator=rng)[:MEASURED].tolist()
            network.prepare(Batch.joined([examples[index] for index in some]), rng)
        digests = [crystal.digest for crystal in crystals]
        about = [network.settings.digest, digests, [c.digest for c in validation], list(properties or ())]

        def batches(rng: torch.Generator) -> Iterator[Batch]:
            network.begin_epoch()
            yield from _shuffled(examples, training.batch_size, rng)

        log = train(
            network,
            network.loss,
            batches,
            (lambda rng: _shuffled(held_out, training.batch_size, rng)) if held_out else None,
            settings=training,
            seed=seed,
            identity=weights_digest(about, _arrays(start.network) if start else {}),
            checkpoint=checkpoint,
            on_epoch=on_epoch,
        )
        card = {
            "data": f"{len(crystals)} crystals",
            "data digest": weights_digest(digests, {}),
            "epochs": str(len(log)),
            "last losses": ", ".join(f"{name} {value:.3f}" for name, value in log[-1].losses.items()),
            "losses": losses_text(log),
        }
        return cls(network.eval(), known, settings or GenerateSettings(), card=card)

    @property
    def digest(self) -> str:
        """Hash of weights, settings and algorithm."""
        settings = asdict(self.settings)
        for name in ("generator", "n"):
            del settings[name]
        about = [FORMAT, ALGORITHM, self._about(), self.langevin.digest, settings]
        return weights_digest(about, _arrays(self.network))

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

        `latent`, shape (n_latent,), stands for all of them; `steps`, calls of the decoder, goes before that of the
        settings.
        """
        for name, value in (("n", n), ("first", first), ("seed", seed)):
            if value < 0:
                raise InputError(f"{name}: expected 0 or more, got {value}")
        if spacegroup is not None or self.settings.space_groups:
            raise InputError("spacegroup: cdvae works without space groups; leave it out, or use the generator 'flow'")
        wanted = None if latent is None else self._checked(np.asarray(latent)[None])
        sizes, numbers = self._wishes(num_atoms)
        found: list[Proposal] = []
        # Round-off depends on what is computed together: batches always hold the same proposals.
        for block in range(first // self.batch, -(-(first + n) // self.batch) if n else 0):
            members = range(block * self.batch, (block + 1) * self.batch)
            found += self._proposals(members, seed, sizes, numbers, wanted, self._dynamics(steps))
        skipped = first % self.batch
        return found[skipped : skipped + n]

    def encode(self, crystals: Sequence[Crystal]) -> np.ndarray:
        """Return the latents' means, shape (n_crystals, n_latent); see `LearnedGenerator`."""
        latents = np.empty((len(crystals), self.network.settings.latent))
        for index, example in enumerate(_examples(crystals, self.elements)):
            with torch.no_grad():
                latents[index] = self.network.encode(example)[0][0].double().numpy()
        return latents

    def decode(self, latents: np.ndarray, *, seed: int = 0, num_atoms: int | None = None) -> list[Proposal]:
        """Make a crystal of each latent; see `LearnedGenerator`."""
        told = self._checked(latents)
        sizes = [num_atoms] if num_atoms else range(1, self.network.settings.max_atoms + 1)
        made: list[Decoded] = []
        for start in range(0, len(told), self.batch):
            part = told[start : start + self.batch]
            rngs = [_rng(seed, start + place, 0) for place in range(len(part))]
            counts = likely_sizes(self.network, part, sizes)
            elements = [atomic_numbers[symbol] for symbol in self.elements]
            made += decode(self.network, part, counts, rngs, self._dynamics(None), elements=elements)
        return [self._proposal(number, one) for number, one in enumerate(made)]

    def reconstruct(self, crystals: Sequence[Crystal], *, seed: int = 0) -> list[Proposal]:
        """Encode crystals and decode their latents."""
        return self.decode(self.encode(crystals), seed=seed)

    def save(self, path: Path) -> None:
        """Write weights and settings of the network to one file, atomically."""
        content = _arrays(self.network)
        about = self._about() | {"card": self.card, "digest": weights_digest(self._about(), content)}
        write_weights(path, FORMAT, about, content)

    @classmethod
    def load(cls, path: Path, settings: GenerateSettings | None = None) -> Cdvae:
        """Read what `save` wrote; raises `InputError` for a file that is missing, damaged or of another kind."""
        about, content = read_weights(path, FORMAT)
        try:
            network = fresh_network(CdvaeSettings.from_dict(about["settings"]), 0)
            network.load_state_dict({name: torch.from_numpy(array) for name, array in content.items()})
            cdvae = cls(network.eval(), tuple(about["elements"]), settings or GenerateSettings(), card=about["card"])
            intact = about["digest"] == weights_digest(cdvae._about(), content)
        except (ValueError, KeyError, TypeError, RuntimeError, InputError) as error:
            raise InputError(f"model {path} has unusable settings: {str(error).splitlines()[0]}") from None
        if not intact:
            raise InputError(f"model {path} is damaged: its content does not match its digest; copy it again")
        return cdvae

    def _about(self) -> dict[str, Any]:
        return {"settings": asdict(self.network.settings), "elements": list(self.elements)}

    def _checked(self, latents: np.ndarray) -> torch.Tensor:
        latents = np.asarray(latents, dtype=float)
        expected = self.network.settings.latent
        if latents.ndim != 2 or latents.shape[1] != expected or not np.isfinite(latents).all():
            raise InputError(f"latents: expected finite numbers of shape (n, {expected}), got {latents.shape}")
        return torch.from_numpy(latents).float()

    def _dynamics(self, steps: int | None) -> LangevinSettings:
        calls = steps or self.settings.steps
        if not calls:
            return self.langevin
        levels = self.network.sigmas_ang <= self.langevin.first_sigma_ang * (1 + 1e-6)
        return replace(self.langevin, steps_per_level=max(1, round(calls / int(levels.sum()))))

    def _wishes(self, num_atoms: int | None) -> tuple[list[int], list[int]]:
        """Return the numbers of atoms to choose from, and the atomic numbers of one formula unit where it is given."""
        settings, most = self.settings, self.network.settings.max_atoms
        if unknown := [symbol for symbol in settings.elements if symbol not in self.elements]:
            raise InputError(
                f"[generate] elements: this generator has learned {', '.join(self.elements)}, not {unknown[0]}; train "
                "one on crystals of your elements (kappaforge train-generator), or use the generator 'random'"
            )
        unit = formula_unit(settings)
        numbers = [atomic_numbers[symbol] for symbol, count in unit.items() for _ in range(count)]
        sizes = range(settings.min_atoms, settings.max_atoms + 1) if num_atoms is None else [num_atoms]
        least = len(numbers) or len(settings.elements)
        kept = [n for n in sizes if least <= n <= most and (not numbers or n % len(numbers) == 0)]
        if not kept:
            need = f"a multiple of {least}" if numbers else f"{least} or more"
            raise InputError(
                f"[generate] number of atoms: expected {need}, up to {most}, got {sizes[0]} to {sizes[-1]}"
            )
        return kept, numbers

    def _proposals(
        self,
        members: range,
        seed: int,
        sizes: list[int],
        unit: list[int],
        latent: torch.Tensor | None,
        dynamics: LangevinSettings,
    ) -> list[Proposal]:
        """Return the proposals of one batch; those that are not as asked for are drawn anew."""
        elements = [atomic_numbers[symbol] for symbol in self.settings.elements]
        done: dict[int, Proposal] = {}
        failed: dict[int, Proposal] = {}
        for trial in range(self.settings.max_attempts):
            left = [number for number in members if number not in done]
            if not left:
                break
            rngs = [_rng(seed, number, trial) for number in left]
            if latent is None:
                drawn = [self._draw(rng, sizes) for rng in rngs]
                latents, counts = torch.stack([one for one, _ in drawn]), [size for _, size in drawn]
            else:
                latents = latent.expand(len(left), -1)
                counts = likely_sizes(self.network, latents, sizes)
            numbers = [np.array(unit * (count // len(unit))) for count in counts] if unit else None
            made = decode(self.network, latents, counts, rngs, dynamics, elements=elements, numbers=numbers)
            for number, one in zip(left, made, strict=True):
                proposal = self._proposal(number, one)
                if proposal.crystal is None:
                    failed[number] = proposal
                elif proposal.crystal.elements != set(self.settings.elements):
                    failed[number] = Proposal(proposal.id, "failed", reason="it lacks an element")
                elif too_close(proposal.crystal, self.settings.min_distance_factor):
                    failed[number] = Proposal(proposal.id, "failed", reason="its atoms come too close")
                else:
                    done[number] = proposal
        return [done.get(number) or failed[number] for number in members]

    def _draw(self, rng: torch.Generator, sizes: list[int]) -> tuple[torch.Tensor, int]:
        """Draw a latent vector, and by it a number of atoms, until that is among those asked for.

        The published model takes the likeliest number, which gives crystals of few sizes where the latent vector says
        little about it.
        """
        latents = torch.randn(LATENT_DRAWS, self.network.settings.latent, generator=rng)
        drawn = drawn_sizes(self.network, latents, rng)
        for latent, size in zip(latents, drawn, strict=True):
            if size in sizes:
                return latent, size
        return latents[0], likely_sizes(self.network, latents[:1], sizes)[0]

    def _proposal(self, number: int, made: Decoded) -> Proposal:
        name, reason = proposal_id(number), made.reason
        if not reason:
            try:
                crystal = Crystal(made.cell, made.positions, made.numbers, id=name, source=self.name)
                return Proposal(name, "ok", crystal)
            except InputError as error:
                reason = str(error)
        return Proposal(name, "failed", reason=reason)


def _rng(seed: int, number: int, trial: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, number, trial]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _examples(
    crystals: Sequence[Crystal], elements: Sequence[str], properties: Sequence[float] | None = None
) -> list[Batch]:
    for crystal in crystals:
        if unknown := sorted(crystal.elements - set(elements)):
            raise InputError(f"crystal {crystal.id!r}: the generator knows {', '.join(elements)}, not {unknown[0]}")
    values = [None] * len(crystals) if properties is None else [[value] for value in properties]
    return [Batch.from_crystals([one], properties=value) for one, value in zip(crystals, values, strict=True)]


def _shuffled(examples: list[Batch], size: int, rng: torch.Generator) -> Iterator[Batch]:
    order = torch.randperm(len(examples), generator=rng).tolist()
    for start in range(0, len(order), size):
        yield Batch.joined([examples[index] for index in order[start : start + size]])


def _arrays(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}
