// Tiles as large as the window, in a dialog: by the key + on a tile, or a long press.
import { element } from "./common.js";

const LONG_PRESS_MS = 500;
const MOVED_PX = 10;

// Pictures are { src, name }. The focus goes back to where it was when the dialog closes.
export function enlarge(pictures) {
  const dialog = element("dialog", { className: "enlarged", ariaLabel: `Enlarged: ${pictures.map(({ name }) => name).join(", ")}`,
    onclick: () => dialog.close() },
  element("div", { className: `pictures of${Math.min(pictures.length, 3)}` }, ...pictures.map(({ src, name }) =>
    element("figure", {}, element("img", { src, alt: name, draggable: false }), element("figcaption", { textContent: name })))),
  element("button", { className: "answer", textContent: "Close" }));
  dialog.addEventListener("keydown", (event) => { if ("+=-".includes(event.key)) dialog.close(); });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// Whoever holds a tile of `grid` enlarges it, and the click that follows does nothing else.
export function enlargeOnLongPress(grid, selector, picturesOf) {
  let press = { timer: 0, isLong: false };
  grid.addEventListener("pointerdown", (event) => {
    const item = event.target.closest(selector);
    clearTimeout(press.timer);
    press = { isLong: false, left: event.clientX, top: event.clientY };
    const mayDrag = item?.draggable && event.pointerType === "mouse";
    if (!item || mayDrag || !event.isPrimary || event.button) return;
    const own = press;
    own.timer = setTimeout(() => {
      own.isLong = true;
      enlarge(picturesOf(item));
    }, LONG_PRESS_MS);
  });
  grid.addEventListener("pointermove", (event) => {
    if (Math.hypot(event.clientX - press.left, event.clientY - press.top) > MOVED_PX) clearTimeout(press.timer);
  });
  for (const kind of ["pointerup", "pointercancel", "dragstart"]) grid.addEventListener(kind, () => clearTimeout(press.timer));
  grid.addEventListener("click", (event) => {
    if (!press.isLong || event.detail === 0) return; // a key clicks as well
    press.isLong = false;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  grid.addEventListener("contextmenu", (event) => { if (press.isLong || event.pointerType === "touch") event.preventDefault(); });
}
