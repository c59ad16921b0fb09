// The pictures of all tracks, in step: waveform, spectrogram, confidence, the region that
// is repeated, one playhead. All of it is for the pointer; the same is there for the keyboard in
// the player's fields and sliders.

import { api } from "./api.js";
import { el } from "./dom.js";

const POINTS = 1600;
const PICTURE = [960, 96]; // in pixels
const MOST_MAGNIFIED = 4;
const MOST_DB = 20; // of confidence, at the top of a lane
export const DOUBTFUL_DB = 3;
const GRAB_PX = 10;
const DRAG_PX = 6;

class Lane {
  constructor(stem) {
    this.stem = stem;
    this.peaks = null;
    this.doubt = null; // {hop_s, values}
    this.canvas = el("canvas", { class: "wave" });
    this.picture = el("img", { class: "spectrogram", alt: "", draggable: "false", hidden: true });
    this.region = el("div", { class: "region", hidden: true });
    this.head = el("div", { class: "playhead" });
    this.element = el("div", { class: "lane", "data-stem": stem, "aria-hidden": "true" },
      this.canvas, this.picture, this.region, this.head);
  }

  get peak() {
    return this.peaks ? Math.max(...this.peaks.high, ...this.peaks.low.map((low) => -low)) : 0;
  }

  draw({ duration, showsDoubt, magnified }) {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width || !height) return;
    const scale = Math.min(window.devicePixelRatio || 1, 3);
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(this.element);
    if (showsDoubt && this.doubt) this.drawDoubtful(context, style, { width, height, duration });
    this.drawWave(context, style, { width, height, magnified });
    if (showsDoubt && this.doubt) this.drawCurve(context, style, { width, height, duration });
  }

  drawWave(context, style, { width, height, magnified }) {
    context.fillStyle = style.getPropertyValue("--tick");
    context.fillRect(0, height / 2 - 0.5, width, 1);
    if (!this.peaks) return;
    const { low, high } = this.peaks;
    context.fillStyle = style.getPropertyValue("--stem");
    const half = (height / 2 - 2) * magnified;
    const columns = Math.floor(width / 1.5);
    for (let x = 0; x < columns; x += 1) {
      const from = Math.floor((x * low.length) / columns);
      const to = Math.max(from + 1, Math.floor(((x + 1) * low.length) / columns));
      const top = Math.max(...high.slice(from, to));
      const bottom = Math.min(...low.slice(from, to));
      const y = height / 2 - top * half;
      context.fillRect(x * 1.5, y - 0.5, 1.2, Math.max(1, (top - bottom) * half));
    }
  }

  drawDoubtful(context, style, { width, height, duration }) {
    const { hop_s: hop, values } = this.doubt;
    context.fillStyle = style.getPropertyValue("--doubt");
    values.forEach((value, i) => {
      if (value === null || value >= DOUBTFUL_DB) return;
      const from = (i * hop * width) / duration;
      context.fillRect(from, 0, Math.min(width, ((i + 1) * hop * width) / duration) - from, height);
    });
  }

  drawCurve(context, style, { width, height, duration }) {
    const { hop_s: hop, values } = this.doubt;
    context.strokeStyle = style.getPropertyValue("--ink");
    context.lineWidth = 1.4;
    context.lineJoin = "round";
    context.beginPath();
    let isOn = false;
    values.forEach((value, i) => {
      if (value === null) {
        isOn = false;
        return;
      }
      const y = height - 3 - (Math.min(MOST_DB, Math.max(0, value)) / MOST_DB) * (height - 6);
      const from = (i * hop * width) / duration;
      const to = Math.min(width, ((i + 1) * hop * width) / duration);
      if (isOn) context.lineTo(from, y);
      else context.moveTo(from, y);
      context.lineTo(to, y);
      isOn = true;
    });
    context.stroke();
  }
}

// Events: "seek" (detail: share of the song), "region" (detail: [from, to], shares).
export class Lanes extends EventTarget {
  constructor(job) {
    super();
    this.job = job;
    this.duration = job.n_samples / job.rate_hz;
    this.lanes = Object.fromEntries(["mixture", ...job.stems].map((stem) => [stem, new Lane(stem)]));
    this.showsDoubt = false;
    this.loop = null;
    this.sizes = new ResizeObserver(() => this.draw());
    for (const lane of this.all) {
      this.sizes.observe(lane.canvas);
      lane.element.addEventListener("pointerdown", (event) => this.grab(event, lane));
    }
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.dark.addEventListener("change", this.redraw);
    document.addEventListener("viso-theme", this.redraw);
  }

  get all() {
    return Object.values(this.lanes);
  }

  close() {
    this.sizes.disconnect();
    this.dark.removeEventListener("change", this.redraw);
    document.removeEventListener("viso-theme", this.redraw);
  }

  // Fetch what is drawn; what cannot be had is left out.
  async load() {
    await Promise.all(this.all.map(async (lane) => {
      lane.peaks = await api.peaks(this.job.id, lane.stem, POINTS);
      this.draw();
    }));
  }

  async showDoubt(shown) {
    this.showsDoubt = shown;
    if (shown && !this.lanes.vocals.doubt) {
      const answer = await api.confidence(this.job.id);
      for (const stem of this.job.stems) {
        if (answer[stem]) this.lanes[stem].doubt = { hop_s: answer.hop_s, values: answer[stem] };
      }
    }
    this.draw();
  }

  showSpectrograms(shown) {
    for (const lane of this.all) {
      const { picture } = lane;
      if (shown && !picture.hasAttribute("src")) {
        lane.element.classList.add("drawing");
        picture.addEventListener("load", () => lane.element.classList.remove("drawing"));
        picture.src = api.spectrogramPath(this.job.id, lane.stem, ...PICTURE);
      }
      picture.hidden = !shown;
    }
  }

  // One scale for all: the loudest fills its lane, the others are as they are beside it.
  get magnified() {
    return Math.min(MOST_MAGNIFIED, 1 / Math.max(1e-3, ...this.all.map((lane) => lane.peak)));
  }

  draw() {
    for (const lane of this.all) lane.draw(this);
  }

  // `share` of the song, 0 to 1.
  place(share) {
    for (const lane of this.all) {
      lane.head.style.transform = `translateX(${share * lane.element.clientWidth}px)`;
    }
  }

  // What is repeated, as shares, or null.
  mark(loop, isOn) {
    this.loop = loop;
    for (const { region } of this.all) {
      region.hidden = !loop;
      region.classList.toggle("on", isOn);
      if (!loop) continue;
      region.style.left = `${100 * loop[0]}%`;
      region.style.width = `${100 * (loop[1] - loop[0])}%`;
    }
  }

  grab(event, lane) {
    if (event.button !== 0) return;
    const box = lane.element.getBoundingClientRect();
    const share = (x) => Math.min(1, Math.max(0, (x - box.left) / box.width));
    const from = event.clientX;
    // The other end stays where it is if an edge of the region is taken.
    const near = (this.loop ?? []).map((edge) => Math.abs(box.left + edge * box.width - from) < GRAB_PX);
    const fixed = near[0] ? this.loop[1] : near[1] ? this.loop[0] : share(from);
    const before = this.loop;
    let isDrag = false;
    const stop = new AbortController();
    const on = (kind, work) => lane.element.addEventListener(kind, work, { signal: stop.signal });
    lane.element.setPointerCapture(event.pointerId);
    on("pointermove", (move) => {
      if (Math.abs(move.clientX - from) > DRAG_PX) isDrag = true;
      if (isDrag) this.mark([fixed, share(move.clientX)].sort((a, b) => a - b), true);
    });
    on("pointerup", (up) => {
      stop.abort();
      if (isDrag) this.dispatchEvent(new CustomEvent("region", { detail: this.loop }));
      else this.dispatchEvent(new CustomEvent("seek", { detail: share(up.clientX) }));
    });
    on("pointercancel", () => {
      stop.abort();
      if (isDrag) this.mark(before, before !== null);
    });
  }
}
