"""The autoencoder: encoder, heads and decoder, and its loss."""

from __future__ import annotations

import torch
from torch import nn

from kappaforge.errors import InputError
from kappaforge.generate.cdvae.batch import Batch
from kappaforge.generate.cdvae.encoder import DimeNetPlusPlus
from kappaforge.generate.cdvae.gemnet import GemNetT
from kappaforge.generate.cdvae.graph import Graph, candidates_of, neighbour_graph
from kappaforge.generate.cdvae.lattice import cells_of, usable
from kappaforge.generate.cdvae.layers import head, measuring
from kappaforge.generate.cdvae.losses import composition_loss, coordinate_loss, divergence, type_loss
from kappaforge.generate.cdvae.settings import MAX_ATOMIC_NUMBER, CdvaeSettings, DecoderSettings, EncoderSettings
from kappaforge.generate.cdvae.wrapped import wrapped_scores


class CdvaeNetwork(nn.Module):
    """Crystal diffusion variational autoencoder (arXiv 2110.06197).

    Call `prepare` once before training.

    Parameters
    ----------
    settings
        Its shape, noise and loss weights.
    """

    lattice_mean: torch.Tensor
    lattice_scale: torch.Tensor
    property_mean: torch.Tensor
    property_scale: torch.Tensor
    sigmas_ang: torch.Tensor
    type_sigmas: torch.Tensor
    epochs: torch.Tensor

    def __init__(self, settings: CdvaeSettings) -> None:
        super().__init__()
        self.settings = settings
        latent, hidden = settings.latent, settings.head_hidden
        self.encoder = DimeNetPlusPlus(settings.encoder, latent)
        self.mean, self.log_variance = nn.Linear(latent, latent), nn.Linear(latent, latent)
        self.num_atoms = head(latent, hidden, settings.max_atoms + 1)
        self.lattice = head(latent, hidden, 6)
        self.composition = head(latent, hidden, MAX_ATOMIC_NUMBER)
        if settings.predict_property:
            self.property = head(latent, hidden, 1)
        self.decoder = GemNetT(settings.decoder, latent)
        self.register_buffer("epochs", torch.zeros((), dtype=torch.long))
        self.register_buffer("lattice_mean", torch.zeros(6))
        self.register_buffer("lattice_scale", torch.ones(6))
        self.register_buffer("property_mean", torch.zeros(()))
        self.register_buffer("property_scale", torch.ones(()))
        levels = settings.levels
        for name, low, high in (
            ("sigmas_ang", settings.sigma_min_ang, settings.sigma_max_ang),
            ("type_sigmas", settings.type_sigma_min, settings.type_sigma_max),
        ):
            ratios = torch.linspace(1, 0, levels, dtype=torch.float64) if levels > 1 else torch.ones(1)
            self.register_buffer(name, (low * (high / low) ** ratios).float(), persistent=False)

    @torch.no_grad()
    def prepare(self, batch: Batch, rng: torch.Generator) -> None:
        """Take the scales of lattices, properties and messages from a sample of the training crystals.

        Parameters
        ----------
        batch
            The sample.
        rng
            For the noise.
        """
        lattices = self._per_atom(batch.parameters, batch.num_atoms)
        pairs = [(lattices, self.lattice_mean, self.lattice_scale)]
        if batch.properties is not None:
            pairs.append((batch.properties, self.property_mean, self.property_scale))
        for values, mean, scale in pairs:
            mean.copy_(values.mean(dim=0))
            # A quantity that is the same in all crystals has no scale of its own.
            spread = values.std(dim=0, correction=0)
            scale.copy_(torch.where(spread > 1e-3, spread, torch.ones_like(spread)))
        with measuring(self):
            self.loss(batch, rng)

    def begin_epoch(self) -> None:
        """Count the epochs, after enough of which the decoder is trained in the predicted cells."""
        self.epochs += 1

    def encode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance of the latent vectors, each of shape (n_crystals, latent)."""
        graph = graph_of(batch.fractional, batch.cells, batch.num_atoms, self.settings.encoder)
        hidden = self.encoder(batch.numbers, graph, batch.of_atom, len(batch))
        return self.mean(hidden), self.log_variance(hidden)

    def lattices(self, latents: torch.Tensor, num_atoms: torch.Tensor) -> torch.Tensor:
        """Return the predicted lengths in Å and angles in degrees, shape (n_crystals, 6)."""
        return self._per_cell(self.lattice(latents) * self.lattice_scale + self.lattice_mean, num_atoms)

    def properties(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the predicted property of each crystal, shape (n_crystals,), in its own unit."""
        if not self.settings.predict_property:
            raise InputError("this model predicts no property: train one with predict_property = true")
        return self.property(latents)[:, 0] * self.property_scale + self.property_mean

    def loss(self, batch: Batch, rng: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the weighted sum, ``loss``, and its terms before weighting.

        Parameters
        ----------
        batch
            Crystals, on any device.
        rng
            For latent vectors, noise levels and noise; on the CPU, so that a GPU sees the same.
        """
        settings, weights = self.settings, self.settings.weights
        batch = batch.to(self.lattice_mean.device)
        if int(batch.num_atoms.max()) > settings.max_atoms:
            raise InputError(
                f"[cdvae] max_atoms: {settings.max_atoms} given, but a crystal has {batch.num_atoms.max()}"
            )
        of_atom = batch.of_atom
        mean, log_variance = self.encode(batch)
        latents = mean + torch.exp(0.5 * log_variance) * _normal(mean, rng)
        lattice = self.lattice(latents)
        composition = self.composition(latents)
        target = self._per_atom(batch.parameters, batch.num_atoms)
        terms = {
            "num_atoms": nn.functional.cross_entropy(self.num_atoms(latents), batch.num_atoms),
            "lattice": (lattice - (target - self.lattice_mean) / self.lattice_scale).square().mean(),
            "composition": composition_loss(composition, batch.numbers, of_atom),
            "kl": divergence(mean, log_variance),
        }
        if settings.predict_property:
            if batch.properties is None:
                raise InputError("[cdvae] predict_property: give the property of each training crystal")
            errors = self.property(latents)[:, 0] - (batch.properties - self.property_mean) / self.property_scale
            terms["property"] = errors.square().mean()

        level = torch.randint(settings.levels, (2, len(batch)), generator=rng).to(batch.cells.device)
        sigmas, type_sigmas = self.sigmas_ang[level[0]], self.type_sigmas[level[1]]
        forced = self.training and int(self.epochs) <= settings.teacher_forcing_epochs
        cells = batch.cells if forced else self._predicted_cells(latents, batch)
        moved = sigmas[of_atom, None] * _normal(batch.fractional, rng)
        fractional = (batch.fractional + torch.bmm(moved[:, None], torch.linalg.inv(cells)[of_atom])[:, 0]) % 1.0
        numbers = self._noisy_numbers(batch, composition.detach(), type_sigmas, rng)
        graph = graph_of(fractional, cells, batch.num_atoms, settings.decoder)
        pushes, logits = self.decoder(latents[of_atom], numbers, graph)
        scores = wrapped_scores(moved, sigmas, cells, batch.num_atoms)
        terms["coordinates"] = coordinate_loss(pushes, scores, sigmas, of_atom)
        terms["types"] = type_loss(logits, batch.numbers, of_atom, type_sigmas)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return {"loss": total, **terms}

    @torch.no_grad()
    def _predicted_cells(self, latents: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the predicted cells, and the true ones where no crystal fits into the prediction."""
        parameters = self.lattices(latents, batch.num_atoms)
        fine = usable(parameters, batch.num_atoms)
        return torch.where(fine[:, None, None], cells_of(parameters), batch.cells)

    def _noisy_numbers(
        self, batch: Batch, composition: torch.Tensor, type_sigmas: torch.Tensor, rng: torch.Generator
    ) -> torch.Tensor:
        """Draw elements from the true one and, weighted by the noise, the predicted composition."""
        noise = torch.softmax(composition, dim=-1) * type_sigmas[:, None]
        true = nn.functional.one_hot(batch.numbers - 1, MAX_ATOMIC_NUMBER)
        drawn = torch.multinomial((true + noise[batch.of_atom]).cpu(), 1, generator=rng)[:, 0]
        return drawn.to(true.device) + 1

    @staticmethod
    def _per_atom(parameters: torch.Tensor, num_atoms: torch.Tensor) -> torch.Tensor:
        """Divide lengths by the cube root of the number of atoms, which leaves mostly the density."""
        return torch.cat([parameters[:, :3] / num_atoms[:, None] ** (1 / 3), parameters[:, 3:]], dim=1)

    @staticmethod
    def _per_cell(scaled: torch.Tensor, num_atoms: torch.Tensor) -> torch.Tensor:
        return torch.cat([scaled[:, :3] * num_atoms[:, None] ** (1 / 3), scaled[:, 3:]], dim=1)


def fresh_network(settings: CdvaeSettings, seed: int) -> CdvaeNetwork:
    """Return a network with random weights; torch's global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CdvaeNetwork(settings)


def graph_of(
    fractional: torch.Tensor,
    cells: torch.Tensor,
    num_atoms: torch.Tensor,
    settings: EncoderSettings | DecoderSettings,
) -> Graph:
    """Return the neighbours that an encoder or decoder of those settings wants."""
    candidates = candidates_of(cells, num_atoms, settings.cutoff_ang, settings.neighbours)
    return neighbour_graph(candidates, fractional, cells, settings.cutoff_ang, settings.neighbours)


def _normal(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype).to(like.device)
