"""Relaxation of many crystals against ASE, one by one, and torch-sim: CPU time on one core, and where they end.

    OMP_NUM_THREADS=1 python benchmarks/relax.py CARBON.EXTXYZ [-n 200] [--random 50] [--torch-sim PYTHON]
    OMP_NUM_THREADS=1 python benchmarks/relax.py CARBON.EXTXYZ --stream 250 500 1000

The crystals are crystals of the file, strained and rattled, and with `--random` random symmetric ones, which start so
far from any minimum that small things decide where they end: agreement is told of each kind. All relax with the same
potential until no force is above 0.01 eV/Å and no stress above 0.1 GPa, within 1,000 steps: ours (L-BFGS, before and
after the others, FIRE and then L-BFGS, and FIRE), ASE (FIRE with FrechetCellFilter, one crystal after the other) and
torch-sim (FIRE with Frechet cells, all in one batch), each with its own defaults otherwise. What L-BFGS and ASE leave
at different energies both relax again with a tenth of the limits. PYTHON is of an environment with kappaforge and
torch-sim; the last one for Python 3.11 is torch-sim-atomistic==0.3.0. With `--stream`, the time and the largest memory
of longer and longer lists instead.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from kappaforge.crystal import Crystal
from kappaforge.dataset.readers import read
from kappaforge.errors import InputError
from kappaforge.files import write_text
from kappaforge.generate.perturbed import parents_of, perturb
from kappaforge.generate.random_symmetric import RandomSymmetric
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials import registry
from kappaforge.potentials.base import Batch, Potential, Prediction
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import RelaxSettings

SEED = 2026
DISPLACEMENT_ANG, STRAIN = 0.1, 0.03
SETTINGS = RelaxSettings(fmax_ev_per_ang=0.01, stress_max_gpa=0.1, max_steps=1000)
TIGHT = RelaxSettings(fmax_ev_per_ang=0.001, stress_max_gpa=0.01, max_steps=10_000)
"""Where both are stopped so late that what is left of their difference is one of minima."""
SAME_MEV_PER_ATOM = 0.1

Result = tuple[float, int, str]
"""Energy in eV/atom, steps (-1 where they are not told), and status of one crystal."""


@dataclass
class Timed:
    """A potential that notes the CPU time it takes."""

    potential: Potential
    cpu_seconds: float = field(default=0.0, init=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.potential, name)

    def compute(self, batch: Batch) -> Prediction:
        """Return what the potential says."""
        start = time.process_time()
        prediction = self.potential.compute(batch)
        self.cpu_seconds += time.process_time() - start
        return prediction


class AsCalculator(Calculator):
    """A potential as ASE's calculator."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(self, atoms: Atoms, properties: Sequence[str], system_changes: Sequence[str] = all_changes) -> None:
        """Let the potential compute a batch of one."""
        super().calculate(atoms, properties, system_changes)
        batch = Batch(atoms.cell.array[None], atoms.positions, atoms.numbers, np.array([len(atoms)]))
        energies, forces, stresses = self.potential.compute(batch)
        stress = full_3x3_to_voigt_6_stress(stresses[0])
        self.results = {"energy": float(energies[0]), "forces": forces, "stress": stress}


def crystals(data: list[Crystal], n: int, n_random: int) -> list[Crystal]:
    """Return the crystals to start from: n strained and rattled ones of the data, and random symmetric ones."""
    generator, made, first = RandomSymmetric(GenerateSettings(generator="random")), [], 0
    while len(made) < n_random:
        made += [one.crystal for one in generator.sample(n_random, first=first, seed=SEED) if one.crystal is not None]
        first += n_random
    return [_right_handed(crystal) for crystal in perturbed(data, n) + made[:n_random]]


def perturbed(data: list[Crystal], n: int) -> list[Crystal]:
    """Return n crystals of the data, strained and rattled."""
    parents = [data[index] for index in parents_of(len(data), n, seed=SEED)]
    proposals = perturb(parents, seed=SEED, displacement_ang=DISPLACEMENT_ANG, strain=STRAIN)
    return [one.crystal for one in proposals if one.crystal is not None]


def _right_handed(crystal: Crystal) -> Crystal:
    """Turn a crystal inside out where its cell is left-handed, for which torch-sim 0.3 has the stress's sign wrong."""
    if np.linalg.det(crystal.cell) > 0:
        return crystal
    return Crystal(-crystal.cell, -crystal.positions, crystal.numbers, id=crystal.id, source=crystal.source)


def by_us(starts: list[Crystal], potential: Potential, limits: RelaxSettings = SETTINGS, **ours: Any) -> list[Result]:
    """Relax with our own."""
    settings = replace(limits, **ours)
    return [(one.energy_ev_per_atom, one.steps, one.status) for one in relax(starts, potential, settings)]


def by_ase(starts: list[Crystal], potential: Potential, limits: RelaxSettings = SETTINGS) -> list[Result]:
    """Relax with ASE, stopped where our own would stop."""
    results = []
    for crystal in starts:
        atoms = crystal.to_ase()
        atoms.calc = AsCalculator(potential)
        optimiser = FIRE(FrechetCellFilter(atoms), logfile=None)
        status = "unconverged"
        try:
            for _ in optimiser.irun(fmax=0.0, steps=limits.max_steps):
                force = np.linalg.norm(atoms.get_forces(), axis=1).max()
                stress_gpa = np.abs(atoms.get_stress()).max() / GPa
                if force <= limits.fmax_ev_per_ang and stress_gpa <= limits.stress_max_gpa:
                    status = "ok"
                    break
                if not np.isfinite(force):
                    status = "failed"
                    break
        except (ValueError, np.linalg.LinAlgError):  # of a cell that has become infinite
            status = "failed"
        results.append((atoms.get_potential_energy() / len(atoms), optimiser.nsteps, status))
    return results


def by_torch_sim(starts: list[Crystal], potential: Potential) -> list[Result]:
    """Relax with torch-sim, stopped where our own would stop."""
    import torch
    import torch_sim
    from torch_sim.models.interface import ModelInterface
    from torch_sim.quantities import systemwise_max_force

    class Model(ModelInterface):
        """The potential in torch-sim's terms, whose cells have lattice vectors as columns."""

        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype = torch.device("cpu"), torch.float64
            self._compute_forces = self._compute_stress = True

        def forward(self, state: Any, **_: Any) -> dict[str, torch.Tensor]:
            counts = torch.bincount(state.system_idx, minlength=len(state.cell)).numpy()
            cells, numbers = state.cell.mT.contiguous().numpy(), state.atomic_numbers.numpy().astype(np.int64)
            answer = potential.compute(Batch(cells, state.positions.numpy(), numbers, counts))
            return {
                name: torch.from_numpy(array)
                for name, array in zip(("energy", "forces", "stress"), answer, strict=True)
            }

    def has_settled(state: Any, _: Any = None) -> torch.Tensor:
        stress_gpa = state.stress.abs().amax(dim=(1, 2)) / GPa
        return (systemwise_max_force(state) <= SETTINGS.fmax_ev_per_ang) & (stress_gpa <= SETTINGS.stress_max_gpa)

    final = torch_sim.optimize(
        system=[crystal.to_ase() for crystal in starts],
        model=Model(),
        optimizer=torch_sim.frechet_cell_fire,
        convergence_fn=has_settled,
        max_steps=SETTINGS.max_steps,
    )
    energies, ok = final.energy.numpy(), has_settled(final).numpy()
    return [
        (float(energy) / len(crystal), -1, "ok" if one_ok else "unconverged")
        for energy, one_ok, crystal in zip(energies, ok, starts, strict=True)
    ]


WAYS: dict[str, Callable[[list[Crystal], Potential], list[Result]]] = {
    "lbfgs": lambda starts, potential: by_us(starts, potential, minimiser="lbfgs"),
    "fire-lbfgs": lambda starts, potential: by_us(starts, potential, minimiser="fire-lbfgs"),
    "fire": lambda starts, potential: by_us(starts, potential, minimiser="fire"),
    "ase": by_ase,
    "torch-sim": by_torch_sim,
    "lbfgs again": lambda starts, potential: by_us(starts, potential, minimiser="lbfgs"),
}


def measured(way: str, starts: list[Crystal], potential: Potential) -> dict[str, Any]:
    """Relax in one way and return CPU seconds, those of the potential alone, and the results."""
    timed = Timed(potential)
    start = time.process_time()
    results = WAYS[way](starts, timed)
    return {
        "cpu_seconds": time.process_time() - start,
        "potential_cpu_seconds": timed.cpu_seconds,
        "energies_ev_per_atom": [energy for energy, _, _ in results],
        "steps": [steps for _, steps, _ in results],
        "status": [status for _, _, status in results],
    }


def elsewhere(python: str, way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Do the same in another Python, which has what the way needs."""
    command = [python, __file__, str(options.data), "-n", str(options.n), "--random", str(options.random)]
    command += ["--potential", options.potential]
    done = subprocess.run([*command, "--ways", way, "--raw"], stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer[way]


def document(answers: dict[str, Any], starts: list[Crystal]) -> str:
    """Return the results in Markdown; ratios to the mean of our own two runs."""
    ours = [answers[way]["cpu_seconds"] for way in ("lbfgs", "lbfgs again") if way in answers]
    lines = [
        "| | relaxed | steps, mean | CPU s | of it potential (%) | times ours |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for way, answer in answers.items():
        steps = np.array(answer["steps"])
        share = 100 * answer["potential_cpu_seconds"] / answer["cpu_seconds"]
        ratio = f"{answer['cpu_seconds'] / np.mean(ours):.1f}" if ours else "–"
        lines.append(
            f"| {way} | {answer['status'].count('ok')} | {f'{steps.mean():.1f}' if steps.min() >= 0 else '–'} "
            f"| {answer['cpu_seconds']:.1f} | {share:.0f} | {ratio} |"
        )
    for way, answer in answers.items():
        for reference in {"ase", "fire"} & answers.keys() - {way, "lbfgs again"}:
            for kind in sorted({crystal.source for crystal in starts}):
                places = [place for place, crystal in enumerate(starts) if crystal.source == kind]
                lines += ["", f"{kind}: {differences(answer, way, answers[reference], reference, places)}"]
    return "\n".join(lines)


def differences(own: dict[str, Any], way: str, other: dict[str, Any], reference: str, places: list[int]) -> str:
    """Return how many energies agree with the reference's, of the crystals that it relaxed, and which do not."""
    counted = [place for place in places if other["status"][place] == "ok"]
    odd = [place for place in counted if not _agree(own, other, place)]
    same = f"{len(counted) - len(odd)} of {len(counted)} that {reference} relaxed"
    lines = [
        f"- number {place}: {_change_mev_per_atom(own, other, place):+.2f} meV/atom ({own['status'][place]})"
        for place in odd
    ]
    return "\n".join([f"{way} ends within {SAME_MEV_PER_ATOM} meV/atom for {same}", *lines])


def _agree(own: dict[str, Any], other: dict[str, Any], place: int) -> bool:
    return own["status"][place] == "ok" and abs(_change_mev_per_atom(own, other, place)) <= SAME_MEV_PER_ATOM


def _change_mev_per_atom(own: dict[str, Any], other: dict[str, Any], place: int) -> float:
    return 1e3 * float(own["energies_ev_per_atom"][place] - other["energies_ev_per_atom"][place])


def settled(answers: dict[str, Any], starts: list[Crystal], potential: Potential) -> str:
    """Relax what ended apart by ours and ASE once more, each from the start and with a tenth of the limits."""
    own, other = answers["lbfgs"], answers["ase"]
    odd = [
        place
        for place in range(len(starts))
        if other["status"][place] == own["status"][place] == "ok" and not _agree(own, other, place)
    ]
    again = [starts[place] for place in odd]
    lines = [f"The {len(odd)} that ended apart, with a tenth of the limits (lbfgs − ase, meV/atom):", ""]
    for place, ours, theirs in zip(odd, by_us(again, potential, TIGHT), by_ase(again, potential, TIGHT), strict=True):
        lines.append(f"- number {place}: {1e3 * (ours[0] - theirs[0]):+.2f} ({ours[2]}, {theirs[2]})")
    return "\n".join(lines)


def stream(data: list[Crystal], sizes: Sequence[int], potential: Potential) -> str:
    """Relax longer and longer lists; return time and memory in Markdown."""
    lines = [
        "| crystals | relaxed | steps, mean | CPU ms each | largest memory (MiB) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for size in sorted(sizes):
        starts = perturbed(data, size)
        start = time.process_time()
        records = relax(starts, potential, SETTINGS)
        each = 1e3 * (time.process_time() - start) / len(records)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        relaxed = sum(record.status == "ok" for record in records)
        steps = np.mean([record.steps for record in records])
        lines.append(f"| {len(records)} | {relaxed} | {steps:.1f} | {each:.1f} | {memory:.0f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="crystals to strain and rattle")
    parser.add_argument("-n", type=int, default=200, help="number of crystals of the data, strained and rattled")
    parser.add_argument("--random", type=int, default=0, help="number of random symmetric ones")
    parser.add_argument("--potential", default="carbon")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--torch-sim", metavar="PYTHON", default="", help="Python that has torch-sim")
    parser.add_argument("--stream", type=int, nargs="+", metavar="N", help="measure lists of so many crystals instead")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--raw", action="store_true", help="print the results as JSON only")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: the times are those of one core")
    data = [entry.crystal for entry in read(options.data)]
    potential = registry.load(options.potential)
    relax(data[:2], potential, RelaxSettings(max_steps=2))  # fills caches
    if options.stream:
        print(stream(data, options.stream, potential))
        return
    starts, answers = crystals(data, options.n, options.random), {}
    about: dict[str, Any] = {"n": options.n, "random": options.random, "potential": options.potential}
    for way in options.ways:
        if way == "torch-sim" and not options.raw:
            if not options.torch_sim:
                print("torch-sim left out: give a Python that has it with --torch-sim", file=sys.stderr)
                continue
            answers[way] = elsewhere(options.torch_sim, way, options)
        else:
            answers[way] = measured(way, starts, potential)
        print(f"{way}: {answers[way]['cpu_seconds']:.1f} s", file=sys.stderr, flush=True)
        about["load_average"] = os.getloadavg()
        if options.json:
            write_text(options.json, json.dumps({**about, "ids": [one.id for one in starts], **answers}) + "\n")
    print(json.dumps(answers) if options.raw else f"{about}\n\n{document(answers, starts)}")
    if {"lbfgs", "ase"} <= answers.keys() and not options.raw:
        print(f"\n{settled(answers, starts, potential)}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
