// The search page: a file or a tile in, the most similar tiles out, and a word about any of them goes back.
import { answerOf, attempt, element, get, inWords, post, randomKey, remembered, tileUrl } from "./common.js";
import { noteContradictions } from "./contradictions.js";

const $ = (id) => document.getElementById(id);
const TAB = randomKey();
const STEP = 24;
const MAX_RESULTS = 1000;

// The query is a tile of the archive, or a file that the server holds under a key. A file is no side of an
// answer; the first result that is called right stands for it from then on: that is its anchor.
const state = { tile: null, dropped: null, anchor: null, name: "", count: STEP, shown: null, turn: 0 };

// What is searched by.

const offer = attempt(async () => {
  const query = new URLSearchParams({ text: $("text").value.trim(), turn: state.turn });
  const asked = String(query);
  offer.last = asked;
  const { tiles } = await get(`search/tiles?${query}`);
  if (offer.last !== asked) return; // a later letter was typed meanwhile
  $("offered").replaceChildren(...tiles.map(({ tile, name }) => element("button", {
    title: name, onclick: () => byTile(tile, name),
  }, element("img", { src: tileUrl(tile), alt: name, loading: "lazy" }))));
  if (!tiles.length) $("offered").append(element("p", { className: "hint", textContent: "No name holds this text." }));
});

function byTile(tile, name) {
  ask({ tile, dropped: null, name }, tileUrl(tile), name);
  window.scrollTo({ top: 0, behavior: "smooth" });
}

const byFile = attempt(async (file) => {
  if (!file) return;
  $("asked").textContent = `reading ${file.name} …`;
  try {
    const taken = await answerOf(await fetch("search/drop", {
      method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
    }));
    if (taken.tile !== null) ask({ tile: taken.tile, dropped: null, name: taken.name }, tileUrl(taken.tile),
      `${file.name}: this very file is ${taken.name} of the archive`);
    else ask({ tile: null, dropped: taken.dropped, name: file.name }, `search/dropped/${taken.dropped}.jpg`, file.name);
  } catch (error) {
    $("asked").textContent = state.name;
    throw error;
  }
});

function ask(query, picture, caption) {
  Object.assign(state, { anchor: null, count: STEP, ...query });
  $("query").src = picture;
  $("query").alt = state.name;
  $("query").hidden = false;
  $("asked").textContent = caption;
  search();
}

// What is found.

const search = attempt(async () => {
  const query = new URLSearchParams({ count: state.count });
  for (const name of ["tile", "dropped", "anchor"]) if (state[name] !== null) query.set(name, state[name]);
  const asked = String(query);
  search.last = asked;
  const found = await get(`search/results?${query}`);
  if (search.last !== asked) return;
  state.shown = found;
  show();
});

function show() {
  const { results, answers } = state.shown;
  $("found").hidden = false;
  $("newer").hidden = true;
  $("sentence").textContent = state.shown.sentence; // which marks of these results answer
  $("heading").textContent = `Most similar to ${state.name}`;
  $("explained").textContent = explained();
  $("calibrated").textContent = calibrated(state.shown.calibration);
  $("results").replaceChildren(...results.map(figure));
  $("more").hidden = results.length < state.count || state.count >= MAX_RESULTS;
  $("none").hidden = answers.length > 0;
  $("answers").replaceChildren(...answers.map(pair));
  tellModel(state.shown.model);
}

function explained() {
  if (state.dropped === null) {
    return "Say which results are right and which are wrong: each is an answer about this tile, and the next "
      + "questions and the next model follow from it.";
  }
  if (state.anchor === null) {
    return "Your file is no tile of the archive, so no answer can name it. Mark one result that is alike: it stands "
      + "for your file, and marks of other results are then answers about that tile.";
  }
  return "The result with a blue edge stands for your file: marks of the others are answers about that tile.";
}

function figure(found, place) {
  const isAnchor = found.tile === state.anchor;
  return element("figure", { className: isAnchor ? "anchor" : found.known || "" },
    element("button", { title: `search by ${found.name}`, onclick: () => byTile(found.tile, found.name) },
      element("img", { src: tileUrl(found.tile), alt: found.name, loading: "lazy" })),
    element("figcaption", {}, element("b", { textContent: `${place + 1}. ` }), ...likeness(found),
      element("small", { textContent: found.name })),
    element("div", { className: "marks" }, ...marks(found, isAnchor)));
}

function likeness(found) {
  const cosine = `cosine ${found.similarity.toFixed(2)}`;
  if (found.probability === null) return [cosine];
  const interval = `${found.lower.toFixed(2)}–${found.upper.toFixed(2)}`;
  return [element("b", { textContent: `P ${found.probability.toFixed(2)}` }), ` (${interval})`,
    element("small", { textContent: cosine })];
}

function calibrated({ is_known, num_audits, fewest, fewest_of_each }) {
  if (is_known) {
    return `P is the chance that a person calls the two similar, by ${num_audits} blind audits of tiles and one of `
      + "their five nearest, with its 95% interval; further down the list it is an extrapolation.";
  }
  return `The chance that two tiles are similar is told from ${fewest} blind audits on, ${fewest_of_each} of them `
    + `of each answer (${num_audits} so far); until then the cosine stands here. Audits come among the questions.`;
}

function marks(found, isAnchor) {
  if (isAnchor) return ["stands for your file", button("change", "quiet", () => setAnchor(null))];
  const subject = state.tile === null ? state.anchor : state.tile;
  if (subject === null) return [button("This one is alike", "answer similar", () => setAnchor(found.tile))];
  if (found.answer_id !== null) {
    return [element("span", { className: `word ${found.known}`, textContent: inVerdict(found.known) }),
      button("take back", "quiet", () => write("retract", { answer_id: found.answer_id }))];
  }
  if (found.known) {
    return [element("span", { className: `word ${found.known}`, textContent: `${inVerdict(found.known)}, follows` })];
  }
  const mark = (answer) => {
    const said = { first: subject, second: found.tile, answer, key: randomKey() }; // two clicks are one answer
    return () => write("volunteer", said);
  };
  return [button("right", "answer similar", mark("similar")), button("wrong", "answer dissimilar", mark("dissimilar"))];
}

function button(textContent, className, onclick) {
  return element("button", { textContent, className, onclick });
}

function inVerdict(known) {
  return { similar: "✓ right", dissimilar: "✗ wrong", unsure: "unsure" }[known];
}

function setAnchor(tile) {
  state.anchor = tile;
  search();
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

// What is said of it. The list keeps its order under the pointer: another model is only used when asked for.

const write = attempt(async (path, body) => {
  await post("session", { tab: TAB, annotator: remembered("name") || "searcher", mode: "none" });
  const view = await post(path, { tab: TAB, key: randomKey(), set_id: state.shown.set_id, ...body });
  if (view.model_answers === state.shown.model) await search();
  else note(path, body, view);
  tellState(view); // last: it may have to tell of a failure
});

function note(path, body, view) {
  const isIt = path === "retract" ? (row) => row.answer_id === body.answer_id : (row) => row.tile === body.second;
  for (const row of state.shown.results.filter(isIt)) {
    row.known = body.answer || null;
    row.answer_id = view.answer_id ?? null;
  }
  show();
  $("newer").hidden = false;
}

function tellState(view) {
  noteContradictions(view);
  $("newer").hidden = !state.shown || view.model_answers === state.shown.model;
  if (!state.shown) {
    tellModel(view.model_answers);
    $("sentence").textContent = view.sentence;
  }
  if (view.training_failure) throw new Error(`${view.training_failure}. Answers are not affected.`);
}

function tellModel(answers) {
  $("facts").textContent = answers ? `By the model of ${answers} answers.`
    : "By the features of the network alone: no model was trained on answers yet.";
}

// Pointers and files.

$("choose").onclick = () => $("file").click();
$("file").onchange = () => {
  byFile($("file").files[0]);
  $("file").value = "";
};
for (const kind of ["dragover", "drop"]) {
  window.addEventListener(kind, (event) => event.preventDefault()); // beside the frame a file would leave the page
}
window.addEventListener("dragover", () => $("drop").classList.add("over"));
window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
window.addEventListener("drop", (event) => {
  $("drop").classList.remove("over");
  byFile(event.dataTransfer.files[0]); // only files: an address that is dropped is not followed
});
window.addEventListener("paste", (event) => byFile(event.clipboardData.files[0]));
$("text").oninput = () => offer();
$("others").onclick = () => {
  $("text").value = "";
  state.turn += 1;
  offer();
};
$("more").onclick = () => {
  state.count = Math.min(MAX_RESULTS, state.count + 2 * STEP);
  search();
};
$("again").onclick = () => search();

const look = attempt(async () => tellState(await get("state")));
look();
setInterval(() => get("state").then(tellState).catch(() => {}), 5000); // the next click tells what is wrong
offer();
