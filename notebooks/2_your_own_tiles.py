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
# This notebook begins with a folder of images, or a file of vectors from any model, and ends with a model
# that searches them. If you name no folder, it makes a small one with tiles of the Earth, so that you
# can first watch every step.

# %% [markdown]
# ## Install
#
# If the package is installed already, this cell does nothing. Otherwise, as in Colab, it installs the
# package from `SOURCE`. It leaves the installed JAX and NumPy as they are, because they fit the
# machine's accelerator. If they are too old for the package, `pip` says so and changes nothing; then
# choose a newer runtime.

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
    package = f"anneal-jax[demo,serve] @ {SOURCE or pathlib.Path('..').resolve().as_uri()}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", "held.txt", package], check=True)

# %% [markdown]
# ## Name your tiles
#
# `ARCHIVE` names them:
#
# | you have | you write |
# |---|---|
# | JPEG, PNG or 8-bit TIFF tiles | `folder:PATH` |
# | scenes with a map projection | `geotiff:PATH?tile=256` |
# | vectors of a model | `embeddings:FILE.npz` |
#
# In Colab, upload a folder in the panel on the left, or mount your Drive. Nothing is written into an
# archive.
#
# `BACKBONE` and `PRETRAINED` name the network that turns a tile into features before anything is learnt. A
# good network matters more than all later choices (`docs/weights.md`).
#
# | network | backbone | pretrained |
# |---|---|---|
# | EfficientNet-Lite0, part of the install | `auto` | `auto` |
# | DINOv2, downloaded (extra `hub`) | `vit_s14` | `hf:timm/vit_small_patch14_dinov2.lvd142m` |
# | none, only pixels | `pixels` | `none` |

# %%
ARCHIVE = ""
BACKBONE, PRETRAINED = "auto", "auto"
ASK_A_PERSON = False  # True: answer yourself, even if the tiles have labels

# %% [markdown]
# ## The example
#
# The example has one folder for each climate, with a PNG file for each tile. The name of the folder is the
# class. Tiles without classes may all be in one folder.

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
    earth = open_archive("bluemarble")
    for row in range(0, len(earth.ids), 4):
        folder = pathlib.Path("runs/own/tiles", earth.class_names[earth.labels[row]])
        folder.mkdir(parents=True, exist_ok=True)
        tile = earth.load([row], image_size=45)[0]
        PillowImage.fromarray(tile).save(folder / f"{earth.ids[row]}.png")
    ARCHIVE = "folder:runs/own/tiles"

# %% [markdown]
# ## What was read
#
# Opening an archive checks every file once. It stops at a damaged file and names it; with
# `on_bad_image="skip"` it leaves such files out and says how many.

# %%
archive = open_archive(ARCHIVE)
print(f"{len(archive.ids):,} tiles, classes: {', '.join(archive.class_names) or 'none'}")
if archive.notes:
    print(*archive.notes, sep="\n")

# %% [markdown]
# ## With labels: see how much answers would help
#
# If the classes of your tiles are known, they can replace the person: two tiles are alike if they share
# a class. No question is about the queries, and mAP@5 measures how well they find their class: 1 means that
# the five nearest tiles of every query are right. Try this first, on an archive like yours.
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
# The curve shows how much answers improve search. If it still rises, more answers will help: raise
# `config.rounds`, and the same cell continues.

# %%
Image("runs/own/simulated/curve.png", width=720) if archive.labels is not None else "no labels, no curve"

# %%
Image(
    "runs/own/simulated/gallery.png", width=800
) if archive.labels is not None else "no labels, no gallery"

# %% [markdown]
# ## Without labels: answer yourself
#
# The page needs nothing but tiles. Write in one sentence what *similar* means to you. A sentence like
# "the same land use" keeps your answers consistent on a long day.

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
# ## Vectors instead of images
#
# The features can come from any model: write its vectors into an `.npz` file, one row for each tile. `ids`
# and `labels` may be left out. Here the vectors are only pixels; yours would come from a foundation
# model.

# %%
tiles = archive.load(range(len(archive.ids)), image_size=8)
vectors = tiles.reshape(len(tiles), -1).astype(np.float32)
columns = {} if archive.labels is None else {"labels": np.array(archive.class_names)[archive.labels]}
np.savez("runs/own/vectors.npz", embeddings=vectors, ids=np.array(archive.ids), **columns)
print(f"{len(open_archive('embeddings:runs/own/vectors.npz').ids):,} vectors")

# %% [markdown]
# Everything else works as with images:
# `ExperimentConfig(archive="embeddings:runs/own/vectors.npz")`. A person cannot judge vectors, so the page
# needs the tiles too: `open_annotation("folder:PATH", WORKDIR, features="vectors.npz")`.
#
# ## Use the model
#
# `embed` takes tiles in memory, of any size. `embed_archive` takes rows of an archive, here every tenth,
# and reads a few tiles at a time.

# %%
embedder = load_embedder("runs/own/asked")
embeddings = embedder.embed_archive(archive, np.arange(0, len(archive.ids), 10))
print(
    f"embeddings: {embeddings.dtype}{list(embeddings.shape)}, by the model of round {embedder.round_index}"
)

# %% [markdown]
# `4_restore_and_search` writes those of all tiles into an index and searches it.
