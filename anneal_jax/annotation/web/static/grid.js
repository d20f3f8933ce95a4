// A grid of tiles that fills what is left of the window, and arrows that move the focus over it.

const GAP_PX = 8;
const LEAST_SIDE = 0.8; // of the width aimed at

// How many tiles fit below the top of `grid` without scrolling; the width of each follows, and is set as a style.
// `side` is the width aimed at, and `below` the height of what stands under each picture, both in CSS pixels. One
// column more or less is taken where that leaves less of the window empty.
export function fit(grid, { side, below, bottom = 12, fewestRows = 2 }) {
  const width = grid.clientWidth + GAP_PX;
  const height = window.innerHeight - (grid.getBoundingClientRect().top + window.scrollY) - bottom + GAP_PX;
  const aim = Math.max(2, Math.round(width / (side + GAP_PX)));
  const layouts = [aim - 1, aim, aim + 1].filter((columns) => columns > 1).map((columns) => {
    const tile = width / columns - GAP_PX;
    const rows = Math.max(fewestRows, Math.floor(height / (tile + below + GAP_PX)));
    return { columns, rows, tile, filled: (rows * (tile + below + GAP_PX)) / height };
  }).filter(({ columns, tile }) => columns === aim || tile > LEAST_SIDE * side);
  const [best] = layouts.toSorted((one, other) => wasted(one) - wasted(other));
  grid.style.setProperty("--columns", best.columns);
  return { columns: best.columns, count: best.columns * best.rows };
}

// What is left empty; what does not fit is worse.
const wasted = ({ filled }) => (filled > 1 ? 2 * filled : 1 - filled);

// Of all that can be focused in a grid one is a stop of Tab; arrows move from there. `leave(step)` is called where
// an arrow leads out of the page, with -1 or 1, and may show another one.
export function rove(grid, selector, leave) {
  const items = () => [...grid.querySelectorAll(selector)];
  grid.addEventListener("focusin", (event) => {
    const item = event.target.closest(selector);
    if (item) settle(items(), item);
  });
  grid.addEventListener("keydown", (event) => {
    const columns = Number(grid.style.getPropertyValue("--columns")) || 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const here = items().indexOf(event.target.closest(selector));
    if (!step || here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = items()[here + step];
    if (next) next.focus();
    else leave(Math.sign(step));
  });
}

// Focus the item at a place, or the last one before it; `quietly` makes it the stop of Tab alone.
export function focusAt(grid, selector, place, { quietly = false } = {}) {
  const items = [...grid.querySelectorAll(selector)];
  const item = items[Math.min(place, items.length - 1)];
  if (!item) return;
  settle(items, item);
  if (!quietly) item.focus({ preventScroll: false });
}

function settle(items, item) {
  for (const other of items) other.tabIndex = other === item ? 0 : -1;
}
