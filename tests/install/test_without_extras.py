"""Without extras the core works, and what needs an extra names it."""

import subprocess
import sys
import textwrap

import pytest

from skdefer.utils import _optional

BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def run_without(packages, code):
    """Run code in a fresh process in which the packages can't be imported."""
    script = BLOCK.format(blocked=set(packages)) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_the_core_needs_no_extra():
    result = run_without(
        _optional._EXTRA_OF,
        """
        import numpy as np
        from skdefer import DeferralClassifier
        from skdefer.metrics import deferral_report
        rng = np.random.default_rng(0)
        X = rng.normal(size=(100, 2))
        y = (X[:, 0] + rng.normal(size=100) > 0).astype(int)
        clf = DeferralClassifier().fit(X, y, expert_predictions=y)
        clf.explain_defer(X)
        deferral_report(y, clf.predict_model(X), y, clf.deferral_score(X), clf.predict_route(X))
        """,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("package", "extra", "code"),
    [
        (
            "matplotlib",
            "plot",
            """
            from skdefer.displays import DeferralCurveDisplay
            DeferralCurveDisplay.from_predictions([0, 1], [0, 0], [0, 1], [0.1, 0.2])
            """,
        ),
        (
            "pyarrow",
            "parquet",
            """
            import pathlib, tempfile
            from skdefer.datasets import load_chexpert_readers
            home = pathlib.Path(tempfile.mkdtemp())
            (home / "chexpert_readers").mkdir()
            (home / "chexpert_readers" / "data.parquet").write_bytes(b"")
            load_chexpert_readers(data_home=home, verify=False)
            """,
        ),
        ("torch", "torch", "from skdefer.neural import train"),
        ("torch", "torch", "from skdefer.losses import lce_loss"),
        (
            "transformers",
            "text",
            "from skdefer.neural import TransformerBackbone; TransformerBackbone('a-model')",
        ),
    ],
)
def test_a_missing_extra_is_named(package, extra, code):
    result = run_without([package], code)
    assert result.returncode != 0
    assert "ImportError" in result.stderr
    assert f'pip install "skdefer[{extra}]"' in result.stderr


def test_an_estimator_without_networks_pickles_without_torch():
    result = run_without(
        ["torch"],
        """
        import skdefer.losses
        from skdefer.neural import portable_state
        state = {"classes_": [0, 1]}
        assert portable_state(state) is state
        """,
    )
    assert result.returncode == 0, result.stderr


def test_every_optional_package_is_in_an_extra():
    tomllib = pytest.importorskip("tomllib")
    from tests.discovery import ROOT

    pyproject = ROOT.parent / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("needs the source tree")
    extras = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    for package, extra in _optional._EXTRA_OF.items():
        assert any(line.startswith(package) for line in extras[extra])
