"""The optimiser of the whole network: Adam with rates that change in time and differ for the backbone."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import optax


class Rates(NamedTuple):
    """The learning rates of one step, or of several along a first axis.

    Attributes:
      heads: float32[], and
      backbone: float32[], of Adam.
    """

    heads: Any
    backbone: Any


class Schedule(NamedTuple):
    """Learning rates over a fit.

    Attributes:
      shape: `constant`, or `cosine`, which ends at 0.
      learning_rate: of the heads, at first.
      backbone_rate: the backbone's, as a share of it.

    Source: loshchilov2017sgdr, eq. 5, without restarts, for the cosine.
    """

    shape: str
    learning_rate: float
    backbone_rate: float = 1.0

    def rates(self, progress: npt.NDArray[np.float64]) -> Rates:
        """Return the rates at each time, float32[T] on the host.

        Args:
          progress: float64[T], share of the fit that is done, in [0, 1); rates are 0 from 1 on.

        >>> Schedule("cosine", 0.5).rates(np.array([0.0, 0.5, 1.0])).heads.round(3).tolist()
        [0.5, 0.25, 0.0]
        """
        # Not optax's schedules: they compute on the device, and each chunk would wait for their answer.
        shares = np.where(progress < 1, _SHAPES[self.shape](progress.clip(max=1.0)), 0.0)
        heads = (self.learning_rate * shares).astype(np.float32)
        return Rates(heads, np.float32(self.backbone_rate) * heads)


def make_optimiser(
    accumulation: int, rates: Rates
) -> optax.GradientTransformationExtraArgs | optax.MultiSteps:
    """Return the optimiser of `NetworkParams` at one time; its state fits at any other.

    The backbone's variables other than its `params`, as statistics, are left alone.

    Args:
      accumulation: batches whose mean gradient makes one step.
      rates: at that time.
    """
    parts: dict[Hashable, optax.GradientTransformation] = {
        "heads": optax.adam(rates.heads),
        "backbone": optax.adam(rates.backbone),
        "statistics": optax.set_to_zero(),
    }
    optimiser = optax.multi_transform(parts, _parts_of)
    return optimiser if accumulation == 1 else optax.MultiSteps(optimiser, accumulation)


def _parts_of(params: Any) -> Any:
    """Return the name of the part that each parameter belongs to."""
    backbone = {name: "backbone" if name == "params" else "statistics" for name in params.backbone}
    return params._replace(backbone=backbone, heads="heads")


_SHAPES = {
    "constant": np.ones_like,
    "cosine": lambda progress: 0.5 * (1 + np.cos(np.pi * progress)),
}
