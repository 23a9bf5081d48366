"""One offline HTML file of a run: what was done, the ranked table, the explorer, the figures and the settings."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from kappaforge import __version__
from kappaforge.crystal import Crystal
from kappaforge.report.assets import SCRIPT, STYLE
from kappaforge.report.explorer import chemiscope_licence, chemiscope_script, explorer_data, json_for_script
from kappaforge.report.ranking import ranking
from kappaforge.report.tables import NOTHING, kappa_text, number
from kappaforge.store.published import Published
from kappaforge.store.row import Row, ranked

# The browser itself refuses everything that is not in the file; chemiscope's WebGL layer compiles its shaders' drivers.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:"
)


class Picture(NamedTuple):
    """A figure for the page."""

    title: str
    caption: str
    svg: bytes


def page(published: Published, pictures: Sequence[Picture]) -> str:
    """Return the page as HTML that needs nothing but itself.

    Parameters
    ----------
    published
        The run.
    pictures
        Its figures, in the order in which they are shown.
    """
    title = escape(published.name)
    rows = ranked(published.rows)
    crystal_of = {row.id: crystal for row, crystal in zip(published.rows, published.crystals, strict=True)}
    crystals = [crystal_of[row.id] for row in rows]
    sections = [
        ranking(rows),
        _explorer(rows),
        _figures(pictures),
        _steps(published),
        _settings(published),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · kappaforge</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="lead">{escape(summary(published))}</p>
<nav aria-label="Sections"><a href="#table">Ranking</a> <a href="#explorer">Explorer</a>
<a href="#figures">Figures</a> <a href="#steps">Steps</a> <a href="#settings">Settings</a></nav>
</header>
<main>
{"".join(sections)}
</main>
<footer>
<p>Made by kappaforge {escape(__version__)}. Map and 3D viewer:</p>
<details><summary>chemiscope and its licence</summary><pre>{escape(chemiscope_licence())}</pre></details>
</footer>
{_explorer_data(published.name, rows, crystals)}<script>{SCRIPT}</script>
</body>
</html>
"""


def summary(published: Published) -> str:
    """Say in a sentence or two what was run, with which potential, and what came out."""
    rows = ranked(published.rows)
    with_kappa = [row for row in rows if row.kappa_rta_max_w_per_mk is not None]
    steps = " → ".join(published.counts)
    said = f"{_count(len(rows), 'crystal')}" + (f" ({steps})" if steps else "") + ". "
    if not with_kappa:
        return said + f"κ of no crystal is known yet{_with_potential(published, rows)}."
    best = with_kappa[0]
    temperatures = sorted({row.temperature_k for row in with_kappa if row.temperature_k is not None})
    at = f" at {', '.join(f'{value:g}' for value in temperatures)}\u00a0K" if temperatures else ""
    return (
        said + f"The lattice thermal conductivity κ of {len(with_kappa)} was computed{at} in the relaxation-time "
        f"approximation{_with_potential(published, with_kappa)}. The best conductor is {best.id}: "
        f"{kappa_text(best.kappa_rta_max_w_per_mk)}\u00a0W/(m·K) in its best direction."
    )


def _with_potential(published: Published, rows: Iterable[Row]) -> str:
    section = published.settings.get("potential")
    configured = section.get("name", "") if isinstance(section, Mapping) else section or ""
    names = sorted({row.potential for row in rows if row.potential}) or [str(configured)]
    return f" with the potential {', '.join(names)}" if names[0] else ""


def _count(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}" + ("" if number_of == 1 else "s")


def _explorer(rows: Sequence[Row]) -> str:
    if not rows:
        inside = "<p>There is no crystal to show yet.</p>"
    else:
        inside = """<p class="quiet">Each point is a crystal, grey while its κ is unknown; the mark is its role.
Click a point to see its atoms (2 × 2 × 2 conventional cells), drag to turn them.
<label>Colour: <select id="explorer-colour"></select></label></p>
<p id="explorer-shown" aria-live="polite"></p>
<p id="explorer-message" role="status"></p>
<div class="explorer">
<div id="explorer-map"></div>
<div id="explorer-side"><div id="explorer-structure"></div><div id="explorer-info"></div></div>
<div id="explorer-meta"></div>
</div>"""
    return f"""<section id="explorer" aria-labelledby="explorer-title">
<h2 id="explorer-title">Explorer</h2>
{inside}
</section>
"""


def _explorer_data(name: str, rows: Sequence[Row], crystals: Sequence[Crystal]) -> str:
    if not rows:
        return ""
    data = json_for_script(explorer_data(rows[::-1], crystals[::-1], name))  # the best conductors lie on top
    return f'<script type="application/json" id="crystals">{data}</script>\n<script>{chemiscope_script()}</script>\n'


def _figures(pictures: Sequence[Picture]) -> str:
    shown = "\n".join(
        f'<figure><img alt="{escape(picture.title)}: {escape(picture.caption)}" '
        f'src="data:image/svg+xml;base64,{base64.b64encode(picture.svg).decode("ascii")}">'
        f"<figcaption><strong>{escape(picture.title)}.</strong> {escape(picture.caption)}</figcaption></figure>"
        for picture in pictures
    )
    return f"""<section id="figures" aria-labelledby="figures-title">
<h2 id="figures-title">Figures</h2>
<div class="figures">
{shown}
</div>
</section>
"""


def _steps(published: Published) -> str:
    names = dict.fromkeys([*published.counts, *published.discards, *published.seconds_by_step])
    steps = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="number">{published.counts.get(name, NOTHING)}</td>'
        f'<td class="number">{sum(published.discards.get(name, {}).values())}</td>'
        f'<td class="number">{number(published.seconds_by_step.get(name), 1)}</td></tr>'
        for name in names
    )
    reasons = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(reason)}</td><td class="number">{many}</td></tr>'
        for name in names
        for reason, many in sorted(published.discards.get(name, {}).items(), key=lambda item: (-item[1], item[0]))
    )
    discards = (
        '<table><thead><tr><th scope="col">step</th><th scope="col">left because</th>'
        f'<th scope="col" class="number">crystals</th></tr></thead><tbody>{reasons}</tbody></table>'
        if reasons
        else '<p class="quiet">No crystal was discarded.</p>'
    )
    return f"""<section id="steps" aria-labelledby="steps-title">
<h2 id="steps-title">Steps</h2>
<div class="columns">
<table><thead><tr><th scope="col">step</th><th scope="col" class="number">crystals after it</th>
<th scope="col" class="number">discarded</th><th scope="col" class="number">time (s)</th></tr></thead>
<tbody>{steps}</tbody></table>
{discards}
</div>
</section>
"""


def _settings(published: Published) -> str:
    return f"""<section id="settings" aria-labelledby="settings-title">
<h2 id="settings-title">Settings and versions</h2>
<div class="columns">
{_listing(("setting", "value"), _flattened(published.settings))}
{_listing(("package", "version"), published.versions.items())}
</div>
</section>
"""


def _listing(header: tuple[str, str], items: Iterable[tuple[str, Any]]) -> str:
    head = "".join(f'<th scope="col">{text}</th>' for text in header)
    body = "".join(
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(str(value))}</td></tr>' for key, value in items
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested settings as ``section.key`` and value."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
