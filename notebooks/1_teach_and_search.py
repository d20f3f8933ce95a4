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
# # Teach an archive, and search it
#
# You look at two tiles and answer one question: *are these two alike?* From about a hundred answers a
# model learns what you mean by alike. Then it finds the tiles that are like any you show it. Nobody
# has to name classes.
#
# This notebook does it in five minutes with 1,797 small tiles that come with scikit-learn:
# handwritten digits, 8 x 8 pixels. Nothing else is downloaded. `2_your_own_tiles` does the same with
# yours.

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
# ## Who answers
#
# `ASK_A_PERSON = False` has a simulated person answer, who knows the digits, so that the notebook
# runs by itself. Set it to `True` to answer yourself. All answers and models lie in `WORKDIR`: run
# the notebook again, and it goes on from them.

# %%
ASK_A_PERSON = False
NUM_ANSWERS = 100
WORKDIR = "runs/teach"

# %% [markdown]
# ## Before: search by pixels
#
# Without any answer two tiles can only be compared by what is in them. Here that is their pixels; for
# photographs it would be the features of a pretrained network. Each tile becomes a vector, and
# similar tiles are those whose vectors point the same way: the cosine between them is large. The mean
# is taken away first, since what all tiles share tells none of them apart.

# %%
import numpy as np
from IPython.display import Image

from anneal_jax import load_embedder, open_annotation, open_archive
from anneal_jax.annotation.web.scripted_client import answer_page
from anneal_jax.evaluation.metrics import rank_archive
from anneal_jax.experiments.answered_workdir import train_on_answers
from anneal_jax.files.workdir import read_config
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.reporting.gallery import plot_gallery

archive = open_archive("digits")
everything = np.arange(len(archive.ids))
labels = archive.labels  # used to mark what is right, and by the simulated person; search needs none
tiles = archive.load(everything, image_size=8)  # uint8[1797, 8, 8, 3]
pixels = tiles.reshape(len(tiles), -1).astype(np.float64)
pixels -= pixels.mean(axis=0)
by_pixels = rank_archive(pixels, pixels, 100, query_ids=everything, archive_ids=everything)
is_right = labels[by_pixels] == labels[:, None]
print(f"by pixels, {is_right.mean():.1%} of the hundred nearest tiles show the same digit")

# %% [markdown]
# About 180 tiles show each digit, so a hundred right ones are there to be found. The picture shows
# six queries, one from every 300 tiles, and of their hundred nearest the 1st, 25th, 50th, 75th and
# 100th. So nobody can choose the flattering ones. A green frame with a tick is the same digit, a red
# one with a cross is not.

# %%
shown = everything[150::300]
ranks = [0, 24, 49, 74, 99]
found = by_pixels[shown][:, ranks]
names = [archive.ids[row] for row in shown]
pathlib.Path("runs").mkdir(exist_ok=True)
plot_gallery(tiles[shown], tiles[found], is_right[shown][:, ranks], names, "runs/before.png")
Image("runs/before.png", width=800)

# %% [markdown]
# ## Answer
#
# The next cell opens the page that asks. Press **S** for *similar*, **D** for *different*, **U** for
# *unsure*, and **Z** to take an answer back. Every answer with a tick is on disk at once.
#
# Which pairs are asked matters more than how many. The page begins from what the tiles look like; a
# model learns in the background while you answer, and the page asks what teaches it the most.

# %%
page = open_annotation("digits", WORKDIR, backbone="pixels", sentence="Is it the same digit?")

# %% [markdown]
# The next cell waits for you, or has the simulated person answer that page, by the same requests that
# your browser would send.

# %%
if ASK_A_PERSON:
    input(f"Answer about {NUM_ANSWERS} pairs in the page above, then press Enter here. ")
else:
    answer_page(page.url, ClassOracle(labels), NUM_ANSWERS)
page.close()

# %% [markdown]
# ## Train
#
# Two answers often tell a third: if *a* is like *b*, and *b* is not like *c*, then *a* is not like
# *c*. So a hundred answers give many more pairs to learn from. The model is a small network that
# turns features into embeddings, in which similar tiles lie close together.

# %%
print(train_on_answers(read_config(WORKDIR), WORKDIR))

# %% [markdown]
# ## After: search by what you taught
#
# `load_embedder` restores the model. Its embeddings are searched as the pixels were, and the queries
# are the same.

# %%
embedder = load_embedder(WORKDIR)
embeddings = embedder.embed_archive(archive, everything)  # float32[1797, D], of unit length
by_model = rank_archive(embeddings, embeddings, 100, query_ids=everything, archive_ids=everything)
is_right = labels[by_model] == labels[:, None]
print(f"after the answers, {is_right.mean():.1%} of the hundred nearest tiles show the same digit")
found = by_model[shown][:, ranks]
plot_gallery(tiles[shown], tiles[found], is_right[shown][:, ranks], names, "runs/after.png")
Image("runs/after.png", width=800)

# %% [markdown]
# These shares count every tile as a query, those that were asked about too. A fair measurement keeps
# the queries apart from what is learnt: `3_the_papers_curves` does that.
#
# ## Next
#
# - `2_your_own_tiles`: a folder of yours, or the vectors of any model.
# - `3_the_papers_curves`: how much quality each answer buys, and which way of asking buys most.
# - `4_restore_and_search`: an index on disk, for archives of any size.
