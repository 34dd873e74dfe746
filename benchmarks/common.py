"""What the benchmark scripts share: where they ran, and how results are written."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import numpy as np
import sklearn

import skdefer

RESULTS = Path(__file__).parent / "results"


def environment():
    return {
        "skdefer": skdefer.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def write(name, **content):
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **content}, indent=1) + "\n")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def table(rows, columns):
    """A Markdown table of dicts."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(row[c]) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def clustered_error(values, groups):
    """Standard error of the mean of per-row values whose rows come in groups."""
    _, code = np.unique(groups, return_inverse=True)
    sums = np.bincount(code, values - values.mean())
    n_groups = len(sums)
    return float(np.sqrt(n_groups / (n_groups - 1) * np.square(sums).sum()) / len(values))
