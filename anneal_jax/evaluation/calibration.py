"""Estimates the probability that two tiles are similar from their cosine, with answers not trained on."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.evaluation.intervals import Z_95

MIN_LABELS = 20
"""Minimum number of labels for an estimate."""

MIN_OF_EACH = 3
"""Minimum number of similar labels, and of dissimilar ones."""

RIDGE = 0.1
"""Weight of the penalty on the squared slope, which keeps it finite if the labels are separable."""

_NARROWEST = 1e-6  # spread of similarities below which they carry no information


class Calibration(NamedTuple):
    """A rising curve from similarity to probability.

    1 / (1 + exp(-(intercept + slope z))), z = (similarity - centre) / scale.

    Attributes:
      intercept: log-odds at the mean similarity of the labels.
      slope: log-odds per standard deviation, >= 0.
      centre: mean of the labels' similarities.
      scale: their standard deviation.
      covariance: covariance of (intercept, slope), as (ii, is, ss).
      num_labels: number of labels in the fit.
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
        """Return the ends of the 95% interval of P(similar), which widens away from the labels."""
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

    The fit applies to pairs drawn like these labels: for audits, tiles and one of their five nearest. It is
    a logistic curve, not a step function: with a few dozen audits, steps of a few labels each would be
    noise. The interval is Wald's, from the curvature at the optimum.

    Args:
      similarities: float[P], cosines under the model in use.
      labels: int[P], 1 similar, 0 dissimilar; leave out unsure answers.

    Returns:
      The curve; None if there are too few labels of either kind, or all similarities are equal. If similar
      pairs are not nearer than dissimilar ones, the curve is flat, at the share of similar pairs.

    Raises:
      ValueError: the lists differ in length, or contain invalid values.

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
    if slope < 0:  # a falling curve only means that nothing was learnt
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
