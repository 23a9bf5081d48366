"""Make the `carbon` potential and its committee from the labels.

    python training/carbon/train.py LABELS... --teacher teacher.extxyz.gz --work FOLDER

LABELS are files of DFT labels, of one engine; `teacher.py` wrote the teacher's. Steps:

1. a network learns the teacher's labels;
2. eight members go on from it with the DFT labels, with other seeds, each without an eighth of the parents. Labels of
   the held-out parents (`split.py`) are never shown and choose no epoch;
3. the final model goes on from it too, with all those DFT labels and, on the teacher's structures, with the mean of the
   members;
4. the errors on the held-out labels are printed and written into the models' cards.

The models go where the package ships them. A killed run goes on after its last epoch; the same files give the same
models on the same machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from errors import errors_by_kind
from split import kind, parent, split

import kappaforge
from kappaforge.crystal import Crystal
from kappaforge.engine.executors import open_executor
from kappaforge.engine.settings import EngineSettings
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels, write_labels
from kappaforge.potentials.allegro import AllegroPotential
from kappaforge.potentials.allegro_model import AllegroModel, ModelCard
from kappaforge.potentials.allegro_settings import AllegroSettings, TrainingSettings
from kappaforge.potentials.base import Batch
from kappaforge.potentials.family import labels_file
from kappaforge.potentials.model_file import model_digest, write_model
from kappaforge.potentials.training import EpochErrors, train

SHAPE = AllegroSettings(
    layers=2,
    l_max=2,
    odd_features=False,
    tensor_features=8,
    scalar_features=32,
    cutoff_ang=4.0,
    two_body_hidden=(32,),
    latent_hidden=(32,),
    readout_hidden=(32,),
    core_repulsion=True,
)
LEARN = TrainingSettings(
    epochs=24, batch_size=4, learning_rate=0.02, energy_weight=5.0, force_knee_ev_per_ang=3.0, averaging=0.995
)
MEMBER = TrainingSettings(
    epochs=40, batch_size=4, learning_rate=0.003, energy_weight=20.0, force_knee_ev_per_ang=2.0, averaging=0.995
)
FINAL = replace(MEMBER, epochs=16, averaging=0.998)

MEMBER_REPEATS = {"supercell": 3, "large": 6, "strained": 2}
"""How often labels of a kind are shown for once any other: they are few, and decide phonons and elasticity."""

FINAL_REPEATS = {"supercell": 6, "large": 12, "strained": 4, "": 2}
"""The same beside the members' mean; the last is that of all others."""

LARGE = 36
"""Atoms above which a supercell counts as large: in smaller ones images of an atom are within the network's reach."""

HIGHEST_FORCE_EV_PER_ANG = 60.0
"""Where the members' mean is left out."""

MEMBERS = 8
MODELS = Path(kappaforge.__file__).parent / "potentials" / "models"


def report(name: str) -> Callable[[EpochErrors], None]:
    """Return a function that prints every tenth epoch's errors."""

    def on_epoch(errors: EpochErrors) -> None:
        if errors.epoch % 10 == 0 or errors.epoch == 1:
            print(
                f"{name} epoch {errors.epoch}: {errors.energy_mae_mev_per_atom:.1f} meV/atom, "
                f"{errors.force_rmse_mev_per_ang:.0f} meV/Å",
                file=sys.stderr,
                flush=True,
            )

    return on_epoch


def learnt(teacher: Sequence[Label], work: Path, settings: TrainingSettings) -> AllegroModel:
    """Return the network after the teacher."""
    done = train(teacher, model=SHAPE, settings=settings, checkpoint=work / "teacher.pt", on_epoch=report("teacher"))
    return done.model


def tuned(
    start: AllegroModel, name: str, labels: Sequence[Label], settings: TrainingSettings, seed: int, work: Path
) -> AllegroModel:
    """Return a network that went on with labels, on one core."""
    torch.set_num_threads(1)
    checkpoint = work / f"{name}.pt"
    return train(labels, model=start, settings=settings, seed=seed, checkpoint=checkpoint, on_epoch=report(name)).model


def repeated(labels: Sequence[Label], repeats: dict[str, int]) -> list[Label]:
    """Return each label as often as it is shown in an epoch."""

    def times(label: Label) -> int:
        other = repeats.get(kind(label.crystal), repeats.get("", 1))
        return repeats["large"] if len(label.crystal) > LARGE else other

    return [label for label in labels for _ in range(times(label))]


def mean_labels(members: Sequence[AllegroModel], crystals: Sequence[Crystal], engine: str) -> list[Label]:
    """Label crystals by the mean of the members, under the name of the engine they learned from."""
    potentials = [AllegroPotential(str(number), member) for number, member in enumerate(members)]
    labels = []
    for start in range(0, len(crystals), 64):
        some = crystals[start : start + 64]
        batch = Batch.of(some)
        answers = [potential.compute(batch) for potential in potentials]
        energies = np.mean([answer.energies_ev for answer in answers], axis=0)
        forces = np.mean([answer.forces_ev_per_ang for answer in answers], axis=0)
        for crystal, energy, rows in zip(some, energies, batch.slices, strict=True):
            if np.abs(forces[rows]).max() < HIGHEST_FORCE_EV_PER_ANG:
                labels.append(Label(crystal.id, crystal, engine, "ok", "", float(energy), forces[rows]))
    return labels


def without_an_eighth(labels: Sequence[Label], member: int) -> list[Label]:
    """Return the labels but those of every eighth parent."""
    names = sorted({parent(label.crystal) for label in labels})
    without = set(names[member::MEMBERS])
    return [label for label in labels if parent(label.crystal) not in without]


def main() -> None:
    """Train, test, and write the models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=MODELS)
    parser.add_argument("--workers", type=int, default=1, help="members trained at a time, one core each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)

    labels = [label for path in options.labels for label in read_labels(path)]
    shown, held_out = split(labels)
    teacher = read_labels(options.teacher)
    start = learnt(teacher, options.work, LEARN)
    for group, each in errors_by_kind(AllegroPotential("teacher", start), teacher).items():
        print(f"teacher shown {group:10s} {each}", flush=True)

    models: dict[str, tuple[AllegroModel, list[Label]]] = {}
    with open_executor(EngineSettings(workers=options.workers)) as pool:
        parts = [without_an_eighth(shown, member) for member in range(MEMBERS)]
        names = [f"carbon-committee-{member}" for member in range(MEMBERS)]
        trainings = [
            pool.submit(tuned, start, name, repeated(some, MEMBER_REPEATS), MEMBER, member, options.work)
            for member, (name, some) in enumerate(zip(names, parts, strict=True))
        ]
        for name, training, some in zip(names, trainings, parts, strict=True):
            models[name] = training.result(), some
    mean = mean_labels([model for model, _ in models.values()], [label.crystal for label in teacher], shown[0].engine)
    # beside the models, for campaigns that go on learning; those held out stay unseen
    write_labels(shown, labels_file(options.output / "carbon.safetensors"))
    models["carbon"] = tuned(start, "carbon", [*repeated(shown, FINAL_REPEATS), *mean], FINAL, 100, options.work), shown
    for name, (model, some) in models.items():
        found = errors_by_kind(AllegroPotential(name, model), held_out)
        for group, each in errors_by_kind(AllegroPotential(name, model), some).items():
            print(f"{name} shown {group:10s} {each}", flush=True)
        for group, each in found.items():
            print(f"{name} held out {group:10s} {each}", flush=True)
        card = ModelCard(
            data=f"{len(some)} DFT labels of {len({parent(label.crystal) for label in some})} carbon crystals "
            f"(training/carbon), after {len(teacher)} labels of {teacher[0].engine.split()[0]}, which is the same for "
            "the committee",
            functional=some[0].engine,
            errors="held-out crystals: " + "; ".join(f"{group}: {each}" for group, each in found.items()),
        )
        model = replace(model, card=card)
        write_model(model, options.output / f"{name}.safetensors")
        print(f"{name} {model_digest(model)[:12]}", flush=True)


if __name__ == "__main__":
    main()
