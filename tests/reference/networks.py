"""Plain float64 NumPy twins of the networks: loops and formulas, nothing clever."""

import math

import numpy as np


def _dense(layer, values):
    return values @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def similarity_embedding(params, features):
    layers = params["params"]
    hidden = np.asarray(features, np.float64)
    for i in range(len(layers)):
        hidden = _dense(layers[f"dense_{i}"], np.maximum(hidden, 0) if i else hidden)
    return hidden / np.linalg.norm(hidden, axis=1, keepdims=True)


def pair_logits(params, first, second):
    layers = params["params"]
    hidden = np.concatenate([first, second], axis=1).astype(np.float64)
    for i in range(len(layers) - 1):
        hidden = np.maximum(_dense(layers[f"dense_{i}"], hidden), 0)
    return _dense(layers["logit"], hidden)[:, 0]


def conv(images, kernel, stride, pads, depthwise=False):
    """Correlate [B, H, W, C] with an HWIO kernel; `pads` is (before, after) in both directions."""
    padded = np.pad(np.asarray(images, np.float64), ((0, 0), pads, pads, (0, 0)))
    kernel = np.asarray(kernel, np.float64)
    size = kernel.shape[0]
    rows = range(0, padded.shape[1] - size + 1, stride)
    columns = range(0, padded.shape[2] - size + 1, stride)
    product = (
        (lambda window: np.einsum("bijc,ijc->bc", window, kernel[:, :, 0]))
        if depthwise
        else (lambda window: np.einsum("bijc,ijco->bo", window, kernel, optimize=True))
    )
    grid = [[product(padded[:, y : y + size, x : x + size]) for x in columns] for y in rows]
    return np.stack([np.stack(line, axis=1) for line in grid], axis=1)


def same_pads(side, size, stride):
    """Pads of TensorFlow's SAME: the odd pixel at the end."""
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    return total // 2, total - total // 2


def mobilenet_v2_features(weights, images):
    """Follow the weights file layer by layer; its names say kind, stride and activation."""
    hidden = np.asarray(images, np.float64) / 127.5 - 1
    block_input = None
    for layer in sorted({name.split("/")[0] for name in weights})[:52]:
        _, kind, stride, activation = layer.split("_")
        kernel, stride = weights[f"{layer}/kernel"], int(stride[1:])
        pads = same_pads(hidden.shape[1], kernel.shape[0], stride)
        hidden = conv(hidden, kernel, stride, pads, kind == "dwconv") + weights[f"{layer}/bias"]
        if activation == "act3":
            hidden = np.clip(hidden, 0, 6)
            continue
        if block_input is not None and block_input.shape == hidden.shape:
            hidden = hidden + block_input
        block_input = hidden
    return hidden.mean(axis=(1, 2))


def efficientnet_lite0_features(state, images):
    """Follow PyTorch's state by its names, each batch norm in its place."""
    stages = (
        (3, 1, 1),
        (3, 2, 2),
        (5, 2, 2),
        (3, 2, 3),
        (5, 1, 3),
        (5, 2, 4),
        (3, 1, 1),
    )  # kernel, stride, blocks

    def layer(hidden, conv_name, norm_name, stride=1, *, depthwise=False):
        kernel = state[f"{conv_name}.weight"].transpose(2, 3, 1, 0).astype(np.float64)
        pads = same_pads(hidden.shape[1], len(kernel), stride)
        hidden = conv(hidden, kernel, stride, pads, depthwise)
        gamma, beta, mean, variance = (
            state[f"{norm_name}.{leaf}"].astype(np.float64)
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return (hidden - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    hidden = layer((np.asarray(images, np.float64) - 127) / 128, "_conv_stem", "_bn0", 2)
    hidden, number = np.clip(hidden, 0, 6), 0
    for size, first_stride, num_blocks in stages:
        for i in range(num_blocks):
            block, inputs = f"_blocks.{number}", hidden
            if number:
                hidden = np.clip(layer(hidden, f"{block}._expand_conv", f"{block}._bn0"), 0, 6)
            assert state[f"{block}._depthwise_conv.weight"].shape[-1] == size
            stride = 1 if i else first_stride
            hidden = layer(hidden, f"{block}._depthwise_conv", f"{block}._bn1", stride, depthwise=True)
            hidden = layer(np.clip(hidden, 0, 6), f"{block}._project_conv", f"{block}._bn2")
            hidden, number = hidden + inputs if i else hidden, number + 1
    return np.clip(layer(hidden, "_conv_head", "_bn1"), 0, 6).mean(axis=(1, 2))


def resnet_features(variables, images, blocks_per_stage, mean, spread):
    """Read torchvision's definition aloud: pads of (size - 1) / 2, batch norm at its statistics."""
    params, statistics = variables["params"], variables["batch_stats"]
    hidden = (np.asarray(images, np.float64) - mean) / spread
    hidden = np.maximum(_conv_norm(params, statistics, hidden, "conv1", "bn1", 2), 0)
    hidden = _max_pool_3x3(hidden)
    for stage, blocks in enumerate(blocks_per_stage):
        for i in range(blocks):
            name = f"layer{stage + 1}_{i}"
            stride = 2 if stage > 0 and i == 0 else 1
            hidden = _residual_block(params[name], statistics[name], hidden, stride)
    return hidden.mean(axis=(1, 2))


def vision_transformer_features(params, images, heads, positions=None):
    """Read the definitions of DINOv2 and DINOv3 aloud, token by token; `images` are scaled.

    `positions` are embeddings on the grid of the patches. Without them queries and keys are turned.
    """
    params = {name: _float64(value) for name, value in params.items()}
    patch, epsilon = (16, 1e-5) if positions is None else (14, 1e-6)
    rows, columns = images.shape[1] // patch, images.shape[2] // patch
    features = []
    for image in np.asarray(images, np.float64):
        tokens = [params["class_token"][0], *params.get("register_tokens", [])]
        for y in range(rows):
            for x in range(columns):
                window = image[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch]
                embedded = np.einsum("ijc,ijco->o", window, params["patch_embed"]["kernel"])
                tokens.append(embedded + params["patch_embed"]["bias"])
                if positions is not None:
                    tokens[-1] = tokens[-1] + positions[y, x]
        tokens = np.stack(tokens)
        for i in range(sum(name.startswith("blocks_") for name in params)):
            grid = (rows, columns) if positions is None else None
            tokens = _transformer_block(params[f"blocks_{i}"], tokens, heads, epsilon, grid)
        features.append(_layer_norm(params["norm"], tokens[:1], epsilon)[0])
    return np.stack(features)


def _float64(tree):
    if isinstance(tree, dict):
        return {name: _float64(value) for name, value in tree.items()}
    return np.asarray(tree, np.float64)


def _transformer_block(block, tokens, heads, epsilon, grid):
    qkv = _dense(block["qkv"], _layer_norm(block["norm1"], tokens, epsilon))
    queries, keys, values = (np.split(part, heads, axis=1) for part in np.split(qkv, 3, axis=1))
    mixed = []
    for q, k, v in zip(queries, keys, values, strict=True):
        first, second = (q, k) if grid is None else (turned(q, *grid), turned(k, *grid))
        weights = np.exp(first @ second.T / np.sqrt(q.shape[1]))
        mixed.append(weights / weights.sum(axis=1, keepdims=True) @ v)
    tokens = tokens + block["scale1"] * _dense(block["proj"], np.concatenate(mixed, axis=1))
    hidden = _dense(block["fc1"], _layer_norm(block["norm2"], tokens, epsilon))
    if hidden.shape[1] == 2 * len(block["fc2"]["kernel"]):  # SwiGLU
        gate, passed = np.split(hidden, 2, axis=1)
        active = gate / (1 + np.exp(-gate)) * passed
    else:
        active = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / np.sqrt(2)))
    return tokens + block["scale2"] * _dense(block["fc2"], active)


def turned(vectors, rows, columns):
    """Turn each patch's vector of [T, C] as a list of complex numbers; tokens before the patches stay."""
    count = vectors.shape[1] // 4
    result, first_patch = vectors.astype(np.float64), len(vectors) - rows * columns
    for y in range(rows):
        for x in range(columns):
            token = first_patch + y * columns + x
            for i in range(2 * count):
                place = 2 * (y + 0.5) / rows - 1 if i < count else 2 * (x + 0.5) / columns - 1
                angle = 2 * math.pi * place / 100 ** ((i % count) / count)
                number = complex(vectors[token, i], vectors[token, i + 2 * count])
                number *= complex(math.cos(angle), math.sin(angle))
                result[token, i], result[token, i + 2 * count] = number.real, number.imag
    return result


def _layer_norm(layer, tokens, epsilon):
    centred = tokens - tokens.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + epsilon)
    return centred / deviation * layer["scale"] + layer["bias"]


def bicubic(values, rows, columns, offset=0.0):
    """Resample [H, W, D] as PyTorch does without antialiasing, place by place."""

    def taps(place, length, new_length):
        centre = (place + 0.5) * length / (new_length + offset) - 0.5
        for tap in range(math.floor(centre) - 1, math.floor(centre) + 3):
            d = abs(centre - tap)
            near = 1.25 * d**3 - 2.25 * d**2 + 1
            far = -0.75 * d**3 + 3.75 * d**2 - 6 * d + 3
            yield min(max(tap, 0), length - 1), near if d <= 1 else far

    new = np.zeros((rows, columns, values.shape[2]))
    for y in range(rows):
        for x in range(columns):
            for row, row_weight in taps(y, values.shape[0], rows):
                for column, column_weight in taps(x, values.shape[1], columns):
                    new[y, x] += row_weight * column_weight * values[row, column]
    return new


def _residual_block(params, statistics, inputs, stride):
    count = sum(name.startswith("conv") for name in params)
    strided = 2 if count == 3 else 1
    hidden = inputs
    for i in range(1, count + 1):
        layer_stride = stride if i == strided else 1
        hidden = _conv_norm(params, statistics, hidden, f"conv{i}", f"bn{i}", layer_stride)
        hidden = np.maximum(hidden, 0) if i < count else hidden
    if "downsample_0" in params:
        inputs = _conv_norm(params, statistics, inputs, "downsample_0", "downsample_1", stride)
    return np.maximum(hidden + inputs, 0)


def _conv_norm(params, statistics, inputs, conv_name, norm_name, stride):
    kernel = params[conv_name]["kernel"]
    hidden = conv(inputs, kernel, stride, (kernel.shape[0] // 2,) * 2)
    norm, stored = params[norm_name], statistics[norm_name]
    standardised = (hidden - np.asarray(stored["mean"], np.float64)) / np.sqrt(
        np.asarray(stored["var"], np.float64) + 1e-5
    )
    return standardised * np.asarray(norm["scale"], np.float64) + np.asarray(norm["bias"], np.float64)


def _max_pool_3x3(images):
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    rows, columns = range(0, images.shape[1], 2), range(0, images.shape[2], 2)
    return np.stack(
        [
            np.stack([padded[:, y : y + 3, x : x + 3].max(axis=(1, 2)) for x in columns], axis=1)
            for y in rows
        ],
        axis=1,
    )


def similarity_beside(learnt, others, share):
    """Cosines of all rows: the mean of both parts, or of one where the other has no direction."""
    learnt, others = learnt.astype(np.float64), others.astype(np.float64)
    cosines = np.zeros((len(learnt), len(learnt)))
    for i in range(len(learnt)):
        for j in range(len(learnt)):
            dot, norms = (1 - share) * (learnt[i] @ learnt[j]), []
            lengths = [np.linalg.norm(others[row]) for row in (i, j)]
            if min(lengths) > 0:
                dot += share * (others[i] @ others[j]) / (lengths[0] * lengths[1])
            norms = [(1 - share) + share * (length > 0) for length in lengths]
            cosines[i, j] = dot / np.sqrt(norms[0] * norms[1]) if min(norms) > 0 else 0
    return cosines
