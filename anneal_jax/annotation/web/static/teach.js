// The question page. Answers take effect immediately, are sent in order, and get a tick when they are on disk.
import { Refusal, attempt, element, get, post, randomKey, remember, remembered, tileUrl } from "./common.js";
import { noteContradictions } from "./contradictions.js";
import { enlarge, enlargeOnLongPress } from "./enlarge.js";
import { drawGlance, isMarked, marked, moveFocus, picturesOf, placeOfKey, toggle } from "./glance.js";
import { showChange, showProgress } from "./progress.js";
import { openSets } from "./sets.js";

const $ = (id) => document.getElementById(id);
const TAB = randomKey();
const SWIPE_PX = 70;
const TAP_PX = 8;
const [TWO_TAPS_MS, TWO_TAPS_PX] = [400, 40];
const RETRY_AFTER_MS = [300, 1000, 2000, 4000, 8000];
const MAX_ZOOM = 8;
const AGAIN_MS = 2000;
const LOOK_MS = 2000;
const ASK = {
  pair: "Are these two alike?",
  grid: "Which of these are not like the first one? Mark them, then Done.",
  choice: "Which of these groups is the first one like?",
};
const BLIND = "These vectors have no pictures, so nobody can judge them here. You can still search by the name of a tile. "
  + "Restart with --thumbnails to see the tiles and answer.";
const UNSEEN = "A picture did not load; the page is retrying. “Unsure” skips this question.";

const state = {
  annotator: remembered("name"), mode: remembered("mode") || "glances", view: null, questions: [], given: new Set(),
  waiting: [], isSending: false, shown: null, numShown: 0, unseen: null, shownAt: 0, zoom: 1, x: 0, y: 0, isSwapped: false,
};

// Sending: one request at a time, repeated with the same key until the server accepts or refuses it.

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
    if (request.tries || request.path !== "session") tellTrouble(""); // keep the message that explains a new session
    apply(view);
    request.then(view);
    tellSaved(isAnswer(request) ? "✓ saved" : "");
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
    tellSaved(isAnswer(request) ? "not saved" : "", "waiting");
    if (error.status === 409 && request.path !== "session") openSession();
    return;
  }
  const isRefused = error instanceof Refusal;
  tellTrouble(isRefused ? error.message : "The server cannot be reached. Nothing is lost: this page keeps trying.");
  tellSaved("not saved yet", "waiting");
  await new Promise((done) => setTimeout(done, RETRY_AFTER_MS[Math.min(request.tries++, RETRY_AFTER_MS.length - 1)]));
}

const isAnswer = ({ path }) => path === "answer" || path === "glance";

// Id of the set shown on this page, so that a request cannot be applied to another set.
const setShown = () => (state.view ? state.view.set_id : 0);

function openSession() {
  send("session", { annotator: state.annotator, mode: state.mode }, (view) => {
    if (!view.sentence_is_settled) welcome();
  });
}

function tellSaved(text, kind = "done") {
  const left = state.waiting.length;
  $("saved").textContent = text || (left && isAnswer(state.waiting[0]) ? "saving …" : $("saved").textContent);
  $("saved").className = `saved ${text ? kind : ""}`;
  document.body.dataset.waiting = String(left);
}

function tellTrouble(sentence) {
  $("trouble").textContent = sentence;
  $("trouble").hidden = !sentence;
}

// Display.

function apply(view) {
  state.view = view;
  if (view.questions) state.questions = view.questions.filter((question) => !state.given.has(question.key));
  $("sentence").textContent = view.sentence;
  $("pairs").checked = state.mode !== "glances";
  $("doubtful").checked = state.mode === "mgue";
  noteContradictions(view);
  count(view);
  show();
}

function count(view) {
  showProgress(view);
  if (view.training_failure) tellTrouble(`${view.training_failure}. Answers are not affected.`);
}

function show() {
  const isBlind = Boolean(state.view && state.view.shows_tiles === false);
  const question = isBlind ? null : state.questions[0] || null;
  for (const coming of state.questions.slice(1)) {
    for (const tile of [coming.subject, ...coming.others, ...coming.members.flat()]) new Image().src = tileUrl(tile);
  }
  const isOver = isBlind || (!question && state.view && state.view.sentence_is_settled && !state.waiting.length);
  $("empty").hidden = !isOver;
  $("empty").textContent = isBlind ? BLIND : isOver ? "There are no more questions. Your answers are under Details." : "";
  if (isOver) {
    $("ask").textContent = "\u00a0";
    document.body.dataset.kind = "";
  }
  for (const shown of document.querySelectorAll(".tile, #flip")) shown.hidden = isOver;
  if (!question || (state.shown && state.shown.key === question.key)) return;
  state.shown = question;
  state.isSwapped = false;
  setZoom(1, 0, 0);
  paint();
}

async function paint() {
  const question = state.shown;
  $("stage").classList.remove("ready");
  document.body.dataset.question = "";
  document.body.dataset.kind = question.kind;
  $("ask").textContent = ASK[question.kind];
  const images = question.kind === "pair" ? drawPair(question)
    : drawGlance(question, $("subject-tile"), $("others"), (place) => pick(place));
  const isSeen = await Promise.all(images.map((image) => image.decode())).then(() => true, () => false);
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
  state.numShown += 1; // or a question in the words of the one before would not be read out
  $("announced").textContent = `Question ${state.numShown}. ${ASK[question.kind]}`;
}

function drawPair(question) {
  const sides = state.isSwapped ? [question.second, question.first] : [question.first, question.second];
  $("left").src = tileUrl(sides[0]);
  $("right").src = tileUrl(sides[1]);
  return [$("left"), $("right")];
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
  if (question.kind !== "pair") {
    if (word === "unsure") answerGlance(null, $("unsure"));
    return;
  }
  take("answer", { answer: word }, $(word), word === "unsure");
}

// The answer to a choice or a grid; null means unsure.
function answerGlance(picked, button) {
  take("glance", { picked }, button, picked === null);
}

function take(path, said, button, isUnsure) {
  const question = state.questions[0];
  const isSeen = document.body.dataset.question === question.key; // tiles that were not seen cannot be judged
  if (!isSeen && !(isUnsure && state.unseen === question.key)) return;
  const elapsed = Math.max(0, (performance.now() - state.shownAt) / 1000);
  state.questions.shift();
  state.given.add(question.key);
  press(button);
  send(path, { key: question.key, ...said, elapsed_s: Math.round(elapsed * 1000) / 1000 });
  show();
}

// Picking toggles the mark of a tile in a grid, or answers a choice.
function pick(place) {
  const question = state.questions[0];
  if (!question || document.body.dataset.question !== question.key) return;
  if (question.kind === "grid") {
    toggle($("others"), place);
    $("announced").textContent = `${$("others").children[place].ariaLabel} ${isMarked($("others"), place) ? "is not like it" : "is like it"}`;
  }
  else answerGlance([place], $("others").children[place]);
}

function finishGrid() {
  if (kindShown() === "grid") answerGlance(marked($("others")), $("done"));
}

const kindShown = () => (state.questions[0] ? state.questions[0].kind : "");

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
  remember("mode", mode);
  document.activeElement.blur(); // otherwise it would receive the answer keys
  openSession();
}

function press(button) {
  button.classList.add("pressed");
  setTimeout(() => button.classList.remove("pressed"), 120);
}

document.addEventListener("visibilitychange", () => { // time away does not count
  if (document.hidden) {
    state.hiddenAt = performance.now();
    return;
  }
  if (state.hiddenAt) state.shownAt += performance.now() - state.hiddenAt;
  look();
});

const KEYS = { u: () => answer("unsure"), z: undo, "?": () => $("helping").showModal() };

const PAIR_KEYS = {
  s: () => answer("similar"), d: () => answer("dissimilar"), f: swap, "+": () => zoomAt(1.5), "=": () => zoomAt(1.5),
  "-": () => zoomAt(1 / 1.5), 0: () => setZoom(1, 0, 0), arrowright: () => answer("similar"),
  arrowleft: () => answer("dissimilar"), arrowup: () => answer("unsure"),
};

// What a key does to the current question; undefined if nothing.
function actOf(key) {
  const kind = kindShown();
  if (kind === "pair" || !kind) return PAIR_KEYS[key] || KEYS[key];
  const place = placeOfKey(key, state.questions[0].others.length);
  if (place >= 0) return () => pick(place);
  if (key.startsWith("arrow")) return () => moveFocus($("others"), key);
  if (key === "0" && kind === "choice") return () => answerGlance([], $("none"));
  if (key === "enter" && kind === "grid") return finishGrid;
  if (key === "+" || key === "=") return () => enlarge(picturesOf($("stage"), lookedAt()));
  return KEYS[key];
}

// Enter and space press the focused element, except that Enter on a tile of a grid means done.
const isForFocus = (key) => (key === " " || key === "enter")
  && document.activeElement.matches("button, a, input, select, summary, label")
  && !(key === "enter" && kindShown() === "grid" && $("others").contains(document.activeElement));

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") || isForFocus(event.key.toLowerCase())) return;
  const act = actOf(event.key.toLowerCase());
  if (!act) return;
  event.preventDefault();
  act();
});

for (const word of ["similar", "dissimilar", "unsure"]) $(word).onclick = () => answer(word);
$("undo").onclick = undo;
$("flip").onclick = swap;
$("none").onclick = () => answerGlance([], $("none"));
$("done").onclick = finishGrid;
$("pairs").onchange = () => changeMode($("pairs").checked ? "pairs" : "glances");
$("doubtful").onchange = () => changeMode($("doubtful").checked ? "mgue" : "glances");
$("change").onclick = attempt(showChange);
$("help").onclick = () => $("helping").showModal();
$("sentence").onclick = attempt(openSets);
document.addEventListener("answers-changed", openSession);

// Of a choice or a grid: the tile or group in focus, else the one below the pointer; null for the subject alone.
const lookedAt = () => document.activeElement.closest(".other") || $("others").querySelector(".other:hover");
enlargeOnLongPress($("stage"), ".other, .subject", (held) => picturesOf($("stage"), held.closest(".other")));

// Pointers: a click or two taps zoom, a drag moves both tiles when zoomed, else it is a swipe.

let drag = null;
let tap = null;
$("stage").addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || kindShown() !== "pair") { // no swipes with two fingers, or on a grid
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
  $("meaning").disabled = Boolean(state.view && state.view.sentence_is_settled); // it can be changed under Sets
  $("welcome").returnValue = "";
  if (!$("welcome").open) $("welcome").showModal();
}

$("welcome").addEventListener("close", () => {
  if ($("welcome").returnValue !== "begin") return; // Escape changes nothing
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
    if (!state.waiting.length && !document.hidden) {
      const view = await get(`state?annotator=${encodeURIComponent(state.annotator)}`);
      if (!state.waiting.length) count(view);
    }
  } catch { /* the next answer reports the problem */ }
}

async function begin() {
  try {
    state.view = await get("state");
    $("sentence").textContent = state.view.sentence;
    $("warning").textContent = state.view.warnings.join(" ");
    $("warning").hidden = !state.view.warnings.length;
    if (state.annotator && state.view.sentence_is_settled) openSession();
    else welcome();
    setInterval(look, LOOK_MS);
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
}

begin();
details().catch((error) => tellTrouble(error.message));
