// The rows of the player: what is said and set beside each waveform.

import { SILENT_DB, decibels, el, write } from "./dom.js";

const LOUDEST_DB = 6;

export const nameOf = (stem) => (
  stem === "mixture" ? "Original" : stem.charAt(0).toUpperCase() + stem.slice(1).replaceAll("_", " "));

function toggle(text, label, onclick) {
  return el("button", {
    type: "button", class: "small", "aria-pressed": "false", "aria-label": label, click: onclick,
  }, text);
}

// Controls of one stem. `act` has mute(stem), solo(stem), level(stem, db).
class Strip {
  constructor(stem, key, act) {
    this.stem = stem;
    const name = nameOf(stem);
    this.solo = toggle("Solo", `Solo ${name.toLowerCase()}`, () => act.solo(stem));
    this.mute = toggle("Mute", `Mute ${name.toLowerCase()}`, () => act.mute(stem));
    this.slider = el("input", {
      type: "range", min: SILENT_DB, max: LOUDEST_DB, step: 0.5, "aria-label": `Level of ${name.toLowerCase()}`,
      input: () => act.level(stem, Number(this.slider.value)),
      dblclick: () => act.level(stem, 0),
    });
    this.told = el("output", {});
    this.element = el("div", { class: "strip", role: "group", "aria-label": name },
      el("h3", {}, name, el("kbd", { "aria-hidden": "true" }, key)),
      el("div", { class: "buttons" }, this.solo, this.mute),
      el("div", { class: "level" }, this.slider, this.told));
  }

  update(balance) {
    const level = balance.levels[this.stem];
    this.solo.setAttribute("aria-pressed", String(balance.solo === this.stem));
    this.mute.setAttribute("aria-pressed", String(balance.muted.has(this.stem)));
    if (Number(this.slider.value) !== level) this.slider.value = level;
    this.slider.setAttribute("aria-valuetext", decibels(level).replace("−", "minus "));
    write(this.told, decibels(level));
  }
}

// The row of the original has the switch to it.
function originalStrip(act) {
  const hear = toggle("Listen", "Listen to the original", () => act.original());
  const match = el("input", { type: "checkbox", checked: true, change: () => act.match(match.checked) });
  const element = el("div", { class: "strip", role: "group", "aria-label": nameOf("mixture") },
    el("h3", {}, nameOf("mixture"), el("kbd", { "aria-hidden": "true" }, "1")),
    el("div", { class: "buttons" }, hear),
    el("label", { class: "tick" }, match, "Equally loud"));
  return { element, update: (isOriginal) => hear.setAttribute("aria-pressed", String(isOriginal)) };
}

export class Tracks {
  constructor(lanes, stems, act) {
    this.lanes = lanes;
    this.original = originalStrip(act);
    this.strips = stems.map((stem, i) => new Strip(stem, String(i + 2), act));
    const row = (strip, stem) => el("div", { class: "track", "data-stem": stem },
      strip.element, lanes.lanes[stem].element);
    this.rows = { mixture: row(this.original, "mixture") };
    for (const strip of this.strips) this.rows[strip.stem] = row(strip, strip.stem);
    this.element = el("div", { class: "tracks" }, Object.values(this.rows));
  }

  update(balance, isOriginal) {
    this.original.update(isOriginal);
    for (const strip of this.strips) {
      strip.update(balance);
      this.rows[strip.stem].classList.toggle("quiet", isOriginal || !balance.isHeard(strip.stem));
    }
    this.rows.mixture.classList.toggle("quiet", !isOriginal);
  }
}
