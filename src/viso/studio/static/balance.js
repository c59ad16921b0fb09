// How loud each stem is: level, mute, solo.

import { SILENT_DB, gainOf } from "./dom.js";

const GUIDE_DB = -12;

// Balances by name for the stems of a song.
export function presetsFor(stems) {
  const levels = (level) => Object.fromEntries(stems.map((stem) => [stem, level(stem)]));
  const without = (name, absent) => (
    { name, levels: levels((stem) => (stem === absent ? SILENT_DB : 0)) });
  const presets = [
    { name: "As it was", levels: levels(() => 0) },
    without("Karaoke", "vocals"),
    {
      name: "Guide vocal −12 dB", isGuide: true,
      levels: levels((stem) => (stem === "vocals" ? GUIDE_DB : 0)),
    },
    { name: "Vocals only", levels: levels((stem) => (stem === "vocals" ? 0 : SILENT_DB)) },
  ];
  for (const stem of ["drums", "bass"]) {
    if (stems.includes(stem)) presets.push(without(`Without ${stem}`, stem));
  }
  return presets;
}

export class Balance {
  // `stems`: those that add up to the song.
  constructor(stems) {
    this.stems = stems;
    this.levels = Object.fromEntries(stems.map((stem) => [stem, 0]));
    this.muted = new Set();
    this.solo = null;
  }

  set({ levels }) {
    this.levels = { ...levels };
    this.muted.clear();
    this.solo = null;
  }

  is({ levels }) {
    return !this.solo && !this.muted.size && this.stems.every((stem) => this.levels[stem] === levels[stem]);
  }

  // Mute several at once, or none of them.
  toggleAll(stems) {
    const isMuted = !stems.every((stem) => this.muted.has(stem));
    for (const stem of stems) {
      if (isMuted) this.muted.add(stem);
      else this.muted.delete(stem);
    }
    return isMuted;
  }

  toggleMute(stem) {
    if (!this.muted.delete(stem)) this.muted.add(stem);
    return this.muted.has(stem);
  }

  toggleSolo(stem) {
    this.solo = this.solo === stem ? null : stem;
    return this.solo === stem;
  }

  isHeard(stem) {
    return this.gains()[stem] > 0;
  }

  // Stem -> factor.
  gains() {
    return Object.fromEntries(this.stems.map((stem) => {
      const isOff = this.solo ? this.solo !== stem : this.muted.has(stem);
      return [stem, isOff ? 0 : gainOf(this.levels[stem])];
    }));
  }

  // As the server takes it: pairs of names and values.
  query() {
    const gains = this.gains();
    return this.stems.map((stem) => (
      ["level", `${stem}:${gains[stem] > 0 ? this.levels[stem] : "-inf"}`]));
  }
}
