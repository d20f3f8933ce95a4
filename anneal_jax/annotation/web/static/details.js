// The details page: the learning curve, all answers, and the neighbours of any tile.
import { answerOf, attempt, element, get, inWords, post, randomKey, remembered, tileUrl } from "./common.js";
import { noteContradictions } from "./contradictions.js";

const $ = (id) => document.getElementById(id);
const TAB = randomKey();
const state = { asked: "", setId: 0, near: null };
const OTHERS = { similar: ["dissimilar"], dissimilar: ["similar"], unsure: ["similar", "dissimilar"] };

const load = attempt(async (offset = 0) => {
  const query = new URLSearchParams({ offset, answer: $("answer").value, text: $("text").value });
  const asked = String(query);
  state.asked = asked;
  const [page, view] = await Promise.all([get(`answers?${query}`), get("state")]);
  if (state.asked !== asked) return; // the text has changed since
  $("near").hidden ||= state.setId !== page.set_id; // they belong to another set
  state.setId = page.set_id;
  $("sentence").textContent = view.sentence;
  $("facts").textContent = `${view.num_answers} answers, ${view.num_known} pairs known through them, `
    + `${view.bits_spent} bits, ${view.minutes} minutes, ${view.num_contradictions} contradictions.`;
  if (!offset) $("rows").replaceChildren();
  $("rows").append(...page.answers.map(row));
  $("more").hidden = $("rows").children.length >= page.num_answers;
  $("more").onclick = () => load($("rows").children.length);
  drawCurve([...page.curve, { ...view }].filter((point) => point.quality.share !== null));
  tellRefusals(page.curve);
  tellPeople(page);
  noteContradictions(view);
});

const write = attempt(async (path, body) => {
  await post("session", { tab: TAB, annotator: remembered("name") || "reviewer", mode: "none" });
  const view = await post(path, { tab: TAB, set_id: state.setId, ...body });
  await load();
  if (!$("near").hidden) await showStrip(state.near); // with new keys: a later click is a new answer
});

// Clicking a button twice gives one answer: its key is drawn with the button.
function writing(path, body) {
  const said = { ...body, key: randomKey() };
  return () => write(path, said);
}

function row(said) {
  const buttons = [...OTHERS[said.answer], null].map((answer) => element("button", {
    className: "quiet", textContent: answer ? `make it ${inWords(answer)}` : "take back", onclick: changing(said, answer),
    ariaLabel: `${answer ? `make it ${inWords(answer)}` : "take back"}: ${said.names.join(" and ")}`,
  }));
  const pictures = said.file ? [fileLink(said), thumb(said.tile, said.names[1])]
    : [thumb(said.first, said.names[0]), thumb(said.second, said.names[1])];
  return element("tr", {},
    element("td", {}, element("div", { className: "pair" }, ...pictures)),
    element("td", {}, element("span", { className: `word ${said.answer}`, textContent: inWords(said.answer) }),
      element("small", { textContent: `${said.annotator}, ${new Date(said.answered_at).toLocaleString("en-GB")}` }),
      element("small", { className: "wide", textContent: said.names.join(" · ") })),
    element("td", {}, ...buttons));
}

// What makes an answer another one, or takes it back where `answer` is null.
function changing({ file, tile: other, answer_id }, answer) {
  if (file) {
    return writing("search/mark", { file, other, answer: answer || "none", annotator: remembered("name") || "reviewer" });
  }
  return answer ? writing("correct", { answer_id, answer }) : writing("retract", { answer_id });
}

// Of a file that was dropped no picture is kept.
function fileLink({ file, names }) {
  return element("a", { className: "file", href: `./#file=${file}`, textContent: names[0], title: "what is similar to this file" });
}

function thumb(tile, name) {
  return element("img", { src: tileUrl(tile), alt: name, title: name, loading: "lazy", onclick: () => near(tile) });
}

const near = attempt(async (tile) => {
  await showStrip(tile);
  $("near").hidden = false;
  $("near").scrollIntoView({ behavior: "smooth", block: "nearest" });
});

async function showStrip(tile) {
  state.near = tile;
  const found = await get(`neighbours/${tile}`);
  const shown = [{ tile: found.tile, name: found.name }, ...found.neighbours];
  $("strip").replaceChildren(...shown.map((item, place) => element("figure", {}, thumb(item.tile, item.name),
    element("figcaption", { textContent: place ? `${place}. ${item.name}` : `this tile: ${item.name}` }),
    ...(place ? judgements(found.tile, item.tile) : []))));
}

function judgements(first, second) {
  return ["similar", "dissimilar"].map((answer) => element("button", {
    className: `quiet word ${answer}`, textContent: inWords(answer),
    onclick: writing("volunteer", { first, second, answer }),
  }));
}

function tellRefusals(curve) {
  $("refusals").replaceChildren(...curve.filter((row) => row.refusal)
    .map((row) => element("p", { className: "hint", textContent: row.refusal })));
}

function drawCurve(points) {
  if (!points.length) {
    $("curve").replaceChildren(element("p", { className: "hint", textContent:
      "Precision@5 is drawn here when the first audits are answered: a few questions that only measure." }));
    return;
  }
  const [width, height, left, bottom] = [800, 300, 50, 36];
  const most = Math.max(...points.map((point) => point.bits_spent), 1);
  const x = (bits) => left + (bits / most) * (width - left - 20);
  const y = (share) => height - bottom - share * (height - bottom - 20);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img",
    "aria-label": "precision at 5 against bits spent" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(shape("line", { class: "grid", x1: left, x2: width - 20, y1: y(share), y2: y(share) }));
    svg.append(label(share.toFixed(2), left - 8, y(share) + 4, "end"));
  }
  const along = (name) => points.map((point) => `${x(point.bits_spent)},${y(point.quality[name])}`);
  svg.append(shape("polygon", { class: "band", points: [...along("upper"), ...along("lower").reverse()].join(" ") }));
  svg.append(shape("polyline", { class: "line", points: along("share").join(" ") }));
  for (const point of points) {
    const across = x(point.bits_spent);
    svg.append(shape("line", { class: "bar", x1: across, x2: across, y1: y(point.quality.lower), y2: y(point.quality.upper) }));
    svg.append(shape("circle", { r: 4, cx: x(point.bits_spent), cy: y(point.quality.share) }));
  }
  svg.append(label("0", left, height - 12, "middle"), label(`${most} bits`, width - 20, height - 12, "end"));
  $("curve").replaceChildren(svg, element("p", { className: "hint", textContent:
    "Precision@5 by blind audits, with its 95% interval, for each model and for the one in use." }));
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function label(text, left, top, anchor) {
  const made = shape("text", { x: left, y: top, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

function tellPeople({ agreement, consistency }) {
  const lines = [
    ...consistency.map((one) => `${one.first} answered ${one.num_pairs} pairs again, `
      + `${Math.round(one.share * 100)}% of them as before.`),
    ...agreement.map((one) => `${one.first} and ${one.second} agree on ${Math.round(one.share * 100)}% of `
      + `${one.num_pairs} pairs.`),
  ];
  $("people").replaceChildren(...(lines.length ? lines : ["No pair has been answered twice yet."])
    .map((text) => element("p", { textContent: text })));
}

const add = attempt(async () => {
  const [file] = $("file").files;
  if (!file) return;
  const report = await answerOf(await fetch(`answers/add?name=${encodeURIComponent(file.name)}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
  }));
  $("file").value = "";
  $("added").textContent = `${report.num_added} answers of ${file.name} were added, ${report.num_known} were `
    + `already here; people disagree on ${report.num_disagreements} pairs.`;
  await load();
});

const tellNotes = attempt(async () => {
  const { notes, left_out: names } = await get("notes");
  const count = names.length === 1 ? "One file was skipped:" : `${names.length.toLocaleString("en-GB")} files were skipped:`;
  $("notes").replaceChildren(...notes.map((note) => element("li", { textContent: note })));
  $("skipping").textContent = names.length ? count : "No file was skipped.";
  $("skipped").replaceChildren(...names.map((name) => element("li", { textContent: name })));
});

document.addEventListener("answers-changed", () => load());
tellNotes();
$("file").onchange = add;
$("answer").onchange = () => load();
$("text").oninput = () => load();
load();
