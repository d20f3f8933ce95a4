# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own tiles, or your own vectors
#
# This notebook takes a folder of pictures, or a file of vectors from any model, to a model that
# searches them. As long as you name none it makes a small folder of its own, so that you can first
# watch every step work.

# %% [markdown]
# ## Install
#
# This cell does nothing where the package is there already. Elsewhere, as in Colab, it installs the
# package from `SOURCE`. The JAX and NumPy that are there stay as they are, for they fit the machine's
# accelerator: if they are too old for the package, `pip` says so and changes nothing; take a newer
# runtime then.

# %%
import importlib.util
import pathlib
import subprocess
import sys
from importlib.metadata import distributions

SOURCE = ""  # Colab: "git+" and the address of your copy; empty: the folder above this notebook

if importlib.util.find_spec("anneal_jax") is None:
    held = {d.name: d.version for d in distributions() if d.name.startswith(("jax", "libtpu", "numpy"))}
    pathlib.Path("held.txt").write_text("\n".join(f"{name}=={version}" for name, version in held.items()))
    package = f"anneal-jax[serve] @ {SOURCE or pathlib.Path('..').resolve().as_uri()}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", "held.txt", package], check=True)

# %% [markdown]
# ## Name your tiles
#
# `ARCHIVE` is one line of text:
#
# | you have | you write |
# |---|---|
# | JPEG, PNG or 8-bit TIFF tiles | `folder:PATH` |
# | scenes with a map projection | `geotiff:PATH?tile=256` |
# | vectors of a model | `embeddings:FILE.npz` |
#
# In Colab, upload a folder in the panel on the left, or mount your Drive. An archive is only ever
# read.
#
# `BACKBONE` and `PRETRAINED` say what turns a tile into numbers before anything is learnt. For real
# pictures take a pretrained network: a good start decides more than anything later does. The example
# below is too plain to need one.
#
# | network | backbone | pretrained |
# |---|---|---|
# | ResNet18, of ImageNet | `resnet18` | `hf:timm/resnet18.tv_in1k`, with `pip install 'anneal-jax[hub]'` |
# | MobileNetV2 | `mobilenet_v2` | a file, see `docs/weights.md` |
# | none, bare pixels | `pixels` | `none` |

# %%
ARCHIVE = ""
BACKBONE, PRETRAINED = "pixels", "none"
ASK_A_PERSON = False  # True: answer yourself, also where the tiles have labels

# %% [markdown]
# ## The example
#
# A folder for each class, and in it a PNG for each tile. The folder's name is the class; tiles
# without any class can lie in one folder.

# %%
import numpy as np
from IPython.display import Image
from PIL import Image as PillowImage

from anneal_jax import ExperimentConfig, load_embedder, open_annotation, open_archive, run_experiment
from anneal_jax.annotation.web.scripted_client import answer_page
from anneal_jax.experiments.answered_workdir import train_on_answers
from anneal_jax.files.workdir import read_config
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.reporting.run_report import print_round, report_run

if not ARCHIVE:
    digits = open_archive("digits")
    for row in range(0, 1797, 3):
        folder = pathlib.Path("runs/own/tiles", f"class_{digits.labels[row]}")
        folder.mkdir(parents=True, exist_ok=True)
        tile = digits.load([row], image_size=32, resampling="nearest")[0]
        PillowImage.fromarray(tile).save(folder / f"{digits.ids[row]}.png")
    ARCHIVE = "folder:runs/own/tiles"

# %% [markdown]
# ## What was read
#
# Opening an archive checks every file once. A damaged one stops it with its name;
# `on_bad_image="skip"` leaves such files out and says how many.

# %%
archive = open_archive(ARCHIVE)
print(f"{len(archive.ids):,} tiles, classes: {', '.join(archive.class_names) or 'none'}")
if archive.notes:
    print(*archive.notes, sep="\n")

# %% [markdown]
# ## With labels: see what answers would give
#
# If the classes of your tiles are known, they can play the person: two tiles are alike where the
# class is the same. Queries are kept apart from the tiles that are asked about, and mAP@5 tells how
# well they find their class: 1 means that the five nearest tiles of every query are right. That is
# worth doing first, on an archive like yours.
#
# `belief_ask` is the way of asking that needs the fewest answers (`docs/label_efficiency.md`). It
# compares a tile with groups, and chooses each question with all answers before it.

# %%
if archive.labels is not None:
    config = ExperimentConfig(
        archive=ARCHIVE,
        backbone=BACKBONE,
        pretrained=PRETRAINED,
        supervision="belief_ask",
        initial_draw="random",
        initial_fraction=0.01,
        pairs_per_round=50,
        rounds=3,
        steps=300,
    )
    outcome = run_experiment(config, "runs/own/simulated", on_round=print_round)
    print(report_run(config, outcome, "runs/own/simulated"))

# %% [markdown]
# The curve is what answers buy. Where it is still rising, more of them pay; `config.rounds` can be
# raised, and the same cell goes on where it was.

# %%
Image("runs/own/simulated/curve.png", width=720) if archive.labels is not None else "no labels, no curve"

# %%
Image(
    "runs/own/simulated/gallery.png", width=800
) if archive.labels is not None else "no labels, no gallery"

# %% [markdown]
# ## Without labels: answer yourself
#
# The page needs nothing but tiles. Say in a sentence what *similar* means to you; a sentence like
# "the same land use" keeps your answers alike on a long day.

# %%
page = open_annotation(
    ARCHIVE,
    "runs/own/asked",
    backbone=BACKBONE,
    pretrained=PRETRAINED,
    sentence="Would you want both in one list of results?",
)

# %%
if ASK_A_PERSON or archive.labels is None:
    input("Answer at least 20 pairs in the page above, then press Enter here. ")
else:
    answer_page(page.url, ClassOracle(archive.labels), num_answers=40)
page.close()
print(train_on_answers(read_config("runs/own/asked"), "runs/own/asked"))

# %% [markdown]
# ## Vectors in place of pictures
#
# Any model can give the features: write its vectors into an `.npz` file, one row for each tile. `ids`
# and `labels` may be left out. Here the vectors are bare pixels again, where yours would be those of
# a foundation model.

# %%
tiles = archive.load(range(len(archive.ids)), image_size=8)
vectors = tiles.reshape(len(tiles), -1).astype(np.float32)
columns = {} if archive.labels is None else {"labels": np.array(archive.class_names)[archive.labels]}
np.savez("runs/own/vectors.npz", embeddings=vectors, ids=np.array(archive.ids), **columns)
print(f"{len(open_archive('embeddings:runs/own/vectors.npz').ids):,} vectors")

# %% [markdown]
# From here on all goes as with pictures:
# `ExperimentConfig(archive="embeddings:runs/own/vectors.npz")`. Vectors cannot be looked at, so the
# page wants both: `open_annotation("folder:PATH", WORKDIR, features="vectors.npz")`.
#
# ## Use the model
#
# `embed` takes tiles in memory, of any size; `embed_archive` takes rows of an archive, and holds a
# few tiles at a time.

# %%
embedder = load_embedder("runs/own/asked")
embeddings = embedder.embed_archive(archive, np.arange(len(archive.ids)))
print(
    f"embeddings: {embeddings.dtype}{list(embeddings.shape)}, by the model of round {embedder.round_index}"
)

# %% [markdown]
# `4_restore_and_search` writes them into an index and searches it.
