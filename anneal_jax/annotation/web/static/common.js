// Shared by all pages: requests, elements built from text only, and the remembered name.

export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function post(path, body) {
  return answerOf(await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  }));
}

export async function get(path) {
  return answerOf(await fetch(path));
}

export async function answerOf(response) {
  const text = await response.text();
  let content = {};
  try {
    content = JSON.parse(text);
  } catch {
    content = { error: text.trim() };
  }
  if (!response.ok) throw new Refusal(response.status, content.error || `The server responded with status ${response.status}.`);
  return content;
}

// Errors are shown in the page's line for trouble.
export const attempt = (work) => async (...args) => {
  const trouble = document.getElementById("trouble");
  try {
    trouble.hidden = true;
    await work(...args);
  } catch (error) {
    trouble.textContent = error.message;
    trouble.hidden = false;
  }
};

// Text is inserted as text: a file name may contain markup, which must never be interpreted.
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

export const tileUrl = (tile) => `tile/${tile}.jpg`;

export function remembered(name) {
  try {
    return localStorage.getItem(`anneal.${name}`) || "";
  } catch { // a frame may have no storage
    return "";
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`anneal.${name}`, value);
  } catch { /* the page asks again next time */ }
}

export function inWords(word) {
  return { similar: "similar", dissimilar: "different", unsure: "unsure" }[word];
}
