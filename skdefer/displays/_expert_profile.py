"""How often each expert is right on each class, with the doubt that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.displays._base import Display, in_percent, numbered
from skdefer.experts import ExpertProfile
from skdefer.utils._validation import check_answers

if TYPE_CHECKING:
    import pandas

_HEIGHT_OF_MARK = 0.22  # inches


class ExpertProfileDisplay(Display):
    """Shows which expert knows which class, and how sure that is.

    Draws the posterior mean of an expert's accuracy on each class, with its central
    posterior interval, as :class:`skdefer.ExpertProfile` computes them.

    Make one by :meth:`from_estimator`, :meth:`from_profiles` or :meth:`from_predictions`;
    the parameters are stored as attributes.

    Parameters
    ----------
    mean : ndarray of shape (n_experts, n_classes)
        Posterior means.
    interval : ndarray of shape (n_experts, n_classes, 2)
        Lower and upper ends.
    n_answers : ndarray of shape (n_experts, n_classes)
        Answers known on rows of the class, weighted if the profile was.
    classes : array-like of shape (n_classes,)
        The classes.
    expert_names : sequence of str, default=None
        ``expert_1``, ... if None.
    level : float, default=0.95
        Posterior probability inside the intervals.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it was drawn.
    lines_ : list of ErrorbarContainer
        One per expert.

    See Also
    --------
    skdefer.ExpertProfile : The numbers.

    Examples
    --------
    Without ``ax`` a figure is opened; here one is made that needs no screen.

    >>> from matplotlib.figure import Figure
    >>> from skdefer.displays import ExpertProfileDisplay
    >>> y_true = ["benign"] * 4 + ["malignant"] * 4
    >>> answers = ["benign"] * 4 + ["malignant", "benign", "benign", None]
    >>> display = ExpertProfileDisplay.from_predictions(
    ...     y_true, answers, expert_names=["dr. b"], ax=Figure().subplots()
    ... )
    >>> display.figure_.savefig("experts.png")  # doctest: +SKIP

    The figure gives back its data:

    >>> display.frame().round(3)
      expert      class   mean  lower  upper  n_answers
    0  dr. b     benign  0.833  0.478  0.995        4.0
    1  dr. b  malignant  0.400  0.068  0.806        3.0
    """

    def __init__(
        self,
        *,
        mean: np.ndarray,
        interval: np.ndarray,
        n_answers: np.ndarray,
        classes: ArrayLike,
        expert_names: Sequence[str] | None = None,
        level: float = 0.95,
    ):
        self.mean = mean
        self.interval = interval
        self.n_answers = n_answers
        self.classes = classes
        self.expert_names = expert_names
        self.level = level

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, level: float = 0.95, ax: Any = None, **kwargs: Any
    ) -> ExpertProfileDisplay:
        """Draw what a fitted deferral estimator knows of its experts.

        Parameters
        ----------
        estimator : deferral estimator
            Fitted; its ``profiles_`` are taken. No expert is asked.
        level : float, default=0.95
            Posterior probability inside the intervals, in (0, 1).
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : ExpertProfileDisplay
            Drawn.

        Raises
        ------
        TypeError
            If ``estimator`` has no ``profiles_``.
        ImportError
            If matplotlib is not installed.
        """
        if not hasattr(estimator, "profiles_"):
            raise TypeError(
                f"{type(estimator).__name__} has no profiles_; expected a fitted "
                "DeferralClassifier or its kin. Fit it first, or use from_profiles."
            )
        names = estimator.routes_[1:]
        return cls.from_profiles(
            estimator.profiles_, expert_names=names, level=level, ax=ax, **kwargs
        )

    @classmethod
    def from_profiles(
        cls,
        profiles: ExpertProfile | Sequence[ExpertProfile],
        *,
        expert_names: Sequence[str] | None = None,
        level: float = 0.95,
        ax: Any = None,
        **kwargs: Any,
    ) -> ExpertProfileDisplay:
        """Draw fitted profiles.

        Parameters
        ----------
        profiles : ExpertProfile or sequence of ExpertProfile
            Fitted. Where their classes differ all are shown, and a class that a profile
            never saw has its prior.
        expert_names : sequence of str, default=None
            One per profile; the profiles' own names if None.
        level : float, default=0.95
            Posterior probability inside the intervals, in (0, 1).
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : ExpertProfileDisplay
            Drawn.

        Raises
        ------
        ValueError
            For no profile, a wrong number of names, or a level outside (0, 1).
        sklearn.exceptions.NotFittedError
            If a profile was not fitted.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        profiles = [profiles] if isinstance(profiles, ExpertProfile) else list(profiles)
        if not profiles:
            raise ValueError("profiles is empty; expected one fitted ExpertProfile at least.")
        if expert_names is None:
            unnamed = numbered(len(profiles))
            expert_names = [p.name or name for p, name in zip(profiles, unnamed, strict=True)]
        if len(expert_names) != len(profiles):
            raise ValueError(
                f"expert_names are {list(expert_names)}, but there are {len(profiles)} profiles. "
                "Pass a name for each."
            )
        intervals = [profile.interval(level) for profile in profiles]  # checks that all are fitted
        classes = profiles[0].classes_
        if any(not np.array_equal(profile.classes_, classes) for profile in profiles):
            classes = np.unique(np.concatenate([profile.classes_ for profile in profiles]))
            profiles = [profile.align(classes) for profile in profiles]
            intervals = [profile.interval(level) for profile in profiles]
        display = cls(
            mean=np.array([profile.mean_ for profile in profiles]),
            interval=np.array(intervals),
            n_answers=np.array([profile.n_context_ for profile in profiles]),
            classes=classes,
            expert_names=list(expert_names),
            level=level,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        expert_predictions: Any,
        *,
        expert_names: Sequence[str] | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        level: float = 0.95,
        ax: Any = None,
        **kwargs: Any,
    ) -> ExpertProfileDisplay:
        """Draw what past answers tell of the experts, from a uniform prior.

        Parameters
        ----------
        y_true : array-like of shape (n_rows,)
            The truth.
        expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
            The experts' answers; missing ones are skipped.
        expert_names : sequence of str, default=None
            One per expert; the columns' names of a DataFrame if None.
        classes : array-like of shape (n_classes,), default=None
            The classes; those of ``y_true`` if None.
        sample_weight : array-like of shape (n_rows,), default=None
            How many answers a row counts for.
        level : float, default=0.95
            Posterior probability inside the intervals, in (0, 1).
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        **kwargs : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : ExpertProfileDisplay
            Drawn.

        Raises
        ------
        ValueError
            As :meth:`skdefer.ExpertProfile.fit`, and for a wrong number of names.
        ImportError
            If matplotlib is not installed.
        """
        cls._need_matplotlib()
        y_true = np.asarray(y_true)
        answers, columns = check_answers(expert_predictions, len(y_true))
        profiles = [
            ExpertProfile(classes=classes).fit(column, y_true, sample_weight)
            for column in answers.T
        ]
        return cls.from_profiles(
            profiles, expert_names=expert_names or columns, level=level, ax=ax, **kwargs
        )

    def plot(
        self,
        ax: Any = None,
        *,
        class_names: Mapping[Any, str] | None = None,
        errorbar_kwargs: Mapping[str, Any] | None = None,
    ) -> ExpertProfileDisplay:
        """Draw: a row per class, a mark with its interval per expert.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure if None.
        class_names : mapping, default=None
            What to write for a class; the label itself where it has no entry.
        errorbar_kwargs : mapping, default=None
            Arguments of matplotlib's ``errorbar`` for every expert.

        Returns
        -------
        display : ExpertProfileDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self._open_axes(ax)
        n_experts, n_classes = self.mean.shape
        if ax is None:
            self.figure_.set_figheight(1.3 + _HEIGHT_OF_MARK * n_classes * (n_experts + 1))
        position = np.arange(n_classes)
        # Experts lie below each other inside the row of a class.
        offset = (np.arange(n_experts) - (n_experts - 1) / 2) / (n_experts + 1)
        self.lines_ = []
        for j, name in enumerate(self._names()):
            style = {"fmt": "o", "capsize": 3, "label": name, **(errorbar_kwargs or {})}
            ends = self.interval[j].T
            self.lines_.append(
                self.ax_.errorbar(
                    self.mean[j],
                    position + offset[j],
                    xerr=np.abs(ends - self.mean[j]),
                    **style,
                )
            )
        names = class_names or {}
        labels = [str(names.get(label, label)) for label in np.asarray(self.classes).tolist()]
        self.ax_.set_yticks(position, labels)
        self.ax_.set_ylim(n_classes - 0.5, -0.5)  # the first class on top
        self.ax_.hlines(position[1:] - 0.5, 0, 1, color="0.85", linewidth=0.8, zorder=0)
        self.ax_.set_xlim(-0.01, 1.01)
        in_percent(self.ax_.xaxis)
        level = f"{self.level:.3g}" if self.level < 0.01 else f"{100 * self.level:.3g} %"
        self.ax_.set(xlabel=f"Accuracy on rows of the class ({level} interval)", ylabel="Class")
        self.ax_.grid(axis="x", alpha=0.25)
        self._place_legend()
        return self

    def _names(self) -> list[str]:
        return list(self.expert_names or numbered(len(self.mean)))

    def frame(self) -> pandas.DataFrame:
        """Give back the data of the figure.

        Returns
        -------
        frame : DataFrame
            A row per expert and class: ``expert``, ``class``, ``mean``, ``lower``,
            ``upper`` and ``n_answers``.
        """
        import pandas as pd

        n_experts, n_classes = self.mean.shape
        return pd.DataFrame(
            {
                "expert": np.repeat(np.asarray(self._names(), dtype=object), n_classes),
                "class": np.tile(np.asarray(self.classes), n_experts),
                "mean": self.mean.ravel(),
                "lower": self.interval[..., 0].ravel(),
                "upper": self.interval[..., 1].ravel(),
                "n_answers": self.n_answers.ravel(),
            }
        )
