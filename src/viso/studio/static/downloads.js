// What can be taken home: each stem, and the balance as it is set.

import { api } from "./api.js";
import { el } from "./dom.js";
import { nameOf } from "./tracks.js";

const FORMATS = ["wav", "flac", "mp3"];

// A song's file name without what a file system may not like; its ending goes.
export function fileName(song, what, format) {
  const stem = song.name.replace(/\.[^.]{1,5}$/, "").replace(/[\u0000-\u001f\\/:*?"<>|]/g, "_");
  return `${stem || "song"} (${what}).${format}`;
}

export class Downloads {
  constructor(song, job, formats) {
    this.song = song;
    this.job = job;
    const offered = FORMATS.filter((format) => !formats?.length || formats.includes(format));
    const row = (what, cells) => el("li", {}, el("span", { class: "what" }, what), cells);
    const stems = [...new Set([...job.stems, "instrumental"])].map((stem) => row(nameOf(stem),
      offered.map((format) => this.link(nameOf(stem).toLowerCase(), format, api.downloadPath(job.id, stem, format)))));
    this.mixes = offered.map((format) => this.link("your balance", format, "#"));
    this.element = el("section", { class: "downloads", "aria-label": "Downloads" },
      el("h3", {}, "Download"),
      el("ul", {}, stems, row("Your balance", this.mixes)));
  }

  link(what, format, href) {
    return el("a", {
      class: "button small", href, download: fileName(this.song, what, format),
      "aria-label": `Download ${what} as ${format}`, "data-format": format,
    }, format.toUpperCase());
  }

  update(balance) {
    const isSilent = Object.values(balance.gains()).every((gain) => gain === 0);
    for (const link of this.mixes) {
      if (isSilent) {
        link.removeAttribute("href");
        link.setAttribute("aria-disabled", "true");
      } else {
        link.setAttribute("href", api.mixPath(this.job.id, link.dataset.format, balance.query()));
        link.removeAttribute("aria-disabled");
      }
    }
  }
}
