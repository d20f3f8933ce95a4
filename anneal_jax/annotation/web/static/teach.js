// The question page. An answer is shown as given at once, sent in order, and ticked when it is on disk.
import { Refusal, attempt, element, get, post, randomKey, remember, remembered, tileUrl } from "./common.js";
import { noteContradictions } from "./contradictions.js";
import { openSets } from "./sets.js";

const $ = (id) => document.getElementById(id);
const TAB = randomKey();
const SWIPE_PX = 70;
const TAP_PX = 8;
const [TWO_TAPS_MS, TWO_TAPS_PX] = [400, 40];
const RETRY_AFTER_MS = [300, 1000, 2000, 4000, 8000];
const MAX_ZOOM = 8;
const AGAIN_MS = 2000;
const BLIND = "These are vectors without pictures, so nobody can judge them here. Search finds what is near a tile by "
  + "its name. Start again with --thumbnails to see the tiles and answer.";
const UNSEEN = "A picture did not come; it is asked for again. “Unsure” goes on without it.";

const state = {
  annotator: remembered("name"), mode: "pairs", view: null, questions: [], given: new Set(),
  waiting: [], isSending: false, shown: null, unseen: null, shownAt: 0, zoom: 1, x: 0, y: 0, isSwapped: false,
};

// Sending: one request at a time, repeated with the same key until the server has said yes or no.

function send(path, body, then = () => {}) {
  state.waiting.push({ path, body: { tab: TAB, ...body }, then, tries: 0 });
  pump();
}

async function pump() {
  if (state.isSending || !state.waiting.length) return;
  state.isSending = true;
  const request = state.waiting[0];
  tellSaved();
  try {
    const view = await post(request.path, request.body);
    state.waiting.shift();
    state.given.delete(request.body.key);
    if (request.tries || request.path !== "session") tellTrouble(""); // why one was begun anew stays shown
    apply(view);
    request.then(view);
    tellSaved(request.path === "answer" ? "✓ saved" : "");
  } catch (error) {
    await failed(request, error);
  }
  state.isSending = false;
  if (state.waiting.length) pump();
}

async function failed(request, error) {
  const isFinal = error instanceof Refusal && error.status >= 400 && error.status < 500;
  if (isFinal) {
    state.waiting.shift();
    state.given.delete(request.body.key);
    tellTrouble(error.message);
    tellSaved(request.path === "answer" ? "not saved" : "", "waiting");
    if (error.status === 409 && request.path !== "session") openSession();
    return;
  }
  const isRefused = error instanceof Refusal;
  tellTrouble(isRefused ? error.message : "The server cannot be reached. Nothing is lost: this page keeps trying.");
  tellSaved("not saved yet", "waiting");
  await new Promise((done) => setTimeout(done, RETRY_AFTER_MS[Math.min(request.tries++, RETRY_AFTER_MS.length - 1)]));
}

// Of the answers whose sentence stands on this page: what is said of it is not taken for another one.
const setShown = () => (state.view ? state.view.set_id : 0);

function openSession() {
  send("session", { annotator: state.annotator, mode: state.mode }, (view) => {
    if (!view.sentence_is_settled) welcome();
  });
}

function tellSaved(text, kind = "done") {
  const left = state.waiting.length;
  $("saved").textContent = text || (left && state.waiting[0].path === "answer" ? "saving …" : $("saved").textContent);
  $("saved").className = `saved ${text ? kind : ""}`;
  document.body.dataset.waiting = String(left);
}

function tellTrouble(sentence) {
  $("trouble").textContent = sentence;
  $("trouble").hidden = !sentence;
}

// Showing.

function apply(view) {
  state.view = view;
  if (view.questions) state.questions = view.questions.filter((question) => !state.given.has(question.key));
  $("sentence").textContent = view.sentence;
  $("mode").value = state.mode;
  noteContradictions(view);
  count(view);
  show();
}

function count(view) {
  const quality = view.quality.share === null ? "not measured yet"
    : `${view.quality.share.toFixed(2)} (${view.quality.lower.toFixed(2)}–${view.quality.upper.toFixed(2)}`
      + `, ${view.quality.num_audits} audit${view.quality.num_audits === 1 ? "" : "s"}${view.quality.is_stale ? ", stale" : ""})`;
  const number = (value) => value.toLocaleString("en-GB");
  const parts = [
    ["", view.num_labels ? `${number(view.num_labels)} labels` : "", ""],
    [`${number(view.num_answers)} answers → `, number(view.num_known), " pairs"],
    ["", number(view.bits_spent), " bits"],
    ["", number(view.minutes), " min"],
    ["precision@5 ", quality, ""],
    [view.is_training ? "learning …" : view.model_answers ? `model of ${view.model_answers} answers` : "", "", ""],
    [view.on_trial ? `model of ${view.on_trial} answers on trial` : "", "", ""],
    [view.refusal || "", "", ""],
    [forecast(view), "", ""],
  ];
  $("counters").replaceChildren(...parts.filter((part) => part.join("")).map(([before, value, after]) =>
    element("span", {}, before, element("b", { textContent: value }), after)));
  if (view.training_failure) tellTrouble(`${view.training_failure}. Answers are not affected.`);
}

function forecast({ expected_gain: gain, least_gain: least }) {
  if (gain === null || gain === undefined) return "";
  const sentence = `100 more answers: about ${(100 * gain).toFixed(0)}% more tiles told rightly`;
  return gain < least ? `${sentence}, they will hardly help` : sentence;
}

function show() {
  const isBlind = Boolean(state.view && state.view.shows_tiles === false);
  const question = isBlind ? null : state.questions[0] || null;
  for (const coming of state.questions.slice(1)) {
    for (const tile of [coming.first, coming.second]) new Image().src = tileUrl(tile);
  }
  const isOver = isBlind || (!question && state.view && state.view.sentence_is_settled && !state.waiting.length);
  $("empty").hidden = !isOver;
  $("empty").textContent = isBlind ? BLIND : isOver ? "No question is left. The answers are under Details." : "";
  for (const shown of document.querySelectorAll(".tile, #flip")) shown.hidden = isOver;
  if (!question || (state.shown && state.shown.key === question.key)) return;
  state.shown = question;
  state.isSwapped = false;
  setZoom(1, 0, 0);
  paint();
}

async function paint() {
  const question = state.shown;
  const founder = question.members[0];
  const [left, right] = founder === question.first ? [question.second, question.first]
    : [question.first, question.second];
  const sides = state.isSwapped ? [right, left] : [left, right];
  $("stage").classList.remove("ready");
  document.body.dataset.question = "";
  $("left").src = tileUrl(sides[0]);
  $("right").src = tileUrl(sides[1]);
  const others = question.members.slice(1).map((tile) => element("img", { src: tileUrl(tile), alt: "" }));
  $("members").replaceChildren(element("span", { textContent: "Same as this group?" }), ...others);
  $("members").hidden = !question.members.length;
  const isSeen = await Promise.all([$("left").decode(), $("right").decode()]).then(() => true, () => false);
  if (state.shown !== question) return;
  state.unseen = isSeen ? null : question.key;
  if (!isSeen) {
    tellTrouble(UNSEEN);
    setTimeout(() => { if (state.shown === question) paint(); }, AGAIN_MS);
    return;
  }
  if ($("trouble").textContent === UNSEEN) tellTrouble("");
  $("stage").classList.add("ready");
  state.shownAt = performance.now();
  document.body.dataset.question = question.key;
}

function setZoom(zoom, x, y) {
  const most = (zoom - 1) * -100;
  state.zoom = zoom;
  state.x = Math.min(0, Math.max(most, x));
  state.y = Math.min(0, Math.max(most, y));
  for (const image of [$("left"), $("right")]) {
    image.style.setProperty("--zoom", state.zoom);
    image.style.setProperty("--x", `${state.x}%`);
    image.style.setProperty("--y", `${state.y}%`);
    image.parentElement.classList.toggle("zoomed", zoom > 1);
  }
}

function zoomAt(factor, across = 50, down = 50) {
  const zoom = Math.min(MAX_ZOOM, Math.max(1, state.zoom * factor));
  const scale = zoom / state.zoom; // the point under the pointer stays where it is
  setZoom(zoom, across - (across - state.x) * scale, down - (down - state.y) * scale);
}

// Answering.

function answer(word) {
  const question = state.questions[0];
  if (!question) return;
  const isSeen = document.body.dataset.question === question.key; // nobody says of unseen tiles what they are
  if (!isSeen && !(word === "unsure" && state.unseen === question.key)) return;
  const elapsed = Math.max(0, (performance.now() - state.shownAt) / 1000);
  state.questions.shift();
  state.given.add(question.key);
  press($(word));
  send("answer", { key: question.key, answer: word, elapsed_s: Math.round(elapsed * 1000) / 1000 });
  show();
}

function undo() {
  press($("undo"));
  send("undo", { key: randomKey(), set_id: setShown() }, (view) => tellSaved(view.undone ? "undone" : "nothing to undo"));
}

function swap() {
  if (!state.shown) return;
  state.isSwapped = !state.isSwapped;
  const [left, right] = [$("left").src, $("right").src];
  $("left").src = right;
  $("right").src = left;
}

function changeMode(mode) {
  state.mode = mode;
  $("mode").blur(); // or the keys that answer would choose in it
  openSession();
}

function press(button) {
  button.classList.add("pressed");
  setTimeout(() => button.classList.remove("pressed"), 120);
}

document.addEventListener("visibilitychange", () => { // away is no time spent
  if (document.hidden) state.hiddenAt = performance.now();
  else if (state.hiddenAt) state.shownAt += performance.now() - state.hiddenAt;
});

const KEYS = {
  s: () => answer("similar"), d: () => answer("dissimilar"), u: () => answer("unsure"), z: undo, f: swap,
  g: () => changeMode(state.mode === "groups" ? "pairs" : "groups"), "?": () => $("helping").showModal(), "+": () => zoomAt(1.5), "=": () => zoomAt(1.5),
  "-": () => zoomAt(1 / 1.5), 0: () => setZoom(1, 0, 0), arrowright: () => answer("similar"),
  arrowleft: () => answer("dissimilar"), arrowup: () => answer("unsure"),
};

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

for (const word of ["similar", "dissimilar", "unsure"]) $(word).onclick = () => answer(word);
$("undo").onclick = undo;
$("flip").onclick = swap;
$("mode").onchange = () => changeMode($("mode").value);
$("help").onclick = () => $("helping").showModal();
$("sentence").onclick = attempt(openSets);
document.addEventListener("answers-changed", openSession);

// Pointers: a click or two taps zoom, a drag moves both tiles when zoomed, else it is a swipe.

let drag = null;
let tap = null;
$("stage").addEventListener("pointerdown", (event) => {
  if (!event.isPrimary) { // two fingers swipe nothing
    drag = null;
    return;
  }
  const frame = event.target.closest(".frame");
  drag = { frame, left: event.clientX, top: event.clientY, x: state.x, y: state.y };
});
$("stage").addEventListener("pointermove", (event) => {
  if (!drag || !drag.frame || state.zoom === 1) return;
  const side = drag.frame.clientWidth;
  setZoom(state.zoom, drag.x + ((event.clientX - drag.left) / side) * 100,
    drag.y + ((event.clientY - drag.top) / side) * 100);
});
window.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const [across, down, frame] = [event.clientX - drag.left, event.clientY - drag.top, drag.frame];
  drag = null;
  if (Math.hypot(across, down) < TAP_PX) {
    if (frame && (event.pointerType === "mouse" || isSecondTap(event))) clickZoom(frame, event);
  } else if (state.zoom === 1 && event.pointerType !== "mouse") {
    if (Math.abs(across) > SWIPE_PX && Math.abs(across) > Math.abs(down)) answer(across > 0 ? "similar" : "dissimilar");
    else if (-down > SWIPE_PX) answer("unsure");
  }
});
window.addEventListener("pointercancel", () => { drag = null; });
$("stage").addEventListener("wheel", (event) => {
  const frame = event.target.closest(".frame");
  if (frame) zoomAt(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...placeIn(frame, event));
}, { passive: true });

function isSecondTap(event) {
  const isSecond = tap !== null && event.timeStamp - tap.timeStamp < TWO_TAPS_MS
    && Math.hypot(event.clientX - tap.clientX, event.clientY - tap.clientY) < TWO_TAPS_PX;
  tap = isSecond ? null : event;
  return isSecond;
}

function clickZoom(frame, event) {
  if (state.zoom > 1) setZoom(1, 0, 0);
  else zoomAt(2.5, ...placeIn(frame, event));
}

function placeIn(frame, event) {
  const box = frame.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * 100, ((event.clientY - box.top) / box.height) * 100];
}

// Dialogs.

function welcome() {
  $("name").value = state.annotator;
  $("meaning").value = state.view ? state.view.sentence : "";
  $("meaning").disabled = Boolean(state.view && state.view.sentence_is_settled); // under Sets it is changed
  $("welcome").returnValue = "";
  if (!$("welcome").open) $("welcome").showModal();
}

$("welcome").addEventListener("close", () => {
  if ($("welcome").returnValue !== "begin") return; // Escape changes nothing, and begins no new set
  const [name, meaning] = [$("name").value.trim(), $("meaning").value.trim()];
  if (!name || !meaning) return;
  state.annotator = name;
  remember("name", name);
  send("session", { annotator: name, mode: state.mode });
  if (!state.view.sentence_is_settled) send("sentence", { sentence: meaning });
});

window.addEventListener("beforeunload", (event) => {
  if (state.waiting.some((request) => request.path === "answer")) event.preventDefault();
});

async function look() {
  try {
    if (!state.waiting.length) {
      const view = await get(`state?annotator=${encodeURIComponent(state.annotator)}`);
      if (!state.waiting.length) count(view);
    }
  } catch { /* the next answer will tell */ }
}

async function begin() {
  try {
    state.view = await get("state");
    $("sentence").textContent = state.view.sentence;
    $("warning").textContent = state.view.warnings.join(" ");
    $("warning").hidden = !state.view.warnings.length;
    if (state.annotator && state.view.sentence_is_settled) openSession();
    else welcome();
    setInterval(look, 5000);
  } catch (error) {
    tellTrouble(error.message);
  }
}

async function details() {
  const { notes, left_out: names } = await get("notes");
  $("notes").replaceChildren(...notes.map((note) => element("li", { textContent: note })));
  $("skipped").replaceChildren(...names.map((name) => element("li", { textContent: name })));
  const count = names.length === 1 ? "1 file was skipped" : `${names.length.toLocaleString("en")} files were skipped`;
  if (names.length) $("summary").textContent = `Details: ${count}`;
  $("details").hidden = !notes.length && !names.length;
}

begin();
details().catch((error) => tellTrouble(error.message));
