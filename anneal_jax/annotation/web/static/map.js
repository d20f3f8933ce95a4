// The map: the places of the archive's tiles, coloured by results, marks or groups.
import { attempt, element, get, tileUrl } from "./common.js";
import { TURN, drawBasemap, drawCoasts, drawGrid, extentOf, isInside, makePlane, onPlane } from "./atlas.js";
import { MARKS, openExport } from "./export.js";

const $ = (id) => document.getElementById(id);
const canvas = $("map");
const pen = canvas.getContext("2d");
const NEAR_PX = 22; // tiles at least this wide are shown as pictures
const MOST_PICTURES = 400;
const KEPT_PICTURES = 1500;
const STEP = 48;
const GROUPS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#8c6bb1", "#7f7f7f", "#a6761d"];
const MARK_COLOURS = { similar: "#009e73", dissimilar: "#d55e00", unsure: "#8c6bb1" };
const ACCENT = "#0072b2";

const map = { names: [], placed: null, plane: null, size: [0, 0], coasts: [], basemap: "", shown: true, view: null,
  asked: null, query: null, name: "", results: new Map(), marks: new Map(), groups: new Map(), chosen: null, listed: STEP, lasso: null, isLasso: false };

// The view: the point in the middle, and the number of pixels per unit of the plane.

const size = () => map.size;
const measure = () => { map.size = [canvas.clientWidth, canvas.clientHeight]; }; // a draw of many tiles asks for it often
const at = (x, y) => {
  const [width, height] = size();
  return [width / 2 + (x - map.view.x) * map.view.scale, height / 2 - (y - map.view.y) * map.view.scale];
};
const under = (left, top) => {
  const [width, height] = size();
  return [map.view.x + (left - width / 2) / map.view.scale, map.view.y - (top - height / 2) / map.view.scale];
};

function seen() {
  const [width, height] = size();
  const [[left, top], [right, bottom]] = [under(0, 0), under(width, height)];
  return [left, bottom, right, top];
}

function showWhole() {
  const [left, bottom, right, top] = extentOf(map.placed);
  const [width, height] = size();
  const room = Math.max(right - left, top - bottom) * 0.04 || 0.001;
  const scale = Math.min(width / (right - left + 2 * room), height / (top - bottom + 2 * room));
  map.view = { x: (left + right) / 2, y: (bottom + top) / 2, scale };
  moved();
}

function zoom(factor, [left, top] = size().map((side) => side / 2)) {
  const before = under(left, top);
  const least = map.plane.inDegrees ? Math.max(0.2, size()[0] / (2 * TURN)) : 0;
  map.view.scale = Math.max(least, Math.min(map.view.scale * factor, 1e7));
  const after = under(left, top);
  map.view.x += before[0] - after[0];
  map.view.y += before[1] - after[1];
  moved();
}

function pan(right, down) {
  map.view.x += right / map.view.scale;
  map.view.y -= down / map.view.scale;
  moved();
}

function moved() {
  if (map.plane.inDegrees) {
    while (map.view.x > 180 + TURN / 2) map.view.x -= TURN;
    while (map.view.x < -180 - TURN / 2) map.view.x += TURN;
    const edge = map.plane.y(90);
    map.view.y = Math.max(-edge, Math.min(edge, map.view.y));
  }
  draw();
  clearTimeout(moved.later);
  moved.later = setTimeout(list, 200);
}

// Every tile in view and its copy of the Earth; tiles drawn on top come last.

function inView() {
  const [left, bottom, right, top] = seen();
  const found = [];
  const { placed } = map;
  for (const turn of map.plane.turns) {
    for (let tile = 0, place = 0; place < placed.length; tile += 1, place += 4) {
      if (placed[place] + turn <= right && placed[place + 2] + turn >= left
        && placed[place + 1] <= top && placed[place + 3] >= bottom) found.push({ tile, turn });
    }
  }
  return found;
}

function frameOf({ tile, turn }) {
  const place = 4 * tile;
  const { placed, view: { x, y, scale } } = map; // as `at` has it, without an array for each corner
  const middle = map.size[0] / 2 + ((placed[place] + placed[place + 2]) / 2 + turn - x) * scale;
  const centre = map.size[1] / 2 - ((placed[place + 1] + placed[place + 3]) / 2 - y) * scale;
  const width = Math.max((placed[place + 2] - placed[place]) * scale, 3);
  const height = Math.max((placed[place + 3] - placed[place + 1]) * scale, 3);
  return [middle - width / 2, centre - height / 2, width, height];
}

// The colour of each tile.

function colourOf(tile, by) {
  if (by === "groups") {
    const group = map.groups.get(tile);
    return group === undefined ? null : GROUPS[Math.min(group, GROUPS.length - 1)];
  }
  if (by === "marks") return MARK_COLOURS[map.marks.get(tile)] ?? null;
  const result = map.results.get(tile);
  return result ? ramp(result.rank / Math.max(1, map.results.size - 1)) : null;
}

// From yellow, the most similar, to violet.
function ramp(share) {
  const stops = dark.matches ? [[253, 231, 37], [53, 183, 121], [80, 150, 200], [160, 130, 220]]
    : [[253, 231, 37], [53, 183, 121], [49, 104, 142], [68, 1, 84]];
  const place = Math.min(share, 0.999) * (stops.length - 1);
  const [from, to, part] = [stops[Math.floor(place)], stops[Math.floor(place) + 1], place % 1];
  return `rgb(${from.map((value, band) => Math.round(value + (to[band] - value) * part)).join(" ")})`;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const inks = () => (dark.matches
  ? { sea: "#182028", coast: "#64788a", line: "#3a4652", text: "#9aa5b1", tile: "#5d7388", ink: "#e3e8ed" }
  : { sea: "#eaf0f4", coast: "#8da0b0", line: "#c3ccd4", text: "#5b6570", tile: "#93a7b8", ink: "#1b1f24" });

function draw() {
  if (!draw.isDue) requestAnimationFrame(drawNow);
  draw.isDue = true;
}

function drawNow() {
  draw.isDue = false;
  const [width, height] = size();
  const dense = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    [canvas.width, canvas.height] = [Math.round(width * dense), Math.round(height * dense)];
  }
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  const ink = inks();
  pen.fillStyle = ink.sea;
  pen.fillRect(0, 0, width, height);
  const part = seen();
  if (map.basemap && map.plane.isMercator) drawBasemap(pen, map.basemap, pictureOf, at, part, map.view.scale);
  if (map.plane.inDegrees) {
    drawCoasts(pen, map.coasts, map.plane, at, ink.coast);
    drawGrid(pen, map.plane, at, part, [width, height], ink);
  }
  drawTiles(ink);
  if (map.lasso) drawOutline(map.lasso, ink.ink);
}

function drawTiles(ink) {
  const tiles = inView();
  const isNear = map.shown && tiles.length <= MOST_PICTURES;
  const by = $("colours").value;
  const isPlain = map.results.size > 0 || by !== "results";
  const above = tiles.filter(({ tile }) => weight(tile)).sort((one, other) => weight(one.tile) - weight(other.tile));
  for (const shown of [...tiles.filter(({ tile }) => !weight(tile)), ...above]) {
    const [{ tile }, [x, y, wide, high]] = [shown, frameOf(shown)];
    const colour = colourOf(tile, by);
    const isChosen = !map.chosen || map.chosen.has(tile);
    const picture = isNear && wide >= NEAR_PX ? pictureOf(tileUrl(tile)) : null;
    pen.globalAlpha = (isChosen ? 1 : 0.25) * (!colour && isPlain && !picture ? 0.55 : 1);
    if (picture) pen.drawImage(picture, x, y, wide, high);
    else {
      pen.fillStyle = colour || ink.tile;
      const grown = colour ? Math.max(0, (6 - wide) / 2) : 0; // keeps a result visible when zoomed out
      pen.fillRect(x - grown, y - grown, wide + 2 * grown, high + 2 * grown);
    }
    if (colour && wide >= 8) {
      pen.strokeStyle = colour;
      pen.lineWidth = picture ? 4 : 2;
      pen.strokeRect(x, y, wide, high);
    }
    if (tile === map.query) drawStar(x + wide / 2, y + high / 2, ink);
  }
  pen.globalAlpha = 1;
}

const weight = (tile) => {
  if (tile === map.query) return 2e9;
  const result = map.results.get(tile);
  if (result) return 1e9 - result.rank;
  if (map.marks.has(tile)) return 2;
  return map.groups.has(tile) ? 1 : 0;
};

function drawStar(x, y, ink) {
  pen.globalAlpha = 1;
  pen.beginPath();
  for (let corner = 0; corner < 10; corner += 1) {
    const [radius, angle] = [corner % 2 ? 4 : 10, corner * Math.PI / 5 - Math.PI / 2];
    pen.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
  }
  pen.closePath();
  pen.fillStyle = ink.ink;
  pen.strokeStyle = ink.sea;
  pen.lineWidth = 1.5;
  pen.fill();
  pen.stroke();
}

function drawOutline(outline, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.setLineDash([6, 4]);
  pen.beginPath();
  for (const [x, y] of outline) pen.lineTo(...at(x, y));
  pen.closePath();
  pen.stroke();
  pen.setLineDash([]);
}

// Pictures load while the map is shown; the most recent ones are kept.

const pictures = new Map();

function pictureOf(address) {
  let picture = pictures.get(address);
  if (!picture) {
    picture = element("img", { src: address, onload: () => draw() });
    pictures.set(address, picture);
    if (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
  }
  return picture.complete && picture.naturalWidth ? picture : null;
}

// Search by what is in the address: `tile=7`, or a file as the search page has it, `dropped=KEY` or `file=3`.

const queryOf = (asked) => ["tile", "dropped", "file"].filter((kind) => asked.has(kind)).map((kind) => ({ [kind]: asked.get(kind) }))[0];

const search = attempt(async (query) => {
  const asked = `search/results?${new URLSearchParams({ ...query, count: $("count").value })}`;
  search.last = asked;
  const { results, marks, name: found } = await get(asked);
  if (search.last !== asked) return;
  const name = found ?? (query.file ? `File ${query.file}` : "your file");
  Object.assign(map, { asked: query, query: query.tile === undefined ? null : Number(query.tile), name });
  map.results = new Map(results.map((row, rank) => [row.tile, { ...row, rank }]));
  map.marks = new Map(marks.map((mark) => [mark.tile, mark.known]));
  const address = new URLSearchParams(query);
  $("asked").replaceChildren("Most similar to ", element("b", { textContent: name }), "; ",
    element("a", { href: `./#${address}`, textContent: "mark them on the search page" }));
  history.replaceState(null, "", `?${address}`);
  explain();
  list();
  draw();
});

function explain() {
  const by = $("colours").value;
  const rows = by === "results" ? (map.results.size ? [[ramp(0), "most similar"], [ramp(1), `number ${map.results.size}`]] : [])
    : by === "marks" ? Object.entries(MARKS).map(([known, text]) => [MARK_COLOURS[known], text])
      : [...map.firsts].slice(0, GROUPS.length).map((tile, place) => [GROUPS[place],
        place === GROUPS.length - 1 && map.firsts.length > GROUPS.length ? "smaller groups" : `like ${map.names[tile]}`]);
  $("legend").replaceChildren(...rows.map(([colour, text]) => element("li", {}, swatch(colour), text)));
  if (by === "marks" && !map.asked) $("legend").replaceChildren(element("li", { textContent: "Choose a tile: marks are of its results." }));
  if (by === "groups" && !map.firsts.length) $("legend").replaceChildren(element("li", { textContent: "No answers join tiles into groups yet." }));
}

function swatch(colour) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", 12], ["height", 12]]) made.setAttribute(name, value);
  for (const [name, value] of [["width", 12], ["height", 12], ["rx", 2], ["fill", colour]]) square.setAttribute(name, value);
  made.append(square);
  return made;
}

// The list: what the map shows, for keyboards and screen readers, results first.

function wanted() {
  const has = (tile) => !map.chosen || map.chosen.has(tile);
  if (map.results.size) return [...map.results.keys()].filter((tile) => has(tile) && isPlaced(tile));
  return map.names.map((_, tile) => tile).filter((tile) => has(tile) && isPlaced(tile));
}

const isPlaced = (tile) => !Number.isNaN(map.placed[4 * tile]);

function list() {
  const here = new Set(inView().map(({ tile }) => tile));
  const tiles = wanted().filter((tile) => here.has(tile));
  const what = map.results.size ? "result" : "tile";
  const where = map.chosen ? "chosen and in view" : "in view";
  $("listed").textContent = `${tiles.length.toLocaleString("en-GB")} ${what}${tiles.length === 1 ? "" : "s"} ${where}`;
  $("tiles").replaceChildren(...tiles.slice(0, map.listed).map((tile) => {
    const score = map.results.get(tile)?.similarity;
    const mark = MARKS[map.marks.get(tile)];
    const name = mark ? `${map.names[tile]}, ${mark}` : map.names[tile];
    return element("button", { title: `search by ${name}`, onclick: () => search({ tile }) },
      element("img", { src: tileUrl(tile), alt: "", loading: "lazy" }),
      element("span", { textContent: score === undefined ? name : `${score.toFixed(2)} ${name}` }));
  }));
  $("more").hidden = tiles.length <= map.listed;
  canvas.setAttribute("aria-label", `Map with ${here.size} tiles in view`);
}

function choose(tiles) {
  map.chosen = tiles;
  map.listed = STEP;
  $("clear").hidden = !tiles;
  list();
  draw();
}

function setLasso(isOn) {
  map.isLasso = isOn;
  map.lasso = null;
  $("lasso").setAttribute("aria-pressed", isOn);
  canvas.classList.toggle("lasso", isOn);
  draw();
}

function inOutline(outline) {
  const found = new Set();
  const [lefts, ups] = [outline.map(([x]) => x), outline.map(([, y]) => y)];
  const [left, right, bottom, top] = [Math.min(...lefts), Math.max(...lefts), Math.min(...ups), Math.max(...ups)];
  const { placed } = map;
  for (const turn of map.plane.turns) {
    for (let tile = 0, place = 0; place < placed.length; tile += 1, place += 4) {
      const [x, y] = [(placed[place] + placed[place + 2]) / 2 + turn, (placed[place + 1] + placed[place + 3]) / 2];
      if (x >= left && x <= right && y >= bottom && y <= top && isInside([x, y], outline)) found.add(tile);
    }
  }
  return found;
}

// The smallest tile at a point, or else the nearest one within 8 pixels.
function tileAt([left, top]) {
  let [best, least] = [null, Infinity];
  for (const shown of inView()) {
    const [x, y, wide, high] = frameOf(shown);
    const away = Math.hypot(Math.max(x - left, 0, left - x - wide), Math.max(y - top, 0, top - y - high));
    const rank = (away > 0 ? 1e6 * away : wide * high) - (map.results.has(shown.tile) ? 0.5 : 0);
    if (away <= 8 && rank < least) [best, least] = [shown.tile, rank];
  }
  return best;
}

// Pointers: one drags the map or draws the lasso, two zoom.

const pointers = new Map();
let travelled = 0;

const point = (event) => [event.offsetX, event.offsetY];
canvas.onpointerdown = (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, point(event));
  travelled = 0;
  if (map.isLasso) map.lasso = [under(...point(event))];
};
canvas.onpointermove = (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) {
    const tile = tileAt(point(event));
    $("tip").hidden = tile === null;
    $("tip").textContent = tile === null ? "" : map.names[tile];
    return;
  }
  const now = point(event);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
  pointers.set(event.pointerId, now);
  if (other) {
    const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
    zoom(apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  } else if (map.isLasso && map.lasso) {
    map.lasso.push(under(...now));
    draw();
  } else pan(before[0] - now[0], before[1] - now[1]);
};
canvas.onpointerup = (event) => {
  pointers.delete(event.pointerId);
  if (map.isLasso && map.lasso) {
    const outline = map.lasso;
    setLasso(false);
    if (outline.length > 2) choose(inOutline(outline));
    return;
  }
  const tile = travelled < 6 ? tileAt(point(event)) : null;
  if (tile !== null) search({ tile });
};
canvas.onpointercancel = (event) => pointers.delete(event.pointerId);
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(1.0015 ** -Math.max(-400, Math.min(400, event.deltaY)), point(event));
}, { passive: false });

const KEYS = { ArrowLeft: () => pan(-60, 0), ArrowRight: () => pan(60, 0), ArrowUp: () => pan(0, -60), ArrowDown: () => pan(0, 60),
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: showWhole, l: () => setLasso(!map.isLasso),
  Escape: () => (map.isLasso ? setLasso(false) : choose(null)) };
canvas.onkeydown = (event) => {
  const does = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  does();
};

$("in").onclick = () => zoom(1.5);
$("out").onclick = () => zoom(1 / 1.5);
$("whole").onclick = showWhole;
$("lasso").onclick = () => setLasso(!map.isLasso);
$("view").onclick = () => choose(new Set(inView().map(({ tile }) => tile)));
$("clear").onclick = () => choose(null);
$("colours").onchange = () => {
  explain();
  draw();
};
$("count").onchange = () => map.asked && search(map.asked);
$("more").onclick = () => {
  map.listed += 2 * STEP;
  list();
};
$("export").onclick = attempt(async () => {
  const rows = wanted().map((tile) => {
    const result = map.results.get(tile);
    return { tile, similarity: result ? result.similarity : null, mark: MARKS[map.marks.get(tile)] ?? null };
  });
  if (!rows.length) throw new Error("There is nothing to export: no tile is chosen.");
  await openExport({ tile: map.query, name: map.asked ? map.name : "map", rows });
});
dark.addEventListener("change", () => {
  explain();
  draw();
});
new ResizeObserver(() => {
  measure();
  if (map.view) draw();
}).observe(canvas);

attempt(async () => {
  const [about, boxes, coasts, { groups }] = await Promise.all([
    get("map/tiles"), fetch("map/boxes").then((response) => response.arrayBuffer()), get("static/coast.json"), get("map/groups"),
  ]);
  $("none").hidden = about.num_placed > 0;
  $("atlas").hidden = about.num_placed === 0;
  if (!about.num_placed) return;
  map.names = about.names;
  map.shown = about.shows_tiles;
  map.basemap = about.basemap_url;
  map.coasts = coasts.lines;
  map.firsts = groups.map(([first]) => first);
  groups.forEach((tiles, group) => tiles.forEach((tile) => map.groups.set(tile, group)));
  const degrees = new Float64Array(boxes);
  map.plane = makePlane(degrees, about.in_degrees, Boolean(about.basemap_url));
  map.placed = onPlane(degrees, map.plane);
  measure();
  showWhole();
  explain();
  const query = queryOf(new URLSearchParams(location.search));
  if (query) await search(query);
})();
