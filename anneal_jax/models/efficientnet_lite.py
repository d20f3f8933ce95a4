"""EfficientNet-Lite0 (tan2019efficientnet), with batch norm folded into its layers.

The Lite networks are EfficientNets without squeeze-and-excitation and with ReLU6 instead of swish, which
makes them fast without a GPU. Lite0 has MobileNetV2's layout with other stages, some of them with 5x5
kernels.
"""

from collections.abc import Iterator

from anneal_jax.models.inverted_residual import InvertedResidualNetwork, Stage, blocks_of


class EfficientNetLite0(InvertedResidualNetwork):
    """EfficientNet-Lite0 without its classification layer: Table 1 of the paper, at 224 px."""

    stages = (
        Stage(1, 16, 1, 1),
        Stage(6, 24, 2, 2),
        Stage(6, 40, 2, 2, kernel_size=5),
        Stage(6, 80, 3, 2),
        Stage(6, 112, 3, 1, kernel_size=5),
        Stage(6, 192, 4, 2, kernel_size=5),
        Stage(6, 320, 1, 1),
    )


def torch_layer_names() -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield (path inside the parameters, convolution, batch norm) of every layer.

    The names are those of the PyTorch package `efficientnet_lite_pytorch`, which numbers its blocks and the
    batch norms in each block.

    >>> next(torch_layer_names())
    (('stem',), '_conv_stem', '_bn0')
    """
    yield ("stem",), "_conv_stem", "_bn0"
    for number, block in enumerate(blocks_of(EfficientNetLite0.stages)):
        parts = ("depthwise", "project") if block.expansion == 1 else ("expand", "depthwise", "project")
        for part in parts:
            norm = ("expand", "depthwise", "project").index(part)
            yield (
                (block.name, part),
                f"_blocks.{number}._{part}_conv",
                f"_blocks.{number}._bn{norm}",
            )
    yield ("head",), "_conv_head", "_bn1"
