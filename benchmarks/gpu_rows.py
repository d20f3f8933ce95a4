"""Collects the figures of `benchmarks/gpu.sh` in one file, and prints them as rows of docs/lab/results.md.

  python benchmarks/gpu_rows.py --json=gpu.json    # print the rows of a file that gpu.sh wrote

If a step failed, a row reports it, after the rows that it had measured.
"""

import argparse
import json
import pathlib

from anneal_jax.files import atomic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, required=True, help="file of all steps")
    parser.add_argument("--add", help="name of a step to add to it")
    parser.add_argument("--steps", type=pathlib.Path, help="folder where a step leaves its own file")
    parser.add_argument("--command", default="", help="that the step ran")
    parser.add_argument("--seconds", type=int, default=0, help="that it took")
    parser.add_argument("--status", type=int, default=0, help="that it ended with; 124: over its limit")
    options = parser.parse_args()
    steps = json.loads(options.json.read_text()) if options.json.exists() else {}
    if not options.add:
        print(markdown(steps))
        return
    steps[options.add] = {
        "command": options.command,
        "seconds": options.seconds,
        "status": options.status,
        "figures": figures_of(options.steps / f"{options.add}.json"),
    }
    atomic.write_text(options.json, json.dumps(steps, indent=1))


def figures_of(file):
    """Return the output of a step, a list of rows or a dictionary with rows; None if there is none."""
    return json.loads(file.read_text()) if file.exists() else None


def markdown(steps):
    """Return the tables of all steps, one after another."""
    parts = []
    for name, step in steps.items():
        parts.append(f"`{step['command']}` ({step['seconds']} s)")
        rows = TABLES[name](step["figures"]) if step["figures"] else []
        if step["status"]:
            reason = "over its limit" if step["status"] in (124, 137) else f"status {step['status']}"
            nothing = "" if rows else "; it wrote nothing"
            rows.append(f"This step did not end well: {reason}{nothing}.")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def scan_rows(rows):
    """Return the table of whole scans, from the rows of allpairs.py."""
    table = header("whole scan", "images", "seconds", "pairs/s", "share of the products' rate", "certified")
    for row in rows:
        name = row["way"].replace("_xla", ", by XLA").upper().replace(", BY", ", by")
        if "note" in row:
            table.append(line(name, f"{row['num_images']:,}", row["note"], "", "", ""))
            continue
        figures = f"{row['seconds']:.2f}", f"{row['pairs_per_s']:.1e}", f"{row['product_share']:.0%}"
        table.append(line(name, f"{row['num_images']:,}", *figures, yes(row["is_certified"])))
    return table


def kernel_rows(rows):
    """Return the table of kernels alone and a sentence on what they list, from the rows of fused.py."""
    products = {row["precision"]: row["tflops"] for row in rows if row["row"] == "product"}
    device = rows[0]
    table = header(f"kernel alone, {device['device']}, JAX {device['jax']}", "rate", "alternatives")
    precisions = {3: "bfloat16_3x", 1: "bfloat16"}
    for row in rows:
        if row["row"] == "mgue" and row["is_used"]:
            passes, product = row["passes"], products[precisions[row["passes"]]]
            rate = f"{row['tflops']:.0f} TFLOP/s; XLA's plain product {product:.0f}"
            table.append(
                line(
                    f"MGUE, passes: {passes}", rate, f"a million images in {row['million_images_s']:.2f} s"
                )
            )
        elif row["row"] == "bcgue" and row["is_used"]:
            by_xla = [each["pairs_per_s"] for each in rows if each["row"] == "bcgue" and not each["shape"]]
            rate = f"{row['pairs_per_s']:.1e} pairs/s"
            table.append(line("BCGUE, `bfloat16`", rate, f"layers by XLA {by_xla[0]:.1e}"))
    table.append("")
    table += [
        f"Passes: {row['passes']}. {row['listed']:,} pairs listed, {row['different']:,} different, "
        f"{row['by_float32']:,} by float32; largest difference {row['largest_difference']:.1e}."
        for row in rows
        if row["row"] == "check"
    ]
    return table


def cluster_rows(figures):
    """Return the table of clustering, from what kmeans.py wrote."""
    table = header(
        "clusters of " + figures["size"], "seconds", "sum of squares", "clusters that hold a point"
    )
    for row in figures["rows"]:
        table.append(
            line(row["way"], f"{row['seconds']:.2f}", f"{row['inertia']:.2f}", f"{row['clusters']:,}")
        )
    return table


def training_rows(figures):
    """Return the table of training, from what training.py wrote."""
    table = header(
        f"`finetune`, {figures['image_size']} px, {figures['device']}, JAX {figures['jax']}",
        "tiles/s",
        "encoded/s",
        "share of the products' rate",
    )
    for row in figures["rows"]:
        numbers = f"{row['tiles_per_s']:,.0f}", f"{row['encoded_per_s']:,.0f}", f"{row['matrix_share']:.0%}"
        table.append(line(row["way"], *numbers))
    return table


def header(*names):
    """Return the two lines that begin a table."""
    return [line(*names), "|---" * len(names) + "|"]


def line(*cells):
    """Return a row."""
    return "| " + " | ".join(cells) + " |"


def yes(value):
    """Return the cell of a yes or no."""
    return "yes" if value else "no"


TABLES = {
    "mgue": scan_rows,
    "bcgue": scan_rows,
    "fused": kernel_rows,
    "kmeans": cluster_rows,
    "finetune": training_rows,
}

if __name__ == "__main__":
    main()
