"""A picture as transformers prepares it, against our loading, resizing and scaling of it as a tile."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from anneal_jax.data.archives import open_archive
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.pretrained import as_pretrained

transformers = pytest.importorskip("transformers", reason="needs transformers; run scripts/parity")


@pytest.mark.parametrize(
    ("name", "size", "resample"),
    [("Bit", {"shortest_edge": 96}, 3), ("ViT", {"height": 96, "width": 96}, 2)],
)
@pytest.mark.parametrize("side", [64, 256])
def test_a_picture_is_prepared_as_transformers_does(tmp_path, name, size, resample, side):
    """Larger and smaller than the network takes; bicubic (3) and bilinear (2); no crop at the centre."""
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    folder = tmp_path / "tiles" / "forest"
    folder.mkdir(parents=True)
    Image.fromarray(picture).save(folder / "one.png")
    crop = {"do_center_crop": False} if name == "Bit" else {}
    processor = getattr(transformers, f"{name}ImageProcessorPil")(
        size=size,
        resample=resample,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        **crop,
    )
    there = processor(Image.open(folder / "one.png"), return_tensors="np")["pixel_values"][0]
    processor.save_pretrained(tmp_path)

    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}, tmp_path / "model.safetensors")
    backbone = as_pretrained(get_backbone("resnet18"), tmp_path / "model.safetensors")
    archive = open_archive(f"folder:{tmp_path / 'tiles'}")
    tiles = archive.load(np.array([0]), backbone.default_image_size, backbone.resampling)
    here = np.asarray(backbone._scale(tiles))[0]
    assert here.shape == (96, 96, 3)
    np.testing.assert_allclose(here, there.transpose(1, 2, 0), atol=1e-5)
