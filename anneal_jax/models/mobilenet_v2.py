"""MobileNetV2 at width 1.0 (sandler2018mobilenetv2), with batch norm folded into its layers."""

from collections.abc import Iterator

from anneal_jax.models.inverted_residual import InvertedResidualNetwork, Stage, blocks_of

FOLDED_CLASSIFIER = "52_conv_s1_act0"
"""The one layer in a file of folded weights that the backbone does not use."""


class MobileNetV2(InvertedResidualNetwork):
    """MobileNetV2 1.0 without its classification layer: Table 2 of the paper."""

    stages = (
        Stage(1, 16, 1, 1),
        Stage(6, 24, 2, 2),
        Stage(6, 32, 3, 2),
        Stage(6, 64, 4, 2),
        Stage(6, 96, 3, 1),
        Stage(6, 160, 3, 2),
        Stage(6, 320, 1, 1),
    )


def folded_layer_names() -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (path inside the parameters, name in a file of folded weights) of every layer.

    The file numbers its layers in order and names each by kind, stride and activation, 3 for
    ReLU6 and 0 for none.

    >>> next(folded_layer_names())
    (('stem',), '00_conv_s2_act3')
    """
    for i, (path, kind_stride_activation) in enumerate(_layers_in_order()):
        yield path, f"{i:02d}_{kind_stride_activation}"


def _layers_in_order() -> Iterator[tuple[tuple[str, ...], str]]:
    yield ("stem",), "conv_s2_act3"
    for block in blocks_of(MobileNetV2.stages):
        if block.expansion > 1:
            yield (block.name, "expand"), "conv_s1_act3"
        yield (block.name, "depthwise"), f"dwconv_s{block.stride}_act3"
        yield (block.name, "project"), "conv_s1_act0"
    yield ("head",), "conv_s1_act3"
