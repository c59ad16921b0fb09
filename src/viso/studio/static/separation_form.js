// What is to be separated, and by which model.

import { ICONS, clock, el, icon, seconds, write } from "./dom.js";

const PREVIEW_S = 20;
const LEAST_S = 0.5;

export class SeparationForm {
  // `onstart({model, start_s?, duration_s?})` returns a promise that fails with what went wrong.
  constructor(library, song, onstart) {
    Object.assign(this, { library, song, onstart });
    this.length = song.info.audio_s ?? null;
    this.kind = "whole";
    this.build();
    this.update();
  }

  build() {
    this.model = el("select", { id: "model", change: () => this.update() },
      this.library.models.map((model) => el("option", { value: model.name }, model.title ?? model.name)));
    this.model.value = this.library.defaultModel?.name;
    this.about = el("p", { class: "soft about" });
    this.allStems = el("input", { type: "checkbox" });
    this.stemsText = el("span", {});
    this.stems = el("label", { class: "tick" }, this.allStems, this.stemsText);
    const kinds = [["whole", "Whole song"], ["preview", `Preview of ${PREVIEW_S} s`], ["part", "A part"]];
    this.radios = kinds.map(([value, text]) => {
      const radio = el("input", {
        type: "radio", name: "kind", value, checked: value === this.kind,
        change: () => { this.kind = value; this.update(); },
      });
      return el("label", { class: "segment" }, radio, el("span", {}, text));
    });
    const field = (label, value) => el("input", {
      type: "text", inputmode: "decimal", class: "time-field", autocomplete: "off", "aria-label": label,
      value: clock(value, 0), input: () => this.update(),
    });
    // A song's voice is rarely at its very beginning.
    const start = this.length && this.length > 3 * PREVIEW_S ? Math.floor(this.length / 3) : 0;
    this.at = field("Preview from", start);
    this.slide = el("input", {
      type: "range", min: 0, max: Math.max(0, Math.floor((this.length ?? 0) - PREVIEW_S)), step: 1, value: start,
      "aria-label": "Preview from, slider",
      input: () => { this.at.value = clock(Number(this.slide.value), 0); this.update(); },
    });
    this.from = field("Part from", 0);
    this.to = field("Part to", this.length ?? 60);
    this.preview = el("div", { class: "row fields" }, el("span", {}, "from"), this.at, this.slide);
    this.part = el("div", { class: "row fields" }, el("span", {}, "from"), this.from, el("span", {}, "to"), this.to);
    this.wrong = el("p", { class: "warn", role: "alert" });
    this.startText = el("span", {});
    this.start = el("button", { type: "submit", class: "main" }, icon(ICONS.play), this.startText);
    this.element = el("form", {
      class: "separation", novalidate: true, "aria-label": "New separation",
      submit: (event) => { event.preventDefault(); this.submit(); },
    },
    el("fieldset", {}, el("legend", {}, "What"), el("div", { class: "segments" }, this.radios), this.preview, this.part),
    el("div", { class: "field" }, el("label", { for: "model" }, "Model"), this.model, this.about, this.stems),
    this.wrong, el("div", { class: "row" }, this.start));
  }

  // What is asked for, or a sentence on what is wrong.
  settings() {
    const model = this.model.value;
    const wanted = this.stems.hidden || !this.allStems.checked ? { model } : { model, all_stems: true };
    if (this.kind === "whole") return wanted;
    const isPreview = this.kind === "preview";
    const from = seconds((isPreview ? this.at : this.from).value);
    const to = isPreview && from !== null ? from + PREVIEW_S : seconds(this.to.value);
    if (from === null || to === null) return "Times are written like 1:05 or 65.";
    if (to - from < LEAST_S) return "The end must be later than the beginning.";
    if (this.length !== null && from > this.length - LEAST_S) {
      return `The song ends at ${clock(this.length, 0)}.`;
    }
    const end = this.length === null ? to : Math.min(to, this.length);
    return { ...wanted, start_s: from, duration_s: Math.round(1e6 * (end - from)) / 1e6 };
  }

  update() {
    this.preview.hidden = this.kind !== "preview";
    this.part.hidden = this.kind !== "part";
    const model = this.library.models.find(({ name }) => name === this.model.value);
    const facts = [model?.description, model?.license && `Licence of its weights: ${model.license}`];
    write(this.about, facts.filter(Boolean).map((fact) => fact.replace(/\.?$/, ".")).join(" "));
    this.stems.hidden = !(model?.stems?.length > 2);
    write(this.stemsText, this.stems.hidden ? "" : `All stems: ${model.stems.join(", ")}`);
    const at = seconds(this.at.value);
    if (at !== null) this.slide.value = at;
    this.slide.setAttribute("aria-valuetext", clock(Number(this.slide.value), 0));
    const settings = this.settings();
    const isWrong = typeof settings === "string";
    write(this.wrong, isWrong ? settings : "");
    const text = { whole: "Separate", preview: `Preview ${PREVIEW_S} s`, part: "Separate this part" };
    write(this.startText, text[this.kind]);
  }

  async submit() {
    const settings = this.settings();
    if (typeof settings === "string") {
      write(this.wrong, settings);
      return;
    }
    this.start.disabled = true;
    try {
      await this.onstart(settings);
    } catch (error) {
      write(this.wrong, error.message);
    }
    this.start.disabled = false;
  }
}
