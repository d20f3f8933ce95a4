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
# # Restore a checkpoint, and search
#
# A run writes a folder, its *workdir*. From it you can restore the model on any machine, turn tiles into
# embeddings, keep them in an index on disk, and search this index. It works with millions of tiles; here
# are 1,797, so that every step takes only a moment.

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
# ## Name a workdir
#
# Give the folder of a run, for instance of notebook 1 or 2, and the archive to search. If the folder has
# no run, the next cell makes a small one: digits, answered by a simulated person.

# %%
WORKDIR = "runs/model"
ARCHIVE = "digits"
INDEX = "runs/index"

# %%
import shutil

from IPython.display import Image
from PIL import Image as PillowImage

from anneal_jax import AnnealError, ExperimentConfig, load_embedder, open_archive, run_experiment
from anneal_jax.reporting.run_report import print_round
from anneal_jax.reporting.search_results import draw_results, results_json, results_table
from anneal_jax.retrieval.filters import allowed_tiles, parse_filter
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.queries import prepare_queries
from anneal_jax.retrieval.results import name_hits
from anneal_jax.retrieval.searchers import make_searcher

if not pathlib.Path(WORKDIR, "checkpoints").exists():
    config = ExperimentConfig(
        archive="digits",
        backbone="pixels",
        supervision="belief_ask",
        initial_draw="random",
        initial_fraction=0.005,
        pairs_per_round=100,
        rounds=1,
        steps=300,
    )
    run_experiment(config, WORKDIR, on_round=print_round)

# %% [markdown]
# ## Restore the model
#
# `load_embedder` takes the newest sound checkpoint. Each checkpoint carries the SHA-256 of its files, and
# a damaged one is skipped with a warning. The fingerprint covers everything that an embedding depends on:
# equal fingerprints mean equal embeddings.

# %%
embedder = load_embedder(WORKDIR)
print(f"the model of round {embedder.round_index}, {embedder.dim} numbers for each tile")
print(f"fingerprint {embedder.fingerprint[:16]}")

# %% [markdown]
# ## Write an index
#
# `append_tiles` encodes what the index does not have yet, shard by shard. After a crash, the same call
# continues after the last complete shard. It also adds new tiles later. So the second call here has
# nothing to do.

# %%
archive = open_archive(ARCHIVE)
card = embedder.model_card()
print(append_tiles(INDEX, archive, embedder.embed_archive, card))
print(append_tiles(INDEX, archive, embedder.embed_archive, card))

# %% [markdown]
# ## Search by tiles of the index
#
# Opening an index checks all its files. A query is the id of a tile, and is left out of its own results.
# Search is exact: it returns the tiles with the largest cosines and misses none.

# %%
index = open_index(INDEX)
search = make_searcher(index)
queries = prepare_queries(index, [archive.ids[row] for row in range(150, len(archive.ids), 300)])
hits = search(queries.embeddings, 5, masks=None, own_rows=queries.own_rows)
results = name_hits(index, queries.queries, hits)
print(results_table(results[:2]))

# %% [markdown]
# A frame is green if the class is that of the query. This index has classes, but search does not need them.
# Below each tile are its cosine and its class.

# %%
draw_results(index, results, "runs/found.png")
Image("runs/found.png", width=800)

# %% [markdown]
# ## Search by an image that the index does not have
#
# A query may be any image file. Here it is a tile turned by ten degrees. The model that made the index
# embeds it; another model is refused, because vectors of two models cannot be compared.

# %%
tile = PillowImage.fromarray(archive.load([150], image_size=8)[0])
tile.rotate(10).save("runs/unseen.png")
queries = prepare_queries(index, ["file:runs/unseen.png"])
hits = search(queries.embeddings, 5, masks=None, own_rows=queries.own_rows)
results = name_hits(index, queries.queries, hits)
draw_results(index, results, "runs/found_by_file.png")
Image("runs/found_by_file.png", width=800)

# %% [markdown]
# ## Narrow a search
#
# You can filter by class, place and date, if the index has them; `launch/embed.py --metadata=FILE.csv` adds
# them. Programs can read the results as JSON.

# %%
wanted = parse_filter(["3", "8"], None, None, None)
masks = allowed_tiles(index, wanted)
hits = search(queries.embeddings, 3, masks=masks, own_rows=queries.own_rows)
print(results_json(index, name_hits(index, queries.queries, hits)))

# %% [markdown]
# ## Damage is noticed
#
# Disks lose bits. Here one bit of a copy of the index is changed, and the copy no longer opens: a wrong
# result would be worse than none.

# %%
shutil.copytree(INDEX, "runs/damaged", dirs_exist_ok=True)
vectors = next(pathlib.Path("runs/damaged").glob("*vectors*"))
content = bytearray(vectors.read_bytes())
content[-1] ^= 1
vectors.write_bytes(content)
try:
    open_index("runs/damaged")
except AnnealError as error:
    print(error)

# %% [markdown]
# ## From the command line
#
# ```
# python launch/embed.py --checkpoint=runs/model --archive=digits --index=runs/index
# python launch/search.py --index=runs/index --query=digits0150 --k=5 --picture=found.png
# ```
#
# `docs/search.md` describes more: filters, several machines, and approximate search for archives that do
# not fit in memory.
