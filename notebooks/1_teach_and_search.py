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
# You look at a few tiles and answer questions of one kind: *are these alike?* From a few hundred answers a
# model learns what you mean by alike. Then it finds the tiles that are like any tile you show it. Nobody
# has to name classes.
#
# This notebook takes a few minutes. It uses 1,235 tiles of the Earth seen from space: NASA's Blue Marble,
# cut into squares of 3 by 3 degrees (`docs/archives.md`). `2_your_own_tiles` does the same with yours.

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
# ## Who answers
#
# With `ASK_A_PERSON = False` a simulated person answers, so the notebook runs by itself. This person knows
# the climate of each place and calls two tiles alike if it is the same. Set it to `True` to answer
# yourself. `WORKDIR` keeps all answers and models: if you run the notebook again, it continues with them.

# %%
ASK_A_PERSON = False
NUM_ANSWERS = 300
WORKDIR = "runs/teach"

# %% [markdown]
# ## Open the page
#
# The next cell opens the page. First a network that was trained on a million photographs describes each
# tile by 1,280 numbers, its features. This takes half a minute.
#
# On *Teach* press **S** for *similar*, **D** for *different*, **U** for *unsure*, and **Z** to undo. A tick
# means that an answer is on disk. Which questions are asked matters more than how many: a model
# learns in the background while you answer, and the page asks what teaches it most. Each training takes 200
# steps here, a third of the default.

# %%
from anneal_jax import open_annotation
from anneal_jax.annotation.web.scripted_client import answer_page
from anneal_jax.annotation.workdir_index import open_searched
from anneal_jax.evaluation.metrics import rank_archive
from anneal_jax.experiments.answered_workdir import train_on_answers
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.files.workdir import read_config
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.reporting.gallery import plot_gallery
from anneal_jax.reporting.result_map import plot_result_map
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import centred

page = open_annotation("bluemarble", WORKDIR, sentence="Does the land look alike?", steps=200)

# %% [markdown]
# ## Before: search by features
#
# Without answers, tiles can only be compared by their features. Two tiles are similar if their features
# point the same way, so that the cosine between them is large. The mean is subtracted first, because what
# all tiles share does not distinguish them.

# %%
import numpy as np
from IPython.display import Image

config = read_config(WORKDIR)
dataset = load_dataset(config)
archive, labels = dataset.archive, dataset.labels  # labels only mark what is right; search needs none
everything = np.arange(len(archive.ids))
learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
features = centred(learner.features(None), everything)  # float32[1235, 1280]
by_features = rank_archive(features, features, 40, query_ids=everything, archive_ids=everything)
is_right = labels[by_features] == labels[:, None]
print(f"by features, {is_right.mean():.1%} of the forty nearest tiles have the same climate")

# %% [markdown]
# Every climate has at least 49 tiles, so a search could find forty right ones. The picture shows six
# queries, one from every 200 tiles, and the 1st, 10th, 20th, 30th and 40th of their nearest tiles. A
# green frame with a tick means the same climate, a red frame with a cross another one.

# %%
shown = everything[100::200]
ranks = [0, 9, 19, 29, 39]
tiles = archive.load(everything, image_size=45)  # uint8[1235, 45, 45, 3]
names = [f"{archive.ids[row]}, {archive.class_names[labels[row]]}" for row in shown]
found = by_features[shown][:, ranks]
plot_gallery(tiles[shown], tiles[found], is_right[shown][:, ranks], names, "runs/before.png")
Image("runs/before.png", width=800)

# %% [markdown]
# ## Answer
#
# The next cell waits for you. If a simulated person answers, it sends the page the same requests as your
# browser would.

# %%
if ASK_A_PERSON:
    input(f"Answer about {NUM_ANSWERS} pairs in the page above, then press Enter here. ")
else:
    answer_page(page.url, ClassOracle(labels), NUM_ANSWERS)
page.close()

# %% [markdown]
# ## Train
#
# Answers about a few tiles also help with the others: a tile that looks like two deserts is probably a
# desert. The model is a small network that turns features into embeddings, in which similar tiles are
# close together.

# %%
print(train_on_answers(read_config(WORKDIR), WORKDIR))

# %% [markdown]
# ## After: search by what you taught
#
# A workdir opens as an index. The new model maps the features, which are on disk, to embeddings, so no tile
# is encoded again. For tiles of other archives, `load_embedder(WORKDIR)` restores the same model. The
# queries are the same as before.

# %%
index = open_searched(WORKDIR).index
embeddings = index.take("vectors", everything)  # float32[1235, D], of unit length
by_model = rank_archive(embeddings, embeddings, 40, query_ids=everything, archive_ids=everything)
is_right = labels[by_model] == labels[:, None]
print(f"after the answers, {is_right.mean():.1%} of the forty nearest tiles have the same climate")
found = by_model[shown][:, ranks]
plot_gallery(tiles[shown], tiles[found], is_right[shown][:, ranks], names, "runs/after.png")
Image("runs/after.png", width=800)

# %% [markdown]
# ## On the map
#
# Every tile has coordinates, so you can see the results on a map: here the forty nearest tiles of one of
# the queries. Choose another query and run the cell again.

# %%
query = shown[0]
title = f"{names[0]}, and its 40 nearest tiles"
plot_result_map(archive.boxes, query, by_model[query], is_right[query], "runs/map.png", title=title)
Image("runs/map.png", width=800)

# %% [markdown]
# The shares above count every tile as a query, including those that were asked about. A fair measurement
# holds queries out of the training: `3_the_papers_curves` does that.
#
# ## Next
#
# - `2_your_own_tiles`: a folder of yours, or the vectors of any model.
# - `3_the_papers_curves`: how much each answer improves search, and which way of asking improves it most.
# - `4_restore_and_search`: an index on disk, for archives of any size.
