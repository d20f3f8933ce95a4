// A grid of tiles that fills the rest of the window, and arrow keys that move the focus in it.

const GAP_PX = 8;
const LEAST_SIDE = 0.8; // minimum side as a share of the target width

// How many tiles fit below the top of `grid` without scrolling; their width is set as a style. `side` is the target
// width, and `below` the height of the text under each picture, both in CSS pixels. The grid uses one column more or
// less if that leaves less of the window empty.
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

// The empty share of the window; exceeding the window counts as worse.
const wasted = ({ filled }) => (filled > 1 ? 2 * filled : 1 - filled);

// One item of a grid is a Tab stop, and arrow keys move the focus from there. When an arrow leads out of the page,
// `leave(step)` is called with -1 or 1, and may show another page.
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

// Focus the item at a place, or the last one before it; `quietly` only makes it the Tab stop.
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
