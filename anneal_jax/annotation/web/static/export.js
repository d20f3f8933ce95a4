// Export of results. A page calls openExport({ tile, name, rows, more, most }): `tile` is the number of the query tile,
// if there is one, and `name` the name of a query file; `rows` are { tile, similarity, mark } with a mark of "right",
// "wrong", "unsure" or null, best first. If there are more results, `more(N)` returns the best N, and `most` is their
// number.
import { answerOf, element, get } from "./common.js";

export const MARKS = { similar: "right", dissimilar: "wrong", unsure: "unsure" };

const FORMATS = [
  ["results.zip", "Copies of the tiles", "A ZIP archive of the files, best first, with a table of them.", "has_files"],
  ["results.csv", "Table (CSV)", "Name, score, group, mark and, if known, place of each tile.", null],
  ["results.geojson", "Places (GeoJSON)", "Opens in QGIS and other maps.", "has_places"],
  ["results.parquet", "Places (GeoParquet)", "The same, for QGIS, GeoPandas and DuckDB.", "has_places"],
];

export async function openExport({ tile = null, name = "", rows, more = null, most = rows.length }) {
  const can = await get("export/formats");
  const marked = rows.filter((row) => row.mark);
  const which = { best: true, count: Math.min(rows.length, can.most) };
  const said = element("p", { className: "outcome" });
  said.setAttribute("role", "status");
  const count = element("input", { type: "number", min: 1, max: Math.min(most, can.most), value: which.count, id: "export-count" });
  const radios = [["best", `The best`, true], ["marked", `The ${marked.length} marked right, wrong or unsure`, false]]
    .map(([id, label, isBest]) => {
      const radio = element("input", { type: "radio", name: "export-which", id: `export-${id}`, checked: isBest,
        disabled: !isBest && !marked.length, onchange: () => { which.best = isBest; } });
      return element("p", {}, radio, element("label", { htmlFor: radio.id, textContent: label }), ...(isBest ? [count] : []));
    });
  count.setAttribute("aria-label", "How many of the best");
  count.oninput = () => {
    which.best = true;
    document.getElementById("export-best").checked = true;
  };
  const chosen = async () => {
    if (!which.best) return marked;
    const wanted = Math.max(1, Math.min(most, can.most, Math.round(Number(count.value)) || rows.length));
    return wanted > rows.length && more ? (await more(wanted)).slice(0, wanted) : rows.slice(0, wanted);
  };
  const dialog = element("dialog", { className: "export" },
    element("h1", { textContent: "Export" }),
    element("fieldset", {}, element("legend", { textContent: "Which tiles" }), ...radios),
    element("div", { className: "formats" }, ...FORMATS.map((format) => formatButton(format, can, async (file) => {
      said.textContent = "Fetching the tiles …";
      try {
        const taken = await chosen();
        await save(file, { tile: tile ?? -1, name, rows: taken });
        said.textContent = `Saved ${taken.length} ${taken.length === 1 ? "tile" : "tiles"} as ${file}.`;
      } catch (error) {
        said.textContent = `Nothing was saved: ${error.message}`;
      }
    }))),
    said,
    element("form", { method: "dialog" }, element("button", { className: "quiet", textContent: "Close" })));
  dialog.setAttribute("aria-label", "Export");
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function formatButton([file, label, hint, needs], can, save) {
  const why = missing(file, needs, can);
  return element("button", { className: "answer format", disabled: Boolean(why), onclick: () => save(file) },
    element("b", { textContent: label }), element("small", { textContent: why || hint }));
}

function missing(file, needs, can) {
  if (needs === "has_files" && !can.has_files) return "These vectors have no pictures.";
  if (needs === "has_places" && !can.has_places) return "The tiles of this archive have no places.";
  if (file.endsWith(".parquet") && !can.has_parquet) return "Needs the extra parquet: pip install 'anneal-jax[parquet]'";
  return "";
}

// The whole response is received before anything is saved, so that a broken download leaves no file.
async function save(file, body) {
  const rows = body.rows.map(({ tile, similarity = null, mark = null }) => ({ tile, similarity, mark }));
  const response = await fetch(`export/${file}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: JSON.stringify({ ...body, rows }),
  });
  if (!response.ok) await answerOf(response);
  const address = URL.createObjectURL(await whole(response));
  element("a", { href: address, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

async function whole(response) {
  try {
    return await response.blob();
  } catch {
    throw new Error("the download stopped early; is every file of the archive still there?");
  }
}
