// The wall of groups: choose tiles and move them to another group, with a pointer, with keys or from a list.
import { act } from "./acting.js";
import { attempt, element, get, post, randomKey, tileUrl } from "./common.js";
import { noteContradictions } from "./contradictions.js";
import { enlarge, enlargeOnLongPress } from "./enlarge.js";
import { openSets } from "./sets.js";

const $ = (id) => document.getElementById(id);
const MOST_CHOSEN = 1000;
const PAGE = 20;
const MANY = 200; // groups, at most, that one request brings

const state = { setId: 0, groups: [], count: PAGE, chosen: new Map(), wanted: null, named: [], isActing: false };
const number = (value) => value.toLocaleString("en-GB");
const many = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

// Display.

const load = attempt(async () => {
  const [wall, view] = await Promise.all([fetchWall(), get("state")]);
  if (state.setId !== wall.set_id) choose([]);
  Object.assign(state, { setId: wall.set_id, groups: wall.groups, numGroups: wall.num_groups });
  $("sentence").textContent = wall.sentence;
  $("facts").textContent = wall.num_groups
    ? `Your answers form ${many(wall.num_groups, "group")} of ${many(wall.num_grouped, "tile")}, largest first.`
    : "No answer calls two tiles similar yet. Groups appear here as you teach.";
  const held = document.activeElement.dataset.id; // redrawing the wall must not lose the focus
  $("wall").replaceChildren(...wall.groups.map(section));
  $("more").hidden = wall.groups.length >= wall.num_groups;
  $("alone").hidden = !wall.num_alone;
  if (wall.num_alone) await fillAlone(0);
  noteContradictions(view);
  showChosen();
  if (held) focusOn(document.querySelector(`.one[data-id="${held}"]`) || document.querySelector(".one"));
});

// The first groups of the wall, in pages as long as one request may ask for.
async function fetchWall() {
  const page = (offset) => get(`groups/wall?offset=${offset}&count=${Math.min(MANY, state.count - offset)}`);
  const wall = await page(0);
  while (wall.groups.length < Math.min(state.count, wall.num_groups)) {
    const { groups } = await page(wall.groups.length);
    if (!groups.length) break; // some went meanwhile
    wall.groups.push(...groups);
  }
  return wall;
}

// The page's own acts wait for the wall; those of panels let it follow.
async function acting(path, body) {
  state.isActing = true;
  try {
    return await act(path, { set_id: state.setId, key: randomKey(), ...body });
  } finally {
    state.isActing = false;
  }
}

function section(group) {
  const title = `Group ${group.number}`;
  const made = element("section", { className: "group", ariaLabel: `${title}, ${many(group.size, "tile")}` },
    element("header", {},
      element("h2", {}, title, element("small", { textContent: many(group.size, "tile") })),
      quiet("Choose all", `Choose all tiles of ${title}`, () => chooseAll(group)),
      quiet("Merge with …", `Merge ${title} with another group`, () => ask({ act: "merge", tiles: [group.tile], what: title }))),
    element("div", { className: "tiles", role: "listbox", ariaLabel: `${title}, tiles` }, ...group.tiles.map(tile)));
  made.dataset.tile = group.tile;
  made.querySelector(".tiles").ariaMultiSelectable = "true";
  if (group.size > group.tiles.length) {
    made.append(quiet(`Show all ${number(group.size)}`, `Show all tiles of ${title}`, (event) => open(made, event.currentTarget, 0)));
  }
  if (group.likely.length) {
    const more = group.num_likely > group.likely.length ? `, ${number(group.num_likely)} tiles` : "";
    made.append(element("h3", { textContent: `Likely here${more}` }),
      element("p", { className: "hint", textContent: "Nobody was asked about these. Choose the right ones, then add them here." }),
      element("div", { className: "tiles likely", role: "listbox", ariaLabel: `Likely in ${title}`, ariaMultiSelectable: "true" },
        ...group.likely.map(tile)),
      quiet("Add the chosen tiles here", `Move the chosen tiles to ${title}`, () => ask({ into: group.tile })));
  }
  accept(made, group.tile);
  return made;
}

function quiet(text, label, onclick) {
  return element("button", { className: "answer small", textContent: text, ariaLabel: label, onclick });
}

function tile({ tile: id, name }) {
  const made = element("div", { className: "one", role: "option", tabIndex: -1, ariaLabel: name, title: name, draggable: true,
    ariaSelected: String(state.chosen.has(id)) }, element("img", { src: tileUrl(id), alt: "", loading: "lazy", draggable: false }));
  made.dataset.id = id;
  return made;
}

const open = attempt(async (made, button, offset) => {
  const group = await get(`groups/of/${made.dataset.tile}?offset=${offset}`);
  const tiles = made.querySelector(".tiles");
  if (!offset) tiles.replaceChildren();
  tiles.append(...group.tiles.map(tile));
  const shown = tiles.children.length;
  button.hidden = shown >= group.size;
  button.textContent = `Show more (${number(shown)} of ${number(group.size)})`;
  button.onclick = () => open(made, button, shown);
  showChosen();
});

async function fillAlone(offset) {
  const page = await get(`groups/alone?offset=${offset}`);
  const [tiles, button] = [$("alone").querySelector(".tiles"), $("alone").querySelector(":scope > button")];
  Object.assign(tiles, { role: "listbox", ariaLabel: "Tiles in no group", ariaMultiSelectable: "true" });
  if (!offset) tiles.replaceChildren();
  tiles.append(...page.tiles.map(tile));
  button.hidden = tiles.children.length >= page.num_alone;
  button.onclick = attempt(() => fillAlone(tiles.children.length));
}

// Choosing.

function choose(rows) {
  state.chosen = new Map(rows);
  showChosen();
}

function toggle(one) {
  const id = Number(one.dataset.id);
  if (!state.chosen.delete(id)) state.chosen.set(id, one.title);
  showChosen();
}

const chooseAll = attempt(async (group) => {
  const found = new Map(state.chosen);
  for (let offset = 0; offset < Math.min(group.size, MOST_CHOSEN); ) {
    const { tiles } = await get(`groups/of/${group.tile}?offset=${offset}`);
    for (const row of tiles) found.set(row.tile, row.name);
    offset += tiles.length;
    if (!tiles.length) break;
  }
  choose(found);
});

function showChosen() {
  const count = state.chosen.size;
  $("chosen").textContent = count ? `${many(count, "tile")} chosen` : "No tile chosen";
  for (const one of document.querySelectorAll(".one")) one.ariaSelected = String(state.chosen.has(Number(one.dataset.id)));
  for (const name of ["move", "split", "clear"]) $(name).disabled = !count;
  const tiles = [...document.querySelectorAll(".one")];
  if (tiles.length && !tiles.some((one) => one.tabIndex === 0)) tiles[0].tabIndex = 0;
}

function focusOn(one) {
  if (!one) return;
  for (const other of document.querySelectorAll('.one[tabindex="0"]')) other.tabIndex = -1;
  one.tabIndex = 0;
  one.focus();
  one.scrollIntoView({ block: "nearest" });
}

// The tile above or below is the one in the next row whose centre is nearest.
function beside(one, way) {
  const tiles = [...document.querySelectorAll(".one")];
  if (way === "arrowleft" || way === "arrowright") return tiles[tiles.indexOf(one) + (way === "arrowright" ? 1 : -1)];
  const [box, sign] = [one.getBoundingClientRect(), way === "arrowdown" ? 1 : -1];
  const rows = tiles.map((other) => [other, other.getBoundingClientRect()])
    .filter(([, at]) => sign * (at.top - box.top) > box.height / 2);
  const nearest = Math.min(...rows.map(([, at]) => sign * at.top));
  const row = rows.filter(([, at]) => Math.abs(sign * at.top - nearest) < box.height / 2);
  return row.sort(([, first], [, second]) => Math.abs(first.left - box.left) - Math.abs(second.left - box.left))[0]?.[0];
}

// Acts: each first shows what it will store.

const ask = attempt(async (wanted) => {
  if (state.chosen.size > MOST_CHOSEN) throw new Error(`At most ${number(MOST_CHOSEN)} tiles can be moved at once.`);
  const tiles = wanted.tiles || [...state.chosen.keys()];
  if (!tiles.length) throw new Error("Choose some tiles first.");
  const what = wanted.what || many(tiles.length, "tile");
  state.wanted = { act: "move", into: null, isNew: false, ...wanted, tiles, what };
  $("asked").textContent = state.wanted.isNew ? `Make a group of ${what}`
    : wanted.act === "merge" ? `Merge ${what} with which group?` : `Move ${what} to which group?`;
  $("doit").textContent = wanted.act === "merge" ? "Merge" : state.wanted.isNew ? "Make the group" : "Move";
  $("groups").hidden = state.wanted.isNew;
  $("others").hidden = true;
  $("groups").replaceChildren($("groups").firstElementChild);
  state.named = [];
  if (!state.wanted.isNew) await offerTargets();
  await preview();
  $("target").returnValue = "";
  if (!$("target").open) $("target").showModal();
  ($("groups").querySelector("input:checked") && !wanted.into ? $("groups").querySelector("input:checked") : $("doit")).focus();
});

const offerTargets = attempt(async () => {
  const page = await get(`groups/wall?shown=0&count=${MANY}&offset=${state.named.length}`);
  state.named.push(...page.groups);
  const isMerged = (group) => state.wanted.act === "merge" && group.tile === state.wanted.tiles[0];
  $("groups").append(...page.groups.filter((group) => !isMerged(group)).map(target));
  $("others").hidden = state.named.length >= page.num_groups;
});

function target(group) {
  const input = element("input", { type: "radio", name: "into", value: group.tile, checked: group.tile === state.wanted.into });
  input.onchange = () => { state.wanted.into = group.tile; preview(); };
  return element("label", {}, input, element("img", { src: tileUrl(group.tile), alt: "", loading: "lazy" }),
    element("span", {}, `Group ${group.number}`, element("small", { textContent: `${many(group.size, "tile")}, as ${group.name}` })));
}

async function preview() {
  const { act: deed, tiles, into, isNew } = state.wanted;
  $("doit").disabled = into === null && !isNew;
  $("preview").textContent = $("doit").disabled ? "Choose a group." : "…";
  if ($("doit").disabled) return;
  try {
    $("preview").textContent = counted(await post("groups/preview", { act: deed, tiles, into }), "Stores", "retracts");
  } catch (error) {
    $("doit").disabled = true;
    $("preview").textContent = error.message;
  }
}

function counted({ num_given: given, num_taken_back: back }, stores, takes) {
  const taken = back ? `, and ${takes} ${number(back)} that ${back === 1 ? "disagrees" : "disagree"}` : "";
  return `${stores} ${many(given, "answer")}${taken}.`;
}

$("target").addEventListener("close", attempt(async () => {
  if ($("target").returnValue !== "do" || !state.wanted) return;
  const { act: deed, tiles, into, what } = state.wanted;
  state.wanted = null;
  const stored = $("preview").textContent;
  await acting("groups/act", { act: deed, tiles, into });
  const first = tiles[0];
  choose([]);
  await load();
  $("said").textContent = `${what} ${deed === "merge" ? "merged" : "moved"}. ${stored} Undo with Z.`;
  focusOn(document.querySelector(`.one[data-id="${first}"]`) || document.querySelector(".one"));
}));

const undo = attempt(async () => {
  const view = await acting("undo", {});
  await load();
  $("said").textContent = view.undone ? "Undone." : "You have nothing left to undo.";
});

// Pointers: a click chooses a tile, a double click enlarges it, a drag offers to move it to the group it ends on.

function accept(made, id) {
  made.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("text/anneal")) return;
    event.preventDefault();
    made.classList.add("over");
  });
  made.addEventListener("dragleave", (event) => { if (!made.contains(event.relatedTarget)) made.classList.remove("over"); });
  made.addEventListener("drop", (event) => {
    event.preventDefault();
    made.classList.remove("over");
    ask({ into: id });
  });
}

document.addEventListener("dragstart", (event) => {
  const one = event.target.closest?.(".one");
  if (!one) return;
  if (!state.chosen.has(Number(one.dataset.id))) choose([[Number(one.dataset.id), one.title]]);
  event.dataTransfer.setData("text/anneal", "tiles");
  event.dataTransfer.effectAllowed = "move";
});

const picturesOf = (one) => [{ src: tileUrl(one.dataset.id), name: one.title }];
enlargeOnLongPress($("main"), ".one", picturesOf);

$("main").addEventListener("click", (event) => {
  const one = event.target.closest(".one");
  if (!one) return;
  focusOn(one);
  toggle(one);
});
$("main").addEventListener("dblclick", (event) => {
  const one = event.target.closest(".one");
  if (one) enlarge(picturesOf(one));
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea, aside")) return;
  const one = event.target.closest(".one");
  const name = event.key.toLowerCase();
  const onTile = { " ": () => toggle(one), enter: () => enlarge(picturesOf(one)), "+": () => enlarge(picturesOf(one)), home: () => focusOn(document.querySelector(".one")),
    end: () => focusOn([...document.querySelectorAll(".one")].pop()) };
  const anywhere = { m: () => ask({}), n: () => ask({ isNew: true }), z: undo, escape: () => choose([]) };
  const deed = (one && (onTile[name] || (name.startsWith("arrow") && (() => focusOn(beside(one, name)))))) || anywhere[name];
  if (!deed) return;
  event.preventDefault();
  deed();
});

$("move").onclick = () => ask({});
$("split").onclick = () => ask({ isNew: true });
$("clear").onclick = () => choose([]);
$("undo").onclick = undo;
$("others").onclick = offerTargets;
$("more").onclick = () => { state.count += PAGE; load(); };
$("sentence").onclick = attempt(openSets);
document.addEventListener("answers-changed", () => { if (!state.isActing) load(); });
load();
