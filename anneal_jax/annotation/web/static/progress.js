// Progress of teaching in plain words; the figures are under Details.
import { element, get, tileUrl } from "./common.js";

const MIN_AUDITS = 20; // fewer audits give no quality estimate
const WORDS = [[0.9, "very good"], [0.75, "good"], [0.5, "fair"], [0, "poor"]];
const BEGINNING = 20;

const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en-GB");
const answers = (count) => `${number(count)} answer${count === 1 ? "" : "s"}`;

export function showProgress(view) {
  const { progress } = view;
  $("answered").textContent = answers(view.num_answers);
  $("bar").max = progress ? progress.aim : 1;
  $("bar").value = progress ? Math.min(view.num_answers, progress.aim) : 0;
  $("outlook").textContent = [outlook(view), quality(view.quality)].filter(Boolean).join(" ");
  $("change").classList.toggle("absent", !view.model_answers);
  $("counters").replaceChildren(...figures(view).map(([before, value, after]) =>
    element("span", {}, before, element("b", { textContent: value }), after)));
}

function outlook({ num_answers: given, model_answers: model, progress, gain, least_gain: least }) {
  if (given < BEGINNING) return "About a third of the first tiles are alike. Search improves later.";
  if (!progress) return "";
  if (!progress.is_forecast) {
    if (given < progress.aim) return `Search usually improves after ${number(progress.least)} to ${number(progress.aim)} answers.`;
    if (model) return ""; // of an earlier version, without a forecast: it may have improved search
    return "Search has usually improved at this point; this archive takes longer.";
  }
  if (gain.most < least || given >= progress.most) return "More answers will hardly help.";
  if (gain.expected < least || given >= progress.aim) return "More answers will probably hardly help.";
  const range = given < progress.least ? `${number(progress.least)} to ${number(progress.most)}` : `at most ${number(progress.most)}`;
  return `After ${range} answers, more will probably hardly help.`;
}

// What another hundred answers bring; the range holds four times out of five.
function gained({ least, expected, most }) {
  const percent = (share) => Number((100 * share).toFixed(most < 0.05 ? 1 : 0)); // "0", not "0.0"
  return ["100 more answers: about ", `${percent(expected)}%`,
    ` more tiles in their right group, probably ${percent(least)} to ${percent(most)}%`];
}

function quality({ share, lower, upper, num_audits: count }) {
  if (share === null || count < MIN_AUDITS) return "";
  const percent = (value) => `${Math.round(100 * value)}%`;
  const word = WORDS.find(([least]) => share >= least)[1];
  return `Search is ${word}: ${percent(share)} of a tile’s nearest are alike (${percent(lower)} to ${percent(upper)}).`;
}

// [text before, figure, text after] for each line of the details.
function figures(view) {
  const { share, lower, upper, num_audits: count, is_stale: isStale } = view.quality;
  const measured = share === null ? "not measured yet" : `${share.toFixed(2)} (${lower.toFixed(2)}–${upper.toFixed(2)}`
    + `, ${count} audit${count === 1 ? "" : "s"}${isStale ? ", stale" : ""})`;
  return [
    ["", answers(view.num_answers), ""],
    ["", view.num_labels ? `${number(view.num_labels)} labels` : "", ""],
    ["", number(view.num_known), " pairs known"],
    ["", number(view.bits_spent), " bits"],
    ["", number(view.minutes), " min"],
    ["precision@5 ", measured, ""],
    [view.is_training ? "learning …" : view.model_answers ? `model of ${view.model_answers} answers` : "", "", ""],
    [view.on_trial ? `model of ${view.on_trial} answers on trial` : "", "", ""],
    [view.refusal || "", "", ""],
    view.gain ? gained(view.gain) : ["", "", ""],
  ].filter((part) => part.join(""));
}

// Six tiles: what each found before the current model, and what it finds now.
export async function showChange() {
  const { before, now, queries } = await get("change");
  const by = (version) => (version ? `a model of ${answers(version)}` : "the features alone");
  $("changed-by").textContent = `Six tiles drawn at random. Above: their nearest by ${by(before)}. Below: by ${by(now)}. `
    + "Framed tiles were not found before.";
  $("strips").replaceChildren(...queries.map((query) => element("div", { className: "query" },
    picture(query.tile, "the tile searched by"),
    element("div", { className: "found" }, ...query.before.map((tile) => picture(tile, "found before"))),
    element("div", { className: "found" }, ...query.now.map((tile) =>
      picture(tile, "found now", query.before.includes(tile) ? "" : "fresh"))))));
  $("changed").showModal();
}

function picture(tile, alt, className = "") {
  return element("img", { src: tileUrl(tile), alt, className, loading: "lazy" });
}
