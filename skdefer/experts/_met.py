"""The experts that an estimator serves, and what it knew of them when it was told to."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from skdefer.experts._base import AbsentExpert, Expert
from skdefer.experts._profile import ExpertProfile
from skdefer.utils._rows import drop_columns


class Met(NamedTuple):
    """An expert who is served already."""

    name: str
    profile: ExpertProfile  # may have had more answers since
    brought: ExpertProfile | None  # the expert's own profile, as it was when served


def is_fitted(profile: ExpertProfile | None) -> bool:
    """Tell a fitted profile from a mere prior, and from none."""
    return hasattr(profile, "counts_")


def agree(one: ExpertProfile | None, other: ExpertProfile | None) -> bool:
    """Tell whether two profiles are fitted and say the same."""
    names = ("classes_", "counts_", "alpha_", "beta_")
    return (
        is_fitted(one)
        and is_fitted(other)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
    )


class ServingMixin:
    """Holds the experts of an estimator, and their profiles twice: to decide by, and to learn."""

    routes_: list[str]
    experts_: list[Expert]
    _former_columns: list[Any]  # of experts served before: nobody sees them
    _brought: list[ExpertProfile | None]
    _served: list[ExpertProfile]  # those that decide, as they were in ``fit`` or ``with_experts``

    @property
    def profiles_(self) -> list[ExpertProfile]:
        """What is known of each expert; answers added to one count when it is served again."""
        return self._profiles

    @profiles_.setter
    def profiles_(self, profiles: Sequence[ExpertProfile]) -> None:
        self._served = list(profiles)
        # Learning puts new arrays in the place of old ones, so a shallow copy has its own.
        self._profiles = [copy.copy(profile) for profile in profiles]

    @property
    def _panel(self) -> dict[str, Expert]:
        return dict(zip(self.routes_[1:], self.experts_, strict=True))

    @property
    def _rejects_only(self) -> bool:
        return isinstance(self.experts_[0], AbsentExpert)

    def _drop_former(self, X: Any) -> Any:
        return drop_columns(X, self._former_columns)

    def _met(self) -> list[Met]:
        if self._rejects_only:
            return []
        return [Met(*m) for m in zip(self.routes_[1:], self.profiles_, self._brought, strict=True)]

    def _serves(
        self, names: list[str], profiles: Sequence[ExpertProfile], who: list[int | None]
    ) -> bool:
        """Tell whether these are the experts served, by the same profiles."""
        same = names == self.routes_[1:] and who == list(range(len(names)))
        return same and all(map(agree, profiles, self._served))
