// All songs, with how each of them stands.

import { ICONS, clock, el, icon, write } from "./dom.js";
import { told } from "./library.js";

// In as few words as a narrow column takes.
function short(job) {
  return job.state === "running" ? `${Math.floor(100 * (job.progress ?? 0))} %` : told(job);
}

function status(song) {
  if (song.error) return song.error;
  if (!song.isReady) {
    if (song.stop === null) return "Waiting for the upload";
    return song.sent < 1 ? `Uploading: ${Math.floor(100 * song.sent)} %` : "The server looks at it";
  }
  const length = song.info.audio_s ? clock(song.info.audio_s, 0) : "";
  const job = song.bestJob;
  return [length, job ? short(job) : "Ready"].filter(Boolean).join(" · ");
}

function share(song) {
  if (song.error) return null;
  if (!song.isReady) return song.sent;
  return song.activeJob ? (song.activeJob.progress ?? 0) : null;
}

class Item {
  constructor(song, { onchoose, onremove }) {
    this.song = song;
    this.name = el("span", { class: "name" }, song.name);
    this.status = el("span", { class: "soft" });
    this.inner = el("div", {});
    this.bar = el("div", { class: "bar thin" }, this.inner);
    this.button = el("button", { type: "button", class: "choose", click: () => onchoose(song) },
      this.name, this.status, this.bar);
    this.remove = el("button", {
      type: "button", class: "round quiet", title: "Remove", click: () => onremove(song),
    }, icon(ICONS.bin));
    this.element = el("li", {}, this.button, this.remove);
  }

  update(isChosen) {
    write(this.name, this.song.name);
    this.remove.setAttribute("aria-label", `Remove ${this.song.name}`);
    write(this.status, status(this.song));
    this.status.classList.toggle("warn", Boolean(this.song.error) || this.song.bestJob?.state === "failed");
    const done = share(this.song);
    this.bar.hidden = done === null;
    this.inner.style.width = `${100 * (done ?? 0)}%`;
    this.button.setAttribute("aria-current", String(isChosen));
  }
}

export class SongList {
  constructor(library, acts) {
    Object.assign(this, { library, acts });
    this.items = new Map();
    this.chosen = null;
    this.list = el("ul", { class: "songs" });
    this.all = el("button", { type: "button", hidden: true, click: () => acts.onall() });
    this.element = el("div", { class: "song-list" }, this.list, this.all);
  }

  get untouched() {
    return this.library.songs.filter((song) => song.isReady && !song.jobs.length);
  }

  update(chosen = this.chosen) {
    this.chosen = chosen;
    const { songs } = this.library;
    for (const song of this.items.keys()) if (!songs.includes(song)) this.items.delete(song);
    for (const song of songs) {
      if (!this.items.has(song)) this.items.set(song, new Item(song, this.acts));
      this.items.get(song).update(song === chosen);
    }
    const wanted = songs.map((song) => this.items.get(song).element);
    // Put back only what moved: what has the focus keeps it.
    if (wanted.length !== this.list.children.length || wanted.some((one, i) => one !== this.list.children[i])) {
      this.list.replaceChildren(...wanted);
    }
    const { length } = this.untouched;
    this.all.hidden = length < 2;
    write(this.all, `Separate all ${length}`);
  }
}
