// Contradictions, in a panel next to the page: which answer is wrong? The page remains usable.
import { act } from "./acting.js";
import { attempt, element, get, inWords, randomKey, tileUrl } from "./common.js";

const OPPOSITE = { similar: "dissimilar", dissimilar: "similar" };
const ZOOM = 2.5;

let panel = null;
let shown = null; // the contradiction in the panel
let opener = null;

const button = () => document.getElementById("contradictions") || document.querySelector(".bar").appendChild(
  element("button", { id: "contradictions", className: "alert in-bar", hidden: true }));

// Shows how many there are. The panel only opens on request, because a page must not move under the pointer.
export function noteContradictions({ num_contradictions: count }) {
  const alert = button();
  alert.hidden = !count;
  alert.textContent = `⚠ ${count}`;
  alert.title = "Answers that contradict each other";
  alert.ariaLabel = count === 1 ? "1 contradiction" : `${count} contradictions`;
  alert.ariaKeyShortcuts = "x";
  alert.onclick = openContradictions;
  if (panel && !panel.hidden && (!count || !shown)) next(0);
}

export const openContradictions = attempt(async () => {
  opener = document.activeElement;
  panel ??= document.body.appendChild(element("aside", { className: "contradiction", id: "contradiction",
    ariaLabel: "Contradictions", onkeydown: keys }));
  await next(0);
});

const next = attempt(async (after) => {
  const { conflict } = await get(`contradiction?after=${after}`);
  shown = conflict;
  if (!conflict) return close();
  panel.replaceChildren(...content(conflict));
  panel.hidden = false;
  document.body.classList.add("beside");
  panel.querySelector("li button").focus({ preventScroll: true });
  panel.scrollTop = 0;
});

function close() {
  if (!panel) return;
  const hadFocus = panel.contains(document.activeElement);
  panel.hidden = true;
  shown = null;
  document.body.classList.remove("beside");
  if (hadFocus && opener && opener.isConnected) opener.focus();
}

function content({ answer_id, place, count, chain }) {
  return [
    element("header", {},
      element("h2", { textContent: count === 1 ? "A contradiction" : `Contradiction ${place + 1} of ${count}` }),
      element("button", { className: "quiet", textContent: "✕", ariaLabel: "Close", onclick: close })),
    element("p", { className: "hint", textContent: `These ${chain.length} answers cannot all be right. `
      + "The answer most likely to be wrong comes first. Click a picture to enlarge it." }),
    element("ol", {}, ...chain.map(card)),
    element("p", { className: "foot" },
      element("button", { className: "answer", ariaKeyShortcuts: "l", onclick: () => later(answer_id, count) },
        "Decide later", element("kbd", { textContent: "L" }))),
  ];
}

function card(said, place) {
  const pictures = [said.first, said.second].map((tile, side) => element("button", { className: "frame", ariaLabel:
    `Enlarge ${said.names[side]}`, onclick: zoom }, element("img", { src: tileUrl(tile), alt: said.names[side], draggable: false })));
  const when = new Date(said.answered_at).toLocaleString("en-GB");
  const made = element("li", {},
    element("div", { className: "two" }, ...pictures),
    element("p", {}, element("span", { className: `word ${said.answer}`, textContent: inWords(said.answer) }),
      element("small", { textContent: `${place ? "" : "Most likely wrong. "}By ${said.annotator}, ${when}` })),
    element("p", { className: "choices" },
      choice(said, "correct", { answer: OPPOSITE[said.answer] }, `Make it ${inWords(OPPOSITE[said.answer])}`, "M"),
      choice(said, "retract", {}, "Take it back", "T")));
  made.dataset.answer = said.answer_id;
  return made;
}

function choice(said, path, more, text, letter) {
  const body = { answer_id: said.answer_id, key: randomKey(), ...more };
  const names = said.names.join(" and ");
  return element("button", { className: "answer small", ariaKeyShortcuts: letter.toLowerCase(), ariaLabel: `${text}: ${names}`,
    onclick: attempt(async () => {
      const { set_id } = await get("state");
      await act(path, { ...body, set_id });
      await next(0);
    }) }, text, element("kbd", { textContent: letter }));
}

function later(answer_id, count) {
  if (count === 1) close();
  else next(answer_id);
}

// Zooms both pictures of an answer at the point of the click.
function zoom(event) {
  const [frame, pair] = [event.currentTarget, event.currentTarget.parentElement];
  const box = frame.getBoundingClientRect();
  const isByKey = event.detail === 0;
  const across = isByKey ? 50 : ((event.clientX - box.left) / box.width) * 100;
  const down = isByKey ? 50 : ((event.clientY - box.top) / box.height) * 100;
  const isZoomed = pair.classList.toggle("zoomed");
  for (const image of pair.querySelectorAll("img")) {
    image.style.setProperty("--zoom", isZoomed ? ZOOM : 1);
    image.style.setProperty("--at", `${across}% ${down}%`);
  }
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const [cards, here] = [[...panel.querySelectorAll("li")], event.target.closest("li")];
  const go = (step) => cards[Math.max(0, Math.min(cards.length - 1, cards.indexOf(here) + step))].querySelector("button").focus();
  const press = (path) => (here || cards[0]).querySelector(`[aria-keyshortcuts="${path}"]`).click();
  const deeds = { arrowdown: () => go(1), arrowup: () => go(-1), m: () => press("m"), t: () => press("t"),
    l: () => later(shown.answer_id, shown.count), escape: close, "+": () => (here || cards[0]).querySelector(".frame").click() };
  const deed = deeds[event.key.toLowerCase()];
  if (!deed) return; // S, D, U and Z still answer the question on the page
  event.preventDefault();
  event.stopPropagation();
  deed();
}

document.addEventListener("keydown", (event) => {
  const isText = event.target.matches("input, select, textarea");
  if (event.key.toLowerCase() !== "x" || event.repeat || event.ctrlKey || event.metaKey || event.altKey || isText) return;
  if (!button().hidden && !document.querySelector("dialog[open]")) openContradictions();
});
