// How loud each stem is: level, mute, solo.

import { SILENT_DB, gainOf } from "./dom.js";

export const MIXED = ["vocals", "instrumental"];

export const PRESETS = [
  { name: "As it was", levels: { vocals: 0, instrumental: 0 } },
  { name: "Karaoke", levels: { vocals: SILENT_DB, instrumental: 0 } },
  { name: "Guide vocal −12 dB", levels: { vocals: -12, instrumental: 0 } },
  { name: "Vocals only", levels: { vocals: 0, instrumental: SILENT_DB } },
];

export class Balance {
  constructor() {
    this.levels = { vocals: 0, instrumental: 0 };
    this.muted = new Set();
    this.solo = null;
  }

  set({ levels }) {
    this.levels = { ...levels };
    this.muted.clear();
    this.solo = null;
  }

  is({ levels }) {
    return !this.solo && !this.muted.size && MIXED.every((stem) => this.levels[stem] === levels[stem]);
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
    return Object.fromEntries(MIXED.map((stem) => {
      const isOff = this.solo ? this.solo !== stem : this.muted.has(stem);
      return [stem, isOff ? 0 : gainOf(this.levels[stem])];
    }));
  }

  // As the server takes it.
  query() {
    const gains = this.gains();
    return Object.fromEntries(MIXED.map((stem) => (
      [`${stem}_db`, gains[stem] > 0 ? String(this.levels[stem]) : "-inf"])));
  }
}
