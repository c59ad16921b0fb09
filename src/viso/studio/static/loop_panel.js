// The region that is repeated, in numbers.

import { ICONS, clock, el, icon, seconds, write } from "./dom.js";

const LEAST_S = 0.2;

// Times within are in seconds from the beginning of what is played; those that are shown are the
// song's. Event "change".
export class LoopPanel extends EventTarget {
  // `place()` is where the song is.
  constructor({ duration, startS }, place) {
    super();
    Object.assign(this, { duration, startS, place });
    this.from = 0;
    this.to = duration;
    this.isOn = false;
    const field = (label) => el("input", {
      type: "text", inputmode: "decimal", class: "time-field", "aria-label": label, autocomplete: "off",
      change: () => this.read(),
    });
    this.fields = [field("Repeat from"), field("Repeat to")];
    this.button = el("button", {
      type: "button", class: "small", "aria-pressed": "false", click: () => this.toggle(),
    }, icon(ICONS.loop), "Loop");
    this.wrong = el("p", { class: "warn", role: "alert" });
    this.whole = el("button", {
      type: "button", class: "small quiet", click: () => this.set(0, duration, false),
    }, "Clear");
    const here = (text, onclick) => el("button", { type: "button", class: "small", click: onclick }, text);
    this.element = el("section", { "aria-label": "Loop" }, el("h3", {}, "Loop"),
      el("div", { class: "row" }, this.button, this.fields[0], el("span", {}, "to"), this.fields[1], this.whole),
      el("div", { class: "row" }, here("From here", () => this.startHere()), here("To here", () => this.endHere()),
        el("span", { class: "soft" }, "or drag over a waveform")),
      this.wrong);
    this.show();
  }

  // Whether it is a part of what is played.
  get isPart() {
    return this.from > 0 || this.to < this.duration;
  }

  get shares() {
    return this.isPart ? [this.from / this.duration, this.to / this.duration] : null;
  }

  set(from, to, isOn) {
    this.from = Math.max(0, Math.min(from, this.duration - LEAST_S));
    this.to = Math.min(this.duration, Math.max(to, this.from + LEAST_S));
    this.isOn = isOn;
    write(this.wrong, "");
    this.show();
    this.dispatchEvent(new Event("change"));
  }

  toggle() {
    this.set(this.from, this.to, !this.isOn);
  }

  startHere() {
    const from = this.place();
    this.set(from, this.to > from ? this.to : this.duration, this.isOn);
  }

  endHere() {
    const to = this.place();
    this.set(this.from < to ? this.from : 0, to, true);
  }

  read() {
    const [from, to] = this.fields.map((field) => seconds(field.value));
    if (from === null || to === null || to <= from) {
      this.show();
      write(this.wrong, "A loop needs two times such as 0:30 and 0:45, the second later.");
      return;
    }
    this.set(from - this.startS, to - this.startS, this.isOn);
  }

  show() {
    this.fields[0].value = clock(this.startS + this.from);
    this.fields[1].value = clock(this.startS + this.to);
    this.button.setAttribute("aria-pressed", String(this.isOn));
    this.whole.hidden = !this.isPart && !this.isOn;
  }
}
