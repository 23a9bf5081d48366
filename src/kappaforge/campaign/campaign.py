"""The whole campaign over many crystals: the order of the steps, and nothing else (paper, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from kappaforge.campaign import distill, tasks
from kappaforge.campaign.candidate import CandidateRecord, candidate_columns
from kappaforge.campaign.error_bar import error_bars, error_columns, of_record, reaches
from kappaforge.campaign.evidence import best_of, losses_of, parity_of
from kappaforge.campaign.hulls import Hulls
from kappaforge.campaign.inputs import GENERATE_VERSION, proposal_batches, read_dataset
from kappaforge.campaign.ladder import LadderSettings, climb
from kappaforge.campaign.ledger import Ledger
from kappaforge.campaign.memo import Memo, chunks
from kappaforge.campaign.naming import NAMING_VERSION, names_of
from kappaforge.campaign.progress import Progress, Silence
from kappaforge.campaign.refine import refined
from kappaforge.config import CampaignSettings
from kappaforge.crystal import Crystal
from kappaforge.generate import registry as generators
from kappaforge.label.settings import NO_LABELER
from kappaforge.packed import PackedCrystals
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.base import require_elements
from kappaforge.screen.bonding import overcoordinated
from kappaforge.screen.energy import outside_window
from kappaforge.select.farthest import farthest_points
from kappaforge.select.neighbours import nearest_neighbours
from kappaforge.store.evidence import EVIDENCE, Evidence
from kappaforge.store.published import PUBLISHED, Published
from kappaforge.store.run_folder import RunFolder

if TYPE_CHECKING:
    from kappaforge.campaign.learning import Lessons
    from kappaforge.potentials.allegro_model import AllegroModel

LADDER_CALIBRATION = 20
"""Crystals that the regressions are made of: among hundreds they cost little."""


class Campaign:
    """One campaign in one run folder; `run` does whatever of it has not been done."""

    def __init__(self, settings: CampaignSettings, folder: RunFolder, progress: Progress | None = None) -> None:
        self.settings = settings
        self.folder = folder
        self.progress = progress or Silence()
        self.memo = Memo(folder, settings.engine, self.progress)
        self.ledger = Ledger()
        self.evidence = Evidence()
        self.potential = potentials.load(settings.potential.name)
        self.for_kappa: str | AllegroModel = self.potential.name
        """What κ is computed with: the potential, or the model that query by committee made."""
        self.for_kappa_digest = self.potential.digest
        self.members: Sequence[str | AllegroModel] = potentials.committee(self.potential.name)
        """Its committee."""

    def run(self) -> Published:
        """Run all steps, publish after each, and return what there is to show.

        Raises
        ------
        InputError
            For settings or data that cannot be used.
        """
        with self.memo:
            return self._steps()

    def _steps(self) -> Published:
        known, dataset = self._read_dataset()
        generated = self._generate()
        relaxed = self._relax([*known, *dataset], generated)
        candidates = self._screen(
            [relaxed[crystal.id] for crystal in [*known, *dataset] if crystal.id in relaxed],
            [relaxed[crystal.id] for crystal in generated if crystal.id in relaxed],
            always={crystal.id for crystal in known},
        )
        novel = [self.ledger.novel(crystal.id) for crystal in generated]
        distill.summary(generated, relaxed, novel).write(self.folder.path)
        if not candidates:
            return self._publish()
        features = self._describe(candidates)
        benchmarks = self._select(candidates, features, known={crystal.id for crystal in known})
        lessons = self._learn(candidates, features, benchmarks)
        self._compare_to_labels(lessons)
        records = self._kappa("kappa of benchmarks", candidates, benchmarks)
        limit = self.settings.select.ultrahigh_kappa_w_per_mk
        good = [index for index, record in zip(benchmarks, records, strict=True) if record.kappa_max_w_per_mk >= limit]
        neighbours = self._neighbours(candidates, features, good, benchmarks)
        if lessons is not None:
            lessons = self._learn(candidates, features, [*benchmarks, *neighbours], lessons)
            self._compare_to_labels(lessons)
            # again, where something new was learned
            records = self._kappa("kappa of benchmarks", candidates, benchmarks)
        records += self._kappa("kappa of neighbours", candidates, neighbours)
        records += self._climb(candidates, {*benchmarks, *neighbours})
        self._look_closer(self._error_bars(records))
        return self._publish()

    def _read_dataset(self) -> tuple[list[Crystal], list[Crystal]]:
        """Return the known crystals that are always benchmarks, and the rest of the data set."""
        known, dataset = read_dataset(self.settings, self.potential)
        self.ledger.enter(*known, *dataset)
        self.ledger.passed("data set", len(known) + len(dataset))
        return known, dataset

    def _generate(self) -> list[Crystal]:
        settings = self.settings.generate
        require_elements(self.potential, frozenset(settings.elements))
        generator = generators.load(settings.generator, settings)
        losses, held_out = losses_of(generator)
        self._keep_evidence(losses=losses, held_out_losses=held_out)
        batches = proposal_batches(settings, self.settings.seed, generator.batch)
        results = self.memo.map("generate", GENERATE_VERSION, tasks.generate, batches, generator.digest)
        proposals = list(chain.from_iterable(results))
        crystals = [proposal.crystal for proposal in proposals if proposal.crystal is not None]
        self.ledger.enter(*crystals)
        without = [proposal.reason for proposal in proposals if proposal.crystal is None]
        self.ledger.passed("generate", len(crystals), without)
        self._finish("generate", f"{len(crystals)} crystals of {settings.n} proposals")
        return crystals

    def _relax(self, *groups: Sequence[Crystal]) -> dict[str, Crystal]:
        """Return the relaxed crystals by id; a batch holds crystals of one group, so that each may grow by itself.

        The first group is what is known.
        """
        batches = [
            (batch, self.potential.name, self.settings.relax)
            for crystals in groups
            for batch in chunks(crystals, self.settings.engine.batch_size)
        ]
        results = self.memo.map("relax", 1, tasks.relax_batch, batches, self.potential.digest)
        records = list(chain.from_iterable(results))
        for record in records:
            self.ledger.note(
                record.id,
                record.crystal,
                status=record.status,
                reason=record.reason,
                energy_ev_per_atom=record.energy_ev_per_atom,
                potential=self.potential.name,
                seconds=record.seconds,
                stage="relax",
            )
        self.hulls = Hulls(records[: len(groups[0])], records[len(groups[0]) :])
        for record in records:
            if record.status == "ok":
                self.ledger.note(record.id, energy_above_hull_ev_per_atom=self.hulls.above_ev_per_atom(record))
        relaxed = {record.id: record.crystal for record in records if record.status == "ok"}
        self.ledger.passed("relax", len(relaxed), [record.status for record in records if record.status != "ok"])
        self._finish("relax", f"{len(relaxed)} of {len(records)} converged")
        return relaxed

    def _screen(self, dataset: list[Crystal], generated: list[Crystal], always: set[str]) -> list[Crystal]:
        """Return the candidates: unique crystals of the data set and the unique, novel generated ones, if symmetric.

        Crystals whose id is in `always` stay even where their symmetry or energy does not pass.
        """
        settings = self.settings.screen
        known = distill.reduced(self.memo, "reduce the data set", dataset)
        made = distill.reduced(self.memo, "reduce", generated)
        old = [dataset[place] for place in self._unique("unique in the data set", dataset, known)]
        places = self._unique("unique", generated, made)
        unique = [generated[place] for place in places]
        found = distill.matches(self.memo, "novel", made.take(places), known, settings)
        novel = []
        for crystal, index in zip(unique, found, strict=True):
            self.ledger.note(crystal.id, novel=bool(index < 0))
            if index < 0:
                novel.append(crystal)
            else:
                self.ledger.note(crystal.id, stage="screen", reason=f"same as {dataset[index].id} of the data set")
        self.ledger.passed("novel", len(novel), ["in the data set"] * (len(unique) - len(novel)))
        self._finish("novel", f"{len(novel)} of {len(unique)} unique generated crystals")

        everything = [*dataset, *generated]
        energies = [self.ledger.energy_ev_per_atom(crystal.id) for crystal in everything]
        of_dataset = [True] * len(dataset) + [False] * len(generated)
        outside = outside_window(everything, energies, of_dataset, settings.energy_window_ev_per_atom)
        batches = [(batch, settings) for batch in chunks([*old, *novel], 256)]
        records = chain.from_iterable(self.memo.map("symmetry", 1, tasks.find_symmetry, batches))
        candidates, left = [], []
        for crystal, record in zip([*old, *novel], records, strict=True):
            crowded = overcoordinated(crystal, settings.max_neighbours)
            reason = record.reason or outside.get(crystal.id) or crowded
            stays = not reason or crystal.id in always
            self.ledger.note(
                crystal.id,
                n_atoms=record.n_atoms,
                space_group_number=record.space_group_number,
                symmetry_operations=record.symmetry_operations,
                stage="screen",
                reason="" if stays else reason,
            )
            if stays:
                candidates.append(crystal)
            else:
                too_far = "too high or too low in energy" if crystal.id in outside else "too many neighbours"
                left.append("too large or not symmetric enough" if record.reason else too_far)
        self.ledger.passed("symmetric", len(candidates), left)
        self._finish("symmetry", f"{len(candidates)} candidates")
        self._name(candidates)
        return candidates

    def _name(self, candidates: list[Crystal]) -> None:
        """Note the known crystals that candidates are, and their prototypes."""
        batches = [(batch, self.settings.screen) for batch in chunks(candidates, 256)]
        names = list(chain.from_iterable(self.memo.map("names", NAMING_VERSION, tasks.name_crystals, batches)))
        for crystal, name in zip(candidates, names, strict=True):
            self.ledger.note(crystal.id, **vars(name))
        self._finish("names", f"{sum(bool(name.known_as) for name in names)} of {len(names)} are known crystals")

    def _unique(self, step: str, crystals: list[Crystal], reduced: PackedCrystals) -> np.ndarray:
        """Return the places of the first crystal of each group."""
        labels = distill.groups(self.memo, step, reduced, self.settings.screen)
        first = labels == np.arange(len(crystals))
        for place in np.flatnonzero(~first):
            self.ledger.note(crystals[place].id, stage="screen", reason=f"same as {crystals[labels[place]].id}")
        self.ledger.passed(step, int(first.sum()), ["duplicate"] * int((~first).sum()))
        self._finish(step, f"{first.sum()} of {len(crystals)}")
        return np.flatnonzero(first)

    def _describe(self, candidates: list[Crystal]) -> np.ndarray:
        """Return the features of the candidates and note their places on the map."""
        settings = self.settings.describe
        species = tuple(sorted(frozenset().union(*(crystal.elements for crystal in candidates))))
        batches = [(batch, settings, species) for batch in chunks(candidates, 64)]
        features = np.concatenate(self.memo.map("describe", 1, tasks.soap, batches))
        self._finish("describe", f"{features.shape[1]} features of {len(candidates)} crystals")
        places = self.memo.once("map", 1, tasks.map_features, features, settings, self.settings.seed)
        for crystal, (x, y) in zip(candidates, places, strict=True):
            self.ledger.note(crystal.id, map_x=float(x), map_y=float(y), stage="select")
        self._finish("map", "t-SNE")
        return features

    def _select(self, candidates: list[Crystal], features: np.ndarray, known: set[str]) -> list[int]:
        """Return the indices of the benchmarks: the known crystals, then farthest points from them."""
        chosen = [index for index, crystal in enumerate(candidates) if crystal.id in known]
        farthest = farthest_points(features, self.settings.select.benchmarks, chosen=chosen)
        benchmarks = [*chosen, *farthest.tolist()]
        self._assign("benchmark", candidates, benchmarks)
        return benchmarks

    def _neighbours(
        self, candidates: list[Crystal], features: np.ndarray, good: list[int], benchmarks: list[int]
    ) -> list[int]:
        """Return the indices of the nearest neighbours of the good conductors, each once."""
        nearest = nearest_neighbours(features, good, self.settings.select.neighbours, exclude=benchmarks)
        neighbours = list(dict.fromkeys(int(index) for index in nearest.ravel() if index >= 0))
        self._assign("neighbour", candidates, neighbours)
        return neighbours

    def _assign(self, role: str, candidates: list[Crystal], indices: list[int]) -> None:
        for index in indices:
            self.ledger.note(candidates[index].id, role=role)
        self.ledger.passed(f"{role}s", len(indices))
        self._publish()

    def _learn(
        self, candidates: list[Crystal], features: np.ndarray, indices: list[int], lessons: Lessons | None = None
    ) -> Lessons | None:
        """Take the crystals through query by committee; κ is then computed with the model it ends with."""
        if self.settings.label.labeler == NO_LABELER:
            self.progress.finish("learn", 'skipped: [label] labeler is "none"')
            return None
        from kappaforge.campaign.learning import School, hand_over, published  # they bring torch

        school = School(self.settings, self.memo, self.progress)
        known = lessons or school.first_lessons(candidates, features)
        learned = school.learn([candidates[index] for index in indices], known)
        self.ledger.rounds = [published(turn) for turn in learned.rounds]
        last = learned.rounds[-1]
        for name, spread in zip(last.ids, last.uncertainty.energy_std_mev_per_atom, strict=True):
            self.ledger.note(name, energy_std_mev_per_atom=float(spread))
        model = school.final_model(learned)
        hand_over(self.folder.path / "learned", learned, model)
        self.for_kappa, self.for_kappa_digest, self.members = school.in_use(model, learned)
        self._publish()
        return learned

    def _kappa(self, step: str, candidates: list[Crystal], indices: list[int]) -> list[CandidateRecord]:
        settings = self.settings
        arguments = [
            (candidates[index], self.for_kappa, settings.relax, settings.kappa, settings.screen) for index in indices
        ]
        records = self.memo.map(
            step, tasks.kappa_version(settings.kappa), tasks.compute_kappa, arguments, self.for_kappa_digest
        )
        for record in records:
            self._note_kappa(record)
        self._count_kappa(step, records)
        return records

    def _climb(self, candidates: list[Crystal], done: set[int]) -> list[CandidateRecord]:
        """Take all others up the ladder, where the settings want it; return the records of its last rung."""
        settings = self.settings
        if not settings.select.rest:
            return []
        climbed = climb(
            self.memo,
            [crystal for index, crystal in enumerate(candidates) if index not in done],
            self.for_kappa,
            self.for_kappa_digest,
            LadderSettings(settings.select.ultrahigh_kappa_w_per_mk, calibration=LADDER_CALIBRATION),
            relax=settings.relax,
            kappa=settings.kappa,
            screen=settings.screen,
            errors=settings.error_bar,
        )
        for rung in climbed.rungs:
            self._note_kappa(rung.record)
            self.ledger.note(rung.record.id, reason=rung.reason)
        records, top = climbed.records, climbed.at_the_top
        self._count_kappa("kappa of the rest", records, f"{len(top)} of {len(records)} by the whole transport equation")
        return top

    def _count_kappa(self, step: str, records: list[CandidateRecord], summary: str = "") -> None:
        done = sum(record.status == "ok" for record in records)
        self.ledger.passed(step, done, [record.status for record in records if record.status != "ok"])
        self._finish(step, summary or f"{done} of {len(records)}")

    def _note_kappa(self, record: CandidateRecord) -> None:
        self.ledger.note(record.id, record.crystal, **candidate_columns(record), stage="kappa")
        if record.followed:  # it is another crystal now
            (name,) = names_of([record.crystal], self.settings.screen)
            relaxation = record.relaxation if record.potential == self.potential.name else None
            above = None if relaxation is None else self.hulls.above_ev_per_atom(relaxation)
            self.ledger.note(record.id, **vars(name), energy_above_hull_ev_per_atom=above)

    def _error_bars(self, records: list[CandidateRecord]) -> list[CandidateRecord]:
        """Tell how sure the ultrahigh κ are; return all records, κ on finer meshes among them."""
        settings, limit = self.settings, self.settings.select.ultrahigh_kappa_w_per_mk
        places = [place for place, record in enumerate(records) if reaches(record, limit)]
        mattering = [records[place] for place in places]
        bars = error_bars(
            self.memo.map,
            mattering,
            self.for_kappa,
            self.for_kappa_digest,
            self.members,
            settings.error_bar,
            relax=settings.relax,
            kappa=settings.kappa,
            screen=settings.screen,
        )
        finer = refined(
            self.memo.map,
            mattering,
            self.for_kappa,
            self.for_kappa_digest,
            settings.error_bar,
            limit,
            relax=settings.relax,
            kappa=settings.kappa,
            screen=settings.screen,
        )
        final = list(records)
        for place, record, bar in zip(places, finer, bars, strict=True):
            if record is not records[place]:
                final[place] = record
                self._note_kappa(record)
            self.ledger.note(record.id, **error_columns(None if bar is None else of_record(bar, record)))
        if mattering and settings.error_bar.committee:
            asked = f"a committee of {len(self.members)}" if self.members else "no committee: the potential has none"
            self._finish("error bars", f"{len(mattering)} κ, {asked}")
        return final

    def _compare_to_labels(self, lessons: Lessons | None) -> None:
        labels = None if lessons is None else lessons.labels
        parity = parity_of(self.memo, self.settings, self.for_kappa, self.for_kappa_digest, labels)
        self._keep_evidence(parity=parity)

    def _look_closer(self, records: list[CandidateRecord]) -> None:
        """Keep the phonons of the best conductors."""
        best = best_of(self.memo, self.settings, records, self.for_kappa, self.for_kappa_digest)
        self._keep_evidence(best=best)
        if best:
            self._finish("phonons of the best", ", ".join(one.id for one in best))

    def _keep_evidence(self, **known: Any) -> None:
        self.evidence = replace(self.evidence, **known)
        self.folder.keep(EVIDENCE, self.evidence)

    def _finish(self, step: str, summary: str) -> None:
        self.progress.finish(step, summary)
        self._publish()

    def _publish(self) -> Published:
        published = self.ledger.publish(self.settings, self.folder.seconds_by_step())
        self.folder.keep(PUBLISHED, published)
        return published
