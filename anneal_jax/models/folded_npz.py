"""MobileNetV2 from an `.npz` (`numpy.savez`), with batch norm folded into the layers.

Each of the 52 layers of MobileNetV2 1.0 (sandler2018mobilenetv2), numbered in the order of the forward
pass, has two arrays, `LAYER/kernel` and `LAYER/bias`, of any float type; they are read as float32. LAYER is
`NN_KIND_sSTRIDE_actACT`: NN from `00` on, KIND `conv` or `dwconv`, STRIDE 1 or 2, ACT 3 if ReLU6 follows,
else 0.

- Layer `00_conv_s2_act3`, the stem: kernel [3, 3, 3, 32].
- Then 17 blocks, as in Table 2 of the paper. From C channels to W, with expansion t: `conv_s1_act3`, kernel
  [1, 1, C, t C], missing if t = 1; `dwconv_sSTRIDE_act3`, kernel [3, 3, 1, t C]; `conv_s1_act0`, kernel
  [1, 1, t C, W]. So the first block is `01_dwconv_s1_act3` and `02_conv_s1_act0`, the last ends at 50.
- Layer `51_conv_s1_act3`, the head: kernel [1, 1, 320, 1280]. Its spatial mean is the feature.
- A layer `52_conv_s1_act0`, the classes, may follow and is ignored; any other array is an error.

`dict(folded_layer_names())` of `anneal_jax.models.mobilenet_v2` lists the layers. Kernels are
[height, width, in, out], those of depthwise layers [height, width, 1, channels]; a bias is [out]. From
PyTorch's [out, in, height, width] both come by `kernel.transpose(2, 3, 1, 0)`. Batch norm with gamma, beta,
mean, variance and epsilon is folded, per output channel, by g = gamma / sqrt(variance + epsilon): the
kernel becomes kernel * g, the bias beta - mean * g. The weights must be for RGB scaled to [-1, 1], as x /
127.5 - 1 of 8-bit values, and for TensorFlow's SAME padding: if a stride of 2 needs only one pixel of
padding, it is at the bottom and right. Weights for another scaling or padding are not detected.
"""

from pathlib import Path

import numpy as np

from anneal_jax.errors import WeightsError, refusing
from anneal_jax.models.mobilenet_v2 import FOLDED_CLASSIFIER, folded_layer_names
from anneal_jax.models.slots import Arrays, Paths, Shapes, Slot


def read_npz(file: Path) -> Arrays:
    """Read all arrays except those of the classification layer, as float32.

    Raises:
      WeightsError: the file is damaged, or contains anything other than plain arrays.
    """
    with (
        # A .npy instead of an .npz is not a context manager, and a member may be anything.
        refusing(
            lambda reason: WeightsError(f"{file} is not an intact .npz ({reason}); download it again")
        ),
        file.open("rb") as stream,
        np.load(stream, allow_pickle=False) as stored,
    ):
        names = [name for name in stored.files if not name.startswith(FOLDED_CLASSIFIER)]
        return {name: stored[name].astype(np.float32) for name in names}


def folded_slots(shapes: Shapes) -> list[Slot]:
    """Return the position of each parameter of MobileNetV2 in the file."""
    layer_names: dict[Paths, str] = {("params", *path): name for path, name in folded_layer_names()}
    return [_slot(path, shape, f"{layer_names[path[:-1]]}/{path[-1]}") for path, shape in shapes.items()]


def _slot(path: Paths, shape: tuple[int, ...], name: str) -> Slot:
    # In the file, a matrix is the kernel of a 1x1 convolution.
    file_shape = (1, 1, *shape) if len(shape) == 2 else shape
    return Slot(path, (name,), (file_shape,), lambda array: array.reshape(shape))
