"""Placeholder while the default is being measured."""
import numpy as np
from sklearn.linear_model import LogisticRegression
from skdefer.rejectors._base import BaseRejector

class LearnedRejector(BaseRejector):
    """Placeholder."""

    _parameter_constraints: dict = {}
    learns = True

    def _fit(self, proba, y, answers, X, sample_weight):
        self.models_ = []
        targets = [(np.ones(len(y), bool), proba.argmax(1) == y)]
        targets += [(answers[:, j] != -1, answers[:, j] == y) for j in range(answers.shape[1])]
        F = self._f(proba)
        for rows, t in targets:
            rows = rows & (sample_weight > 0)
            if not rows.any():
                self.models_.append(None)
            elif len(np.unique(t[rows])) < 2:
                self.models_.append(float(t[rows].mean()))
            else:
                self.models_.append(LogisticRegression().fit(F[rows], t[rows], sample_weight[rows]))

    def _f(self, p):
        s = np.sort(p, 1)
        return np.column_stack([s[:, -1], s[:, -1] - s[:, -2], p])

    def _losses(self, proba, X):
        F = self._f(proba)
        prof = proba @ self._class_losses()
        out = [self._model_loss(proba)]
        for j, m in enumerate(self.models_):
            if j == 0 and m is None:
                continue
            if m is None:
                v = prof[:, j - 1]
            elif isinstance(m, float):
                v = np.full(len(F), 1 - m)
            else:
                v = 1 - m.predict_proba(F)[:, 1]
            if j == 0:
                out[0] = v
            else:
                out.append(v)
        return np.column_stack(out)
