"""What the help teaches: commands to copy, each with what it is for."""

from __future__ import annotations

from collections.abc import Sequence

FIRST_STEPS = (
    ("kappaforge doctor", "what is installed, and what to install for the rest"),
    ("kappaforge kappa POSCAR", "κ of one crystal: seconds to minutes"),
    ("kappaforge init runs/carbon", "a campaign: settings, to edit"),
    ("kappaforge run runs/carbon --dry-run", "what it would cost"),
    ("kappaforge run runs/carbon", "all steps, then a table, figures and a page; again after any interruption"),
    ("kappaforge status runs/carbon", "how far it is, from another terminal"),
)

FOR_ALL = """[bold]What holds for all commands[/bold]

Each has its options and examples under --help. Results go to stdout, progress and problems to stderr. With --json, \
results are JSON, one object per line, and nothing else goes to stdout.

A folder given with --run keeps what is computed: after a kill, say the same again and it goes on.

Exit codes: 0 done; 1 it failed; 2 the input cannot be used, and one line says what to do; 130 interrupted.

kappaforge --install-completion lets your shell complete commands, options and names."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "init": (
        ("kappaforge init runs/carbon", "the paper's steps, with every setting explained"),
        ("kappaforge init runs/demo --template demo", "a small one that ends within minutes"),
    ),
    "run": (
        ("kappaforge run runs/carbon --dry-run", "check all settings and estimate the cost; writes nothing"),
        ("kappaforge run runs/carbon", "run, or go on with what has not been done"),
        ("kappaforge run runs/carbon --json > ranked.jsonl", "one row per crystal"),
    ),
    "resume": (("kappaforge resume runs/carbon", "like run, but refuses a folder with nothing to go on from"),),
    "status": (
        ("kappaforge status runs/carbon", "from any terminal, while it runs"),
        ("kappaforge status runs/carbon --json", "for a monitor"),
    ),
    "report": (
        ("kappaforge report runs/carbon", "also while it is going on"),
        ("kappaforge report shared/run --output mine/", "of a run that you may only read"),
    ),
    "export": (
        ("kappaforge export runs/carbon -f extxyz", "all crystals with what is known of each"),
        ("kappaforge export runs/carbon -f csv -o table.csv", "for a spreadsheet or pandas"),
        ("kappaforge export runs/carbon -f cif --above 800", "the best conductors"),
    ),
    "doctor": (
        ("kappaforge doctor", "before the first run, and before you report a problem"),
        ("kappaforge doctor --json", "for a script that sets up machines"),
    ),
    "generate": (
        ("kappaforge generate -n 100 --seed 1 -o raw.extxyz", "carbon, by the shipped flow"),
        ("kappaforge generate -n 100 -g random --elements B,N -o bn.extxyz", "any elements, symmetric and random"),
    ),
    "evaluate-generator": (
        ("kappaforge evaluate-generator flow --run judged/ -n 200", "the shipped one, beside controls"),
        ("kappaforge evaluate-generator mine.safetensors --data crystals/ --run judged/", "one of your own"),
    ),
    "relax": (
        ("kappaforge relax raw.extxyz -o relaxed.extxyz", "with the carbon potential"),
        ("kappaforge relax bn.extxyz -p 7net-0 --pressure 10 -o squeezed/", "other elements, at 10 GPa"),
        ("kappaforge relax POSCAR -p ase:my_module:calculator", "any ASE calculator of yours"),
    ),
    "screen": (
        ("kappaforge screen relaxed.extxyz -o kept.extxyz", "each crystal once"),
        ("kappaforge screen relaxed.extxyz -r known/ -o novel.extxyz", "and none that is in known/"),
    ),
    "describe": (("kappaforge describe kept.extxyz -o features.h5", "SOAP vectors and the map, as HDF5"),),
    "select": (
        ("kappaforge select kept.extxyz -n 50 -o benchmarks.extxyz", "the most different ones"),
        ("kappaforge select kept.extxyz --near diamond -k 10", "those most like diamond"),
    ),
    "label": (
        ("kappaforge label few.extxyz --run labels/ -o labels.extxyz", "by GPAW with optB88-vdW"),
        ("kappaforge label few.extxyz -l espresso --xc PBE --run labels/", "by Quantum ESPRESSO"),
        ("kappaforge label few.extxyz --run labels/ --collect -o so-far.extxyz", "what is finished, starting nothing"),
    ),
    "train": (
        ("kappaforge train labels.extxyz -o mine.safetensors", "a new model; then: relax -p mine.safetensors"),
        ("kappaforge train labels.extxyz --start carbon -o mine.safetensors", "on from the shipped one"),
    ),
    "train-generator": (
        ("kappaforge train-generator crystals/ -o mine.safetensors", "then: generate -g mine.safetensors"),
        ("kappaforge train-generator good/ --start flow --prior-only -o more.safetensors", "more crystals like these"),
        ("kappaforge train-generator crystals/ -m cdvae --preset small -o c.safetensors", "CDVAE, small"),
    ),
    "learn": (
        ("kappaforge learn candidates.extxyz --run learn/", "labels by GPAW, where the committee is unsure"),
        ("kappaforge learn candidates.extxyz --labels labels.extxyz --run learn/", "beginning with labels of yours"),
    ),
    "displace": (
        ("kappaforge displace POSCAR -o displaced/ --format vasp", "supercells for your DFT"),
        ("kappaforge kappa --forces displaced/", "afterwards, with the forces in it"),
    ),
    "kappa": (
        ("kappaforge kappa POSCAR", "relax, phonons, κ tensor with the error of the mesh"),
        ("kappaforge kappa *.cif --run kappa/ --json", "many, each computed once"),
        ("kappaforge kappa POSCAR --level rta -p brenner", "faster and rougher"),
        ("kappaforge kappa POSCAR --isotopes -T 300 -T 600 --boundary 10", "isotopes, two temperatures, a 10 µm grain"),
        ("kappaforge kappa POSCAR --committee --cutoffs --run kappa/", "how sure it is"),
        ("kappaforge kappa POSCAR --method paper", "exactly the paper's protocol"),
    ),
    "ladder": (("kappaforge ladder *.cif --run ladder/ --limit 800", "the full cost only where κ may pass 800"),),
    "phonons": (
        ("kappaforge phonons POSCAR -o phonons/", "is it stable? figures and arrays"),
        ("kappaforge phonons POSCAR --compare brenner -o phonons/", "two potentials on top of each other"),
    ),
    "vasp": (
        ("kappaforge vasp write few.extxyz -o vasp/", "one folder of inputs for each crystal"),
        ("kappaforge vasp read vasp/ -o labels.extxyz", "after VASP ran there"),
    ),
}
"""Of each command; the test suite parses them all."""


def overview() -> str:
    """Return what stands at the end of the help of all."""
    return f"{_shown('First steps', FIRST_STEPS)}\n\n{FOR_ALL}"


def examples(command: str) -> str:
    """Return what stands at the end of a command's help."""
    return _shown("Examples", EXAMPLES[command])


def _shown(title: str, lines: Sequence[tuple[str, str]]) -> str:
    shown = [f"[bold]{title}[/bold]", ""]
    for line, purpose in lines:
        shown += [f"[dim]# {purpose}[/dim]", line]
    return "\n".join(shown)
