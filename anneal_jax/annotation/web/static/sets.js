// The panel of sets: rename this one, begin another, return to an earlier one. Every change needs a confirmation.
import { act } from "./acting.js";
import { attempt, element, get, randomKey } from "./common.js";

const answersOf = (count) => (count === 1 ? "1 answer" : `${count.toLocaleString("en-GB")} answers`);

let dialog = null;

export async function openSets() {
  const [{ sets }, view] = await Promise.all([get("sets"), get("state")]);
  dialog ??= document.body.appendChild(element("dialog", { className: "sets", ariaLabel: "Sets of answers" }));
  fill(sets, view);
  if (!dialog.open) dialog.showModal();
}

// A change is sent once however often it is clicked, and closes the panel.
function changing(path, body) {
  const said = { ...body, key: randomKey() };
  return attempt(async () => {
    dialog.close();
    await act(path, said);
  });
}

function fill(sets, view) {
  const present = sets.find((set) => set.is_present);
  const others = sets.filter((set) => !set.is_present);
  dialog.replaceChildren(
    element("h1", { textContent: "Sets of answers" }),
    element("p", { className: "hint", textContent: "A set holds the answers to one question: what makes two tiles "
      + "similar here? Another question needs a set of its own." }),
    field("This set asks", present.sentence, `Rename, keep the ${answersOf(present.num_answers)}`, (sentence) =>
      changing("sets/rename", { sentence, set_id: view.set_id })()),
    field("Or ask something else", "", "New set …", (sentence) => confirmNew(sentence, present)),
    element("div", { className: "asking", ariaLive: "polite" }),
    ...(others.length ? [element("h2", { textContent: "Return to another set" }), element("ul", {}, ...others.map(row))] : []),
    element("form", { method: "dialog" }, element("button", { className: "answer", textContent: "Close" })),
  );
}

function field(label, value, button, submit) {
  const input = element("input", { value, required: true, maxLength: 500 });
  const form = element("form", {}, element("label", {}, label, input),
    element("button", { className: "answer", textContent: button }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) submit(input.value.trim());
  });
  return form;
}

function confirmNew(sentence, present) {
  const place = dialog.querySelector(".asking");
  const begin = element("button", { className: "answer yes", textContent: "Begin the new set" });
  begin.onclick = changing("sets/begin", { sentence });
  const leave = element("button", { className: "answer", textContent: "Cancel", onclick: () => place.replaceChildren() });
  place.replaceChildren(
    element("p", { textContent: `Begin a set for “${sentence}”? It starts without answers. The `
      + `${answersOf(present.num_answers)} to “${present.sentence}” are kept, and you can return to them here.` }),
    begin, " ", leave);
  begin.focus();
}

function row(set) {
  return element("li", {},
    element("span", {}, set.sentence, element("small", { textContent: answersOf(set.num_answers) })),
    element("button", { className: "answer small", textContent: "Switch to this set", ariaLabel: `Switch to the set “${set.sentence}”`,
      onclick: changing("sets/go", { to: set.set_id }) }));
}
