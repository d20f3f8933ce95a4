"""The chance that two tiles are similar, from their cosine and answers that were not trained on."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.evaluation.intervals import Z_95

MIN_LABELS = 20
"""Labels from which on anything is said."""

MIN_OF_EACH = 3
"""Of them similar ones, and again dissimilar ones."""

RIDGE = 0.1
"""Weight of the penalty on the squared slope, which keeps it finite where the labels are separable."""

_NARROWEST = 1e-6  # spread of similarities below which they tell nothing apart


class Calibration(NamedTuple):
    """A rising curve from similarity to chance.

    1 / (1 + exp(-(intercept + slope z))), z = (similarity - centre) / scale.

    Attributes:
      intercept: log-odds at the mean similarity of the labels.
      slope: log-odds per standard deviation, >= 0.
      centre: mean of the labels' similarities.
      scale: their standard deviation.
      covariance: of (intercept, slope), as (ii, is, ss).
      num_labels: how many labels it rests on.
    """

    intercept: float
    slope: float
    centre: float
    scale: float
    covariance: tuple[float, float, float]
    num_labels: int

    def probability(self, similarities: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return P(similar), float64 in the shape of `similarities` (cosines in [-1, 1])."""
        return _share(self._log_odds(similarities))

    def interval(
        self, similarities: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the ends of the 95% interval of P(similar); it widens away from the labels."""
        log_odds, place = self._log_odds(similarities), self._places(similarities)
        both, mixed, slopes = self.covariance
        half = Z_95 * np.sqrt(np.maximum(both + 2 * mixed * place + slopes * place**2, 0))
        return _share(log_odds - half), _share(log_odds + half)

    def _places(self, similarities: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return (np.asarray(similarities, np.float64) - self.centre) / self.scale

    def _log_odds(self, similarities: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return self.intercept + self.slope * self._places(similarities)


def fit_calibration(similarities: npt.ArrayLike, labels: npt.ArrayLike) -> Calibration | None:
    """Fit P(similar) to labelled pairs that the model was not trained on.

    It speaks of pairs drawn as these were: from audits, of tiles and one of the five nearest. A logistic
    curve, not a step function: audits are some dozens, and steps of a few labels each would be noise. The
    interval is Wald's, from the curvature at the best curve.

    Args:
      similarities: float[P], cosines by the model in use.
      labels: int[P], 1 similar, 0 dissimilar; leave unsure ones out.

    Returns:
      The curve; None where there are too few labels of either kind, or all similarities are one.
      Where similar pairs are not the nearer ones, the curve is flat, at the share of similar pairs.

    Raises:
      ValueError: the lists differ in length, or hold something else.

    Source: platt1999probabilistic.

    >>> fit = fit_calibration(np.linspace(0, 1, 40), np.repeat([0, 1], 20))
    >>> fit.probability([0.0, 0.5, 1.0]).round(1).tolist()
    [0.0, 0.5, 1.0]
    >>> fit_calibration([0.1, 0.9], [0, 1]) is None
    True
    """
    places, said = np.asarray(similarities, np.float64), np.asarray(labels)
    if places.ndim != 1 or places.shape != said.shape or not np.isin(said, (0, 1)).all():
        raise ValueError("give equally long lists of similarities and of labels, each 0 or 1.")
    if not np.isfinite(places).all():
        raise ValueError("a similarity is NaN or infinite; leave that pair out of both lists.")
    num_similar = int(np.sum(said))
    if said.size < MIN_LABELS or min(num_similar, said.size - num_similar) < MIN_OF_EACH:
        return None
    centre, scale = float(places.mean()), float(places.std())
    if scale < _NARROWEST:
        return None
    places = (places - centre) / scale
    intercept, slope = _logistic_fit(places, said)
    if slope < 0:  # a curve that falls says only that nothing was learnt
        intercept, slope = math.log(num_similar / (said.size - num_similar)), 0.0
    share = _share(intercept + slope * places)
    weight = share * (1 - share)
    curvature = np.array(
        [[weight.sum(), weight @ places], [weight @ places, weight @ places**2 + RIDGE]], np.float64
    )
    (both, mixed), (_, slopes) = np.linalg.inv(curvature).tolist()
    return Calibration(intercept, slope, centre, scale, (both, mixed, slopes), int(said.size))


def _logistic_fit(places: npt.NDArray[np.float64], labels: npt.NDArray[Any]) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky", tol=1e-8)
    model.fit(places[:, None], labels)
    return np.ravel(model.intercept_).item(), np.ravel(model.coef_).item()


def _share(log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(log_odds), np.float64)
