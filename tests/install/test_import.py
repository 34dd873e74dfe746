"""Importing skdefer is cheap."""

import subprocess
import sys

HEAVY = ["pandas", "matplotlib", "torch", "transformers", "polars", "pyarrow", "sqlite3"]


def test_import_loads_nothing_heavy():
    # A fresh process: this one has loaded everything already. scikit-learn's own imports count
    # as given, so the parts of it that skdefer uses are loaded first.
    code = (
        "import sys; import sklearn.base, sklearn.linear_model, sklearn.pipeline, sklearn.frozen, "
        "sklearn.model_selection, sklearn.metrics, sklearn.ensemble; before = set(sys.modules); "
        "import skdefer; new = set(sys.modules) - before; "
        f"print(sorted(m for m in {HEAVY} if m in new))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
