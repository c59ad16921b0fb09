// One song: what was separated of it, how far it is, and its player.

import { ICONS, channels, clock, el, icon, say, write } from "./dom.js";
import { lengthOf, told } from "./library.js";
import { PlayerPanel } from "./player_panel.js";
import { SeparationForm } from "./separation_form.js";
import { isOver } from "./watch.js";

export function nameOfTake(song, job) {
  const { start, duration, isWhole } = lengthOf(song, job);
  return isWhole ? "Whole song" : `${clock(start, 0)} – ${clock(start + duration, 0)}`;
}

const madeBy = (job) => (
  job.stems.length > 2 ? `${job.model}, ${job.stems.length} stems` : job.model);

function when(value) {
  const date = new Date(typeof value === "number" ? value * 1000 : value);
  if (Number.isNaN(date.getTime())) return null;
  const isToday = date.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit" };
  return isToday ? date.toLocaleTimeString([], time)
    : date.toLocaleString([], { weekday: "short", ...time });
}

export class SongPanel {
  constructor(library, song, { showsHeading }) {
    Object.assign(this, { library, song });
    this.jobId = song.bestJob?.id ?? null;
    this.shown = null; // what the body shows: "id:state"
    this.player = null;
    this.announced = "";
    this.heading = el("h2", { tabindex: "-1" }, song.name);
    this.facts = el("p", { class: "soft facts" });
    this.takes = el("div", { class: "takes", role: "group", "aria-label": "Separations of this song" });
    this.body = el("div", { class: "take" });
    this.more = el("details", { class: "more" }, el("summary", {}, "Separate again"));
    this.element = el("article", { class: "song", "aria-label": song.name },
      el("header", {}, this.heading, this.facts), this.takes, this.body, this.more);
    this.update();
    if (showsHeading) this.heading.focus({ preventScroll: true });
  }

  get job() {
    return this.song.jobs.find((job) => job.id === this.jobId) ?? null;
  }

  update() {
    const { song } = this;
    if (this.jobId && !this.job) this.jobId = song.bestJob?.id ?? null;
    write(this.heading, song.name);
    write(this.facts, this.factsText());
    this.updateForm();
    this.updateTakes();
    const { job } = this;
    const isOpen = job && !isOver(job);
    const key = job ? `${job.id}:${isOpen ? "open" : job.state}` : `${song.isReady}:${song.error}`;
    if (key !== this.shown) {
      this.shown = key;
      this.player?.close();
      this.player = null;
      this.body.replaceChildren(...this.content(job));
    }
    if (isOpen) this.updateProgress(job);
    if (!job && !song.isReady) this.updateUpload();
  }

  factsText() {
    const { info } = this.song;
    if (!info) return "";
    const kept = info.expires_at ? when(info.expires_at) : null;
    const kilohertz = `${(info.rate_hz / 1000).toLocaleString([], { maximumFractionDigits: 2 })} kHz`;
    return [
      info.audio_s ? clock(info.audio_s, 0) : null, info.rate_hz ? kilohertz : null,
      info.channels ? channels(info.channels) : null, kept ? `kept until ${kept}` : null,
    ].filter(Boolean).join(" · ");
  }

  updateForm() {
    this.more.hidden = !this.song.isReady || !this.song.jobs.length;
    if (this.song.isReady && !this.form) {
      this.form = new SeparationForm(this.library, this.song, (settings) => this.start(settings));
    }
    if (!this.form) return;
    const place = this.song.jobs.length ? this.more : this.body;
    if (place === this.more && this.form.element.parentNode !== this.more) {
      this.more.append(this.form.element);
    }
  }

  async start(settings) {
    const job = await this.library.separate(this.song, settings);
    this.more.open = false;
    this.choose(job.id);
    this.heading.focus();
  }

  choose(id) {
    this.jobId = id;
    this.update();
  }

  updateTakes() {
    const { jobs } = this.song;
    this.takes.hidden = jobs.length < 2;
    if (jobs.length < 2) {
      this.takes.replaceChildren();
      return;
    }
    const key = jobs.map((job) => `${job.id}${job.state}`).join();
    if (this.takesKey !== key) {
      this.takesKey = key;
      this.takes.replaceChildren(...jobs.map((job) => el("button", {
        type: "button", class: "small", "data-job": job.id, click: () => this.choose(job.id),
      }, nameOfTake(this.song, job), el("small", {}, ` ${job.state === "done" ? madeBy(job) : told(job).split(":")[0]}`))));
    }
    for (const button of this.takes.children) {
      button.setAttribute("aria-pressed", String(button.dataset.job === this.jobId));
    }
  }

  content(job) {
    if (!job) return this.song.isReady ? [this.form.element] : this.uploadContent();
    const remove = el("button", {
      type: "button", class: "small quiet", click: () => this.library.removeJob(this.song, job),
    }, icon(ICONS.bin), "Remove this separation");
    if (!isOver(job)) return this.progressContent(job);
    if (job.state === "done") {
      this.player = new PlayerPanel(this.song, job, this.library.limits.formats);
      if (this.announced) say(`${this.song.name}: separated`);
      const turned = job.gain_db < 0 ? `; all stems ${job.gain_db.toFixed(1).replace("-", "−")} dB, so that none clips` : "";
      const facts = `${nameOfTake(this.song, job)}, separated by ${madeBy(job)}${turned}`;
      return [this.player.element, el("p", { class: "row end soft" }, el("span", {}, facts), remove)];
    }
    const text = job.state === "failed" ? `It failed: ${job.error ?? "no reason was given"}` : "This separation was cancelled.";
    return [el("p", { class: job.state === "failed" ? "warn" : "soft", role: "alert" }, text),
      el("div", { class: "row" }, el("button", {
        type: "button", class: "main", click: () => this.again(job),
      }, "Try again"), remove)];
  }

  async again(job) {
    const { model, start_s, duration_s } = job;
    const isWhole = lengthOf(this.song, job).isWhole;
    const wanted = job.stems.length > 2 ? { model, all_stems: true } : { model };
    try {
      await this.start(isWhole ? wanted : { ...wanted, start_s, duration_s });
    } catch (error) {
      this.library.tell("trouble", error.message);
    }
  }

  bar(label) {
    const inner = el("div", {});
    const bar = el("div", {
      class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
    }, inner);
    const set = (share) => {
      inner.style.width = `${100 * share}%`;
      bar.setAttribute("aria-valuenow", Math.round(100 * share));
    };
    return { bar, set };
  }

  progressContent(job) {
    this.progress = this.bar("Separation");
    this.progressText = el("p", { class: "told" });
    const cancel = el("button", {
      type: "button",
      click: async () => {
        cancel.disabled = true;
        try {
          await this.library.cancel(this.job);
        } catch (error) {
          this.library.tell("trouble", error.message);
          cancel.disabled = false;
        }
      },
    }, "Cancel");
    return [el("section", { class: "working", "aria-label": "Progress" },
      el("p", { class: "soft" }, `${nameOfTake(this.song, job)}, by ${madeBy(job)}`),
      this.progress.bar, el("div", { class: "row between" }, this.progressText, cancel))];
  }

  updateProgress(job) {
    this.progress.set(job.progress ?? 0);
    const speed = job.state === "running" && job.speed ? ` (${job.speed.toFixed(1)} times as fast as it plays)` : "";
    write(this.progressText, told(job) + speed);
    // Read aloud now and then, not at every percent.
    const step = job.state === "queued" ? told(job) : `${25 * Math.floor(4 * (job.progress ?? 0))} percent separated`;
    if (step !== this.announced) {
      this.announced = step;
      say(`${this.song.name}: ${step}`);
    }
  }

  uploadContent() {
    const { song } = this;
    if (song.error) {
      const again = song.file && song.file.size && !(this.library.limits.upload_bytes < song.file.size);
      return [el("p", { class: "warn", role: "alert" }, song.error), el("div", { class: "row" },
        again ? el("button", { type: "button", class: "main", click: () => this.library.retry(song) }, "Try again") : null,
        el("button", { type: "button", click: () => this.library.removeSong(song) }, "Remove"))];
    }
    this.progress = this.bar("Upload");
    this.progressText = el("p", { class: "told" });
    return [el("section", { class: "working", "aria-label": "Upload" }, this.progress.bar,
      el("div", { class: "row between" }, this.progressText, el("button", {
        type: "button", click: () => this.library.removeSong(song),
      }, "Cancel")))];
  }

  updateUpload() {
    if (this.song.error) return;
    this.progress.set(this.song.sent);
    const isSent = this.song.sent === 1;
    const waits = this.song.stop === null && !isSent;
    write(this.progressText, waits ? "Waiting for the upload before it"
      : isSent ? "Sent; the server looks at it" : `Uploading: ${Math.floor(100 * this.song.sent)} %`);
  }

  close() {
    this.player?.close();
  }
}
