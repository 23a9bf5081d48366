"""What others published for Carbon-24, to print beside one's own, and why it does not compare one to one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One model's figures on Carbon-24's test set; None for what its paper does not give.

    Parameters
    ----------
    model
        Its name, and how many samples each test crystal had.
    source
        Paper and table.
    match_rate_percent, rmse
        Reconstruction, or prediction from the number of atoms alone, with CDVAE's tolerances.
    valid_percent
        Structural validity.
    cov_recall_percent, cov_precision_percent
        Coverage.
    density_wasserstein_g_per_cm3, energy_wasserstein_ev_per_atom
        Distances between the distributions.
    """

    model: str
    source: str
    match_rate_percent: float | None = None
    rmse: float | None = None
    valid_percent: float | None = None
    cov_recall_percent: float | None = None
    cov_precision_percent: float | None = None
    density_wasserstein_g_per_cm3: float | None = None
    energy_wasserstein_ev_per_atom: float | None = None


CDVAE = "arXiv 2110.06197, tables 1 and 2"
DIFFCSP = "arXiv 2309.04475"
FLOWMM = "arXiv 2406.04713"

CARBON_24 = (
    Published("CDVAE, reconstructed", CDVAE, 55.22, 0.1251, 100.0, 99.80, 83.08, 0.1407, 0.2850),
    Published("CDVAE, 1 sample", DIFFCSP, 17.09, 0.2969),
    Published("CDVAE, 20 samples", DIFFCSP, 88.37, 0.2286),
    Published("DiffCSP, 1 sample", DIFFCSP, 17.54, 0.2759, 100.0, 99.90, 97.27, 0.0805, 0.0820),
    Published("DiffCSP, 20 samples", DIFFCSP, 88.47, 0.2192),
    Published("FlowMM, 1 sample", FLOWMM, 23.47, 0.4122),
    Published("FlowMM, 20 samples", FLOWMM, 84.15, 0.3301),
)

NOT_COMPARABLE = (
    "The published figures here have not been checked against the papers' tables; look there before quoting them.",
    "Match rates one by one mean little: Carbon-24 has one composition and many copies (arXiv 2509.12178), so what "
    "was decoded wrongly often matches all the same. METRe and cRMSE are of unique crystals.",
    "Reconstruction sees the crystal to be made, prediction only its number of atoms.",
    "Validity here includes the distances between an atom and its own images, which CDVAE's code leaves out.",
    "Energies here are this potential's of unrelaxed crystals; CDVAE's are those of a network trained on Carbon-24.",
    "The papers' test set is 2,030 crystals and their sample 10,000, of which 1,000 valid ones give the distances; "
    "coverage grows with the size of the sample.",
)
