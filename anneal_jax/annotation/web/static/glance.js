// A choice or a grid on the screen: the tile in question, and the others as buttons.
import { element, tileUrl } from "./common.js";

const NAMES = "123456789abc"; // the key of each place

// Show a question in `subject` (an image) and `others`; `pick(place)` is called when a place is chosen.
export function drawGlance(question, subject, others, pick) {
  subject.src = tileUrl(question.subject);
  const isGrid = question.kind === "grid";
  others.className = `others for-glance show-${question.kind} of${question.others.length}`;
  others.replaceChildren(...question.others.map((tile, place) => {
    const label = isGrid ? `tile ${NAMES[place]}` : `group ${NAMES[place]}`;
    const button = element("button", { className: "other", type: "button", onclick: () => pick(place) },
      element("span", { className: "pictures" }, ...[tile, ...question.members[place] || []].map((shown) =>
        element("img", { src: tileUrl(shown), alt: "", draggable: false }))),
      element("kbd", { textContent: NAMES[place] }));
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-keyshortcuts", `${NAMES[place]} +`);
    if (isGrid) button.setAttribute("aria-pressed", "false");
    return button;
  }));
  return [subject, ...others.querySelectorAll("img")];
}

// A tile or a group of those shown next to the subject, for enlarging; by default the subject alone.
export function picturesOf(stage, other) {
  const named = (image, name) => ({ src: image.src, name });
  const subject = named(stage.querySelector(".subject img"), "the first tile");
  if (!other) return [subject];
  const label = other.getAttribute("aria-label").split(",")[0];
  return [subject, ...Array.from(other.querySelectorAll("img"), (image) => named(image, label))];
}

// The place that a key names among so many; -1 if it names none.
export function placeOfKey(key, count) {
  const place = NAMES.indexOf(key);
  return key.length === 1 && place < count ? place : -1;
}

export function isMarked(others, place) {
  return others.children[place].getAttribute("aria-pressed") === "true";
}

export function toggle(others, place) {
  others.children[place].setAttribute("aria-pressed", String(!isMarked(others, place)));
}

export function marked(others) {
  return Array.from(others.children, (_, place) => place).filter((place) => isMarked(others, place));
}

// Move the focus between tiles by their position on the screen.
export function moveFocus(others, key) {
  const buttons = [...others.children];
  const here = buttons.indexOf(document.activeElement);
  if (here < 0) {
    buttons[0].focus();
    return;
  }
  const columns = buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
  const step = { arrowleft: -1, arrowright: 1, arrowup: -columns, arrowdown: columns }[key];
  const next = buttons[here + step];
  if (next) next.focus();
}
