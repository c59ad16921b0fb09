// Below the tracks: balances by name, and what the pictures show.

import { el } from "./dom.js";
import { DOUBTFUL_DB } from "./lanes.js";

export class PresetsPanel {
  constructor(presets, onchoose) {
    this.presets = presets;
    this.buttons = presets.map((preset) => el("button", {
      type: "button", class: "small", "aria-pressed": "false", click: () => onchoose(preset),
    }, preset.name));
    this.element = el("section", { class: "wide", "aria-label": "Balance" }, el("h3", {}, "Balance"),
      el("div", { class: "row" }, this.buttons));
  }

  update(balance) {
    this.buttons.forEach((button, i) => (
      button.setAttribute("aria-pressed", String(balance.is(this.presets[i])))));
  }
}

function tick(text, isOn, onchange) {
  const box = el("input", { type: "checkbox", checked: isOn, change: () => onchange(box.checked) });
  return el("label", { class: "tick" }, box, text);
}

// `show` has spectrogram(shown) and confidence(shown). Small screens begin without spectrograms.
export function viewsPanel(hasConfidence, show) {
  const isWide = matchMedia("(min-width: 45rem)").matches;
  show.spectrogram(isWide);
  const note = el("p", { class: "soft", hidden: true },
    "The line is the estimated quality, 0 dB at the bottom to 20 dB at the top. "
    + `Where it is shaded it is below ${DOUBTFUL_DB} dB: listen there first.`);
  const views = [tick("Spectrogram", isWide, show.spectrogram)];
  if (hasConfidence) {
    views.push(tick("Confidence", false, (shown) => {
      note.hidden = !shown;
      show.confidence(shown);
    }));
  }
  return el("section", { "aria-label": "View" }, el("h3", {}, "View"),
    el("div", { class: "row views" }, views), note);
}
