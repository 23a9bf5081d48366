"""Put files of labels together, each crystal once: the first file's label counts.

    python training/carbon/collect.py LABELS... --output training/carbon/labels.extxyz.gz

Labels of different engines are refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels, write_labels


def main() -> None:
    """Write all labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found: dict[str, Label] = {}
    for file in options.labels:
        before = len(found)
        for label in read_labels(file):
            found.setdefault(label.crystal.digest, label)
        print(f"{file}: {len(found) - before} labels that were not there")
    write_labels(list(found.values()), options.output)
    print(f"{len(found)} labels in {options.output}")


if __name__ == "__main__":
    main()
