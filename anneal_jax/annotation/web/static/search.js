// The search page: search by a tile or a file, see the most similar tiles, and mark any of them.
import { answerOf, attempt, element, get, inWords, post, randomKey, remembered, tileUrl } from "./common.js";
import { MARKS, openExport } from "./export.js";
import { enlarge, enlargeOnLongPress } from "./enlarge.js";
import { fit, focusAt, rove } from "./grid.js";
import { noteContradictions } from "./contradictions.js";

const $ = (id) => document.getElementById(id);
const TAB = randomKey();
const MANY = 200; // results fetched first; paging beyond them fetches all
const MAX_RESULTS = 1000;
const TILE = ".tile";

// The query is in the address, `#tile=7` or `#dropped=KEY`, so that the browser's back and forward buttons work.
const state = {
  query: null, first: 0, count: MANY, refined: 0, least: 0, shown: null, perPage: 0, offset: 0, wallCount: 0, pending: new Set(),
  left: null, fileName: null, fileHash: "",
};
const isPhone = () => window.innerWidth < 736;
const number = (value) => value.toLocaleString("en-GB");

// The wall.

const offer = attempt(async ({ focus = null } = {}) => {
  $("offered").replaceChildren();
  state.wallCount = fit($("offered"), { side: isPhone() ? 125 : 146, below: 0 }).count - 1;
  const query = new URLSearchParams({ text: $("text").value.trim(), offset: state.offset, count: state.wallCount });
  const asked = String(query);
  offer.last = asked;
  const { tiles, num_tiles } = await get(`search/tiles?${query}`);
  if (offer.last !== asked) return; // the text has changed since
  $("offered").replaceChildren(chooser(), ...tiles.map(({ tile, name }, place) => element("button", {
    className: "tile", title: name, onclick: () => {
      state.left = place;
      go({ tile });
    },
  }, element("img", { src: tileUrl(tile), alt: name }))));
  const last = state.offset + tiles.length;
  $("range").textContent = num_tiles ? `${number(state.offset + 1)}–${number(last)} of ${number(num_tiles)}` : "No name contains this text";
  $("before").disabled = state.offset === 0;
  $("after").disabled = last >= num_tiles;
  focusAt($("offered"), TILE, focus ?? 0, { quietly: focus === null });
});

function chooser() {
  return element("button", { id: "choose", className: "choose", onclick: () => $("file").click() },
    element("b", { textContent: "Drop an image here" }), "or choose a file. It is not stored.");
}

function turnWall(step, focus = null) {
  if ($(step < 0 ? "before" : "after").disabled) return;
  state.offset = Math.max(0, state.offset + step * state.wallCount);
  offer({ focus });
}

async function listFiles() {
  const { files } = await get("search/files");
  $("files").hidden = !files.length;
  $("filesCount").textContent = `Marked files (${files.length})`;
  $("filesList").replaceChildren(...files.map(({ file, num_answers }) => element("li", {}, element("button", {
    className: "quiet", textContent: `File ${file}: ${num_answers} mark${num_answers === 1 ? "" : "s"}`,
    onclick: () => go({ file }),
  }))));
}

// The query.

function go(query) {
  window.location.hash = new URLSearchParams(query);
}

const follow = attempt(async () => {
  const query = new URLSearchParams(window.location.hash.slice(1));
  const [kind] = ["tile", "dropped", "file"].filter((name) => query.has(name));
  state.query = kind ? { [kind]: query.get(kind) } : null;
  if (window.location.hash !== state.fileHash) state.fileName = null;
  Object.assign(state, { shown: null, first: 0, count: MANY, refined: 0, least: 0 });
  $("least").value = 0;
  $("wall").hidden = Boolean(kind);
  $("found").hidden = !kind;
  if (!kind) {
    document.querySelector('.bar a[href^="map"]').href = "map";
    document.title = document.title.replace(/^.*Search/, "Search");
    await offer({ focus: state.left }); // after a search, return to the same place
    await listFiles();
    return;
  }
  $("results").replaceChildren();
  $("heading").textContent = $("undone").textContent = "";
  for (const link of [$("onMap"), document.querySelector('.bar a[href^="map"]')]) link.href = `map?${query}`;
  $("query").hidden = kind === "file";
  $("query").src = { tile: tileUrl(query.get("tile")), dropped: `search/dropped/${query.get("dropped")}.jpg` }[kind] ?? "";
  window.scrollTo(0, 0);
  await search();
  focusAt($("results"), TILE, 0);
});

const byFile = attempt(async (file) => {
  if (!file) return;
  const before = $("range").textContent;
  $("range").textContent = `reading ${file.name} …`;
  try {
    const taken = await answerOf(await fetch("search/drop", {
      method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
    }));
    const query = new URLSearchParams(taken.tile === null ? { dropped: taken.dropped } : { tile: taken.tile });
    const isShown = window.location.hash === `#${query}`;
    Object.assign(state, { fileName: file.name, fileHash: `#${query}` }); // the name stays on this page and is not sent to the server
    window.location.hash = query;
    if (isShown) await follow();
  } finally {
    $("range").textContent = before;
  }
});

// The results.

async function search() {
  const { count, refined, least } = state;
  const query = new URLSearchParams({ count, refined, least, ...state.query });
  const asked = String(query);
  search.last = asked;
  const found = await get(`search/results?${query}`);
  if (search.last !== asked) return;
  state.shown = found;
  show();
}

function show() {
  const { results, answers, num_results } = state.shown;
  const { count } = fit($("results"), { side: isPhone() ? 125 : 160, below: isPhone() ? 44 : 36 });
  state.first = Math.min(state.first, Math.max(0, results.length - 1));
  const shown = results.slice(state.first, state.first + count);
  state.perPage = count;
  $("newer").hidden = true;
  $("sentence").textContent = state.shown.sentence; // the question that marks of these results answer
  const name = state.shown.name ?? state.fileName ?? (state.query.file ? `File ${state.query.file}` : "Your file");
  $("heading").textContent = name;
  $("query").alt = `Query: ${name}`;
  document.title = document.title.replace(/^.*Search/, () => `${name} · Search`);
  $("asked").textContent = aboutFile();
  $("results").replaceChildren(...shown.map((row, place) => figure(row, state.first + place)));
  $("results").start = state.first + 1;
  const last = state.first + shown.length;
  $("place").textContent = shown.length ? `${number(state.first + 1)}–${number(last)} of ${number(num_results)}` : "None";
  $("earlier").disabled = state.first === 0;
  $("later").disabled = last >= Math.min(num_results, MAX_RESULTS);
  $("calibrated").textContent = calibrated(state.shown.calibration);
  $("none").hidden = answers.length > 0;
  $("answers").replaceChildren(...answers.map(pair));
  $("onMap").hidden = !state.shown.has_places;
  tellMarks();
  tellLeast();
  tellModel(state.shown.model);
}

function aboutFile() {
  if (state.shown.name !== null) return state.fileName ? `${state.fileName} is the same as this tile of the archive.` : "";
  if (state.query.file) return "The picture of this file is not stored. Drop the file again to see it.";
  return "Marks for this file are stored with its digest and feature, but not its name. They reappear if you drop it again.";
}

const turn = attempt(async (step, focus = 0) => {
  if ($(step < 0 ? "earlier" : "later").disabled) return;
  state.first = Math.max(0, state.first + step * state.perPage);
  if (state.first + state.perPage > state.count) {
    state.count = MAX_RESULTS;
    await search();
  } else show();
  focusAt($("results"), TILE, focus);
});

function figure(found, place) {
  const { known } = markOf(found);
  const name = `${place + 1}. ${found.name}${known ? `, ${MARKS[known]}` : ""}`;
  const tile = element("button", {
    className: "tile", title: found.name, onclick: () => go({ tile: found.tile }),
  }, element("img", { src: tileUrl(found.tile), alt: name }),
  element("span", { className: "said", textContent: likeness(found) }));
  tile.setAttribute("aria-keyshortcuts", "R W + Space Enter");
  return element("li", { className: markOf(found).known || "" }, tile,
    element("div", { className: "marks" }, ...markButtons(found)));
}

function likeness(found) {
  return found.probability === null ? `cosine ${found.similarity.toFixed(2)}` : `${Math.round(100 * found.probability)}% likely`;
}

function calibrated({ is_known, num_audits, fewest, fewest_of_each }) {
  if (is_known) {
    return `“Likely” is the probability that a person calls the two similar, estimated from ${num_audits} audit questions. `
      + "Each asked about a tile and one of its five nearest; further down the list this is an extrapolation.";
  }
  return `The probability that two tiles are similar can be estimated from ${fewest} audit questions, ${fewest_of_each} `
    + `of each answer (${num_audits} so far). Until then the cosine is shown. The Teach page asks audit questions now and then.`;
}

// Marks: each is an answer about the query and a result.

const UNMARKED = { known: null, answer_id: null };
const markOf = (found) => state.shown.marks.find(({ tile }) => tile === found.tile) ?? UNMARKED;

function markButtons(found) {
  const { known, answer_id } = markOf(found);
  if (known && answer_id === null) {
    return [element("span", { className: `word ${known}`, textContent: `${inVerdict(known)}, follows` })];
  }
  return [markButton(found, "similar", "✓", "Right", "right"), markButton(found, "dissimilar", "✗", "Wrong", "wrong")];
}

function markButton(found, answer, sign, word, className) {
  const made = element("button", { className, tabIndex: -1, onclick: () => mark(found, answer) },
    sign, element("span", { className: "wide", textContent: ` ${word}` }));
  made.setAttribute("aria-pressed", String(markOf(found).known === answer));
  made.setAttribute("aria-label", `${word}: ${found.name}`);
  return made;
}

function inVerdict(known) {
  return { similar: "✓ right", dissimilar: "✗ wrong", unsure: "unsure" }[known];
}

// Clicking a mark again removes it. A result accepts no other mark until the server has replied.
const mark = attempt(async (found, answer) => {
  const { known, answer_id } = markOf(found);
  if (state.pending.has(found.tile) || (known && answer_id === null)) return;
  state.pending.add(found.tile);
  try {
    if (!state.query.tile) await writeOfFile(found, known === answer ? "none" : answer);
    else if (known === answer) await write("retract", { answer_id });
    else if (known) await write("correct", { answer_id, answer });
    else await write("volunteer", { first: Number(state.query.tile), second: found.tile, answer });
  } finally {
    state.pending.delete(found.tile);
  }
});

const annotator = () => remembered("name") || "searcher";

async function writeOfFile(found, answer) {
  const said = { ...state.query, other: found.tile, answer, annotator: annotator(), key: randomKey() };
  await post("search/mark", { ...said, set_id: state.shown.set_id });
  await learnMarks();
}

async function write(path, body) {
  await post("session", { tab: TAB, annotator: annotator(), mode: "none" });
  const view = await post(path, { tab: TAB, key: randomKey(), set_id: state.shown.set_id, ...body });
  await learnMarks();
  tellState(view); // last: it may have to report a failure
  return view;
}

// What this person did last, here or on another page.
const undo = attempt(async () => {
  if (!state.shown) return;
  const { undone } = await write("undo", {});
  $("undone").textContent = undone ? `Taken back: ${inShort(undone)}.` : "Nothing of yours is left to take back.";
  if (undone?.sentence) await search();
});

function inShort({ sentence, num_answers: count = 1, names, answer }) {
  if (sentence) return "the change of sets";
  return count > 1 ? `${count} answers of one look` : `${names.join(" and ")}, ${inWords(answer)}`;
}

// A mark can settle more than one result. The list keeps its order: a newer model is only used on request.
async function learnMarks() {
  const query = new URLSearchParams(state.query);
  const among = state.shown.results.map(({ tile }) => tile);
  const { marks, num_right, num_wrong } = await get(`search/marks?${query}&among=${among}`);
  if (String(query) !== String(new URLSearchParams(state.query ?? {}))) return; // something else is searched by
  Object.assign(state.shown, { marks, num_right, num_wrong });
  $("undone").textContent = "";
  const place = placeOfFocus();
  show();
  if (place >= 0) focusAt($("results"), TILE, place);
}

const placeOf = (one) => [...$("results").children].indexOf(one.closest("#results li"));
const placeOfFocus = () => placeOf(document.activeElement);

function tellMarks() {
  const { num_right: right, num_wrong: wrong, is_refined: isRefined } = state.shown;
  $("marked").textContent = right + wrong ? `${right} right, ${wrong} wrong${isRefined ? "; results are re-ranked by them" : ""}` : "";
  $("refine").disabled = right + wrong === 0;
  $("plain").hidden = !isRefined;
}

// The marks re-rank the results immediately, right ones first and wrong ones last; nothing is trained.
const refine = attempt(async (refined) => {
  if (refined && $("refine").disabled) return;
  Object.assign(state, { refined, first: 0 });
  await search();
  focusAt($("results"), TILE, 0);
});

function tellLeast() {
  const { probability, lower, upper } = state.shown.least;
  const percent = (share) => Math.round(100 * share);
  const chance = probability === null ? "" : `, ${percent(probability)}% likely (${percent(lower)}–${percent(upper)})`;
  $("leastSaid").textContent = state.least ? `cosine ${(state.least / 100).toFixed(2)} or more${chance}` : "all, best first";
}

let moved = 0;
function moveLeast() {
  state.least = Number($("least").value);
  clearTimeout(moved);
  moved = setTimeout(attempt(async () => {
    state.first = 0;
    await search();
  }), 100);
}

function pair(said) {
  const [near, far] = said.nearer === said.first ? [0, 1] : [1, 0];
  const tiles = [said.first, said.second];
  return element("figure", {},
    ...[near, far].map((side) => element("img", {
      src: tileUrl(tiles[side]), alt: said.names[side], title: said.names[side], loading: "lazy",
    })),
    element("figcaption", {}, element("span", { className: `word ${said.answer}`, textContent: inWords(said.answer) }),
      element("small", { textContent: `${said.annotator}; cosine of the first tile ${said.similarity.toFixed(2)}` })));
}

function tellState(view) {
  noteContradictions(view);
  $("newer").hidden = !state.shown || view.model_answers === state.shown.model;
  if (view.training_failure) throw new Error(`${view.training_failure}. Answers are not affected.`);
}

function tellModel(answers) {
  $("facts").textContent = answers ? `Searched by a model trained on ${number(answers)} answers.`
    : "Searched by the network's features alone: no model was trained on answers yet.";
}

// Keys, pointers and files.

rove($("offered"), TILE, (step) => turnWall(step, step < 0 ? Infinity : 0));
rove($("results"), TILE, (step) => turn(step, step < 0 ? Infinity : 0));

$("results").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const found = state.shown?.results[state.first + placeOfFocus()];
  const answer = { r: "similar", w: "dissimilar" }[event.key.toLowerCase()];
  if (answer && found) mark(found, answer);
  else if (event.key === "+" && found) enlarge(beside(found));
  else if (event.key === "Enter" && event.target.closest(TILE)) {
    event.preventDefault(); // a click would search by this tile, which is what Space does
    turn(event.shiftKey ? -1 : 1);
  } else if (event.key === "Backspace") turn(-1);
});
window.addEventListener("keydown", (event) => {
  if (!state.query || document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") toWall();
  else if (event.key.toLowerCase() === "f") refine(1);
  else if (event.key.toLowerCase() === "z") undo();
});
$("offered").addEventListener("keydown", (event) => {
  const image = event.target.querySelector("img");
  if (event.key === "+" && image) enlarge([pictureOf(image)]);
});

// A result with what it was found by, side by side.
const pictureOf = (image) => ({ src: image.src, name: image.alt });
function beside({ tile, name }) {
  const own = $("query").hidden ? [] : [{ src: $("query").src, name: $("heading").textContent }];
  return [...own, { src: tileUrl(tile), name }];
}
enlargeOnLongPress($("offered"), TILE, (tile) => [pictureOf(tile.querySelector("img"))]);
enlargeOnLongPress($("results"), TILE, (tile) => beside(state.shown.results[state.first + placeOf(tile)]));

function toWall() {
  go({});
}

$("file").onchange = () => {
  byFile($("file").files[0]);
  $("file").value = "";
};
for (const kind of ["dragover", "drop"]) {
  window.addEventListener(kind, (event) => event.preventDefault()); // a file dropped elsewhere would replace the page
}
window.addEventListener("dragover", () => document.body.classList.add("over"));
window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
window.addEventListener("drop", (event) => {
  document.body.classList.remove("over");
  byFile(event.dataTransfer.files[0]); // only files: a dropped address is ignored
});
window.addEventListener("paste", (event) => byFile(event.clipboardData.files[0]));
window.addEventListener("hashchange", () => follow());
let settled = 0;
window.addEventListener("resize", () => {
  clearTimeout(settled);
  settled = setTimeout(() => (state.query ? state.shown && show() : offer()), 150);
});
$("text").oninput = () => {
  state.offset = 0;
  offer();
};
$("before").onclick = () => turnWall(-1);
$("after").onclick = () => turnWall(1);
$("back").onclick = toWall;
$("earlier").onclick = () => turn(-1);
$("later").onclick = () => turn(1);
$("refine").onclick = () => refine(1);
$("plain").onclick = () => refine(0);
$("undo").onclick = undo;
$("least").oninput = moveLeast;
$("again").onclick = attempt(search);
const exported = (found) => ({ ...found, mark: MARKS[markOf(found).known] });
$("export").onclick = attempt(() => openExport({
  tile: state.query.tile ? Number(state.query.tile) : null, name: $("heading").textContent,
  rows: state.shown.results.map(exported), most: Math.min(state.shown.num_results, MAX_RESULTS),
  more: async (count) => {
    const found = await get(`search/results?${new URLSearchParams({ count, ...state.query })}`);
    return found.results.map(exported);
  },
}));

setInterval(() => get("state").then(tellState).catch(() => {}), 5000); // the next click reports what is wrong
follow();
