// The player of one separation: transport, tracks, region, presets, downloads.

import { api } from "./api.js";
import { Balance, presetsFor } from "./balance.js";
import { ICONS, clock, el, icon, say, spoken, write } from "./dom.js";
import { Downloads } from "./downloads.js";
import { Lanes } from "./lanes.js";
import { LoopPanel } from "./loop_panel.js";
import { matchingGain, measure } from "./loudness.js";
import { Pieces } from "./pieces.js";
import { Player, contextFor } from "./player.js";
import { PresetsPanel, viewsPanel } from "./side_panels.js";
import { Tracks, nameOf } from "./tracks.js";

const STEP_S = 5;

export class PlayerPanel {
  constructor(song, job, formats) {
    Object.assign(this, { song, job });
    this.rate = job.rate_hz;
    this.nFrames = job.n_samples;
    this.duration = this.nFrames / this.rate;
    this.startS = job.start_s ?? 0; // times are those of the song, of a part as well
    this.stems = job.stems;
    this.balance = new Balance(this.stems);
    this.named = presetsFor(this.stems);
    this.loudness = job.loudness_lufs ?? null;
    this.isMatched = true;
    this.player = null;
    this.rest = 0; // the place, in frames, before there is a player
    this.lanes = new Lanes(job);
    this.tracks = new Tracks(this.lanes, this.stems, {
      solo: (stem) => this.solo(stem),
      mute: (stem) => this.mute(stem),
      level: (stem, db) => { this.balance.levels[stem] = db; this.apply(); },
      original: () => this.hear(this.isOriginal ? "stems" : "original"),
      match: (isMatched) => { this.isMatched = isMatched; this.apply(); },
    });
    this.downloads = new Downloads(song, job, formats);
    this.presets = new PresetsPanel(this.named, (preset) => this.choose(preset));
    this.loop = new LoopPanel(this, () => this.now);
    this.loop.addEventListener("change", () => this.repeat());
    this.build();
    this.lanes.addEventListener("seek", (event) => this.seek(event.detail * this.duration));
    this.lanes.addEventListener("region", (event) => {
      const [from, to] = event.detail;
      this.loop.set(from * this.duration, to * this.duration, true);
    });
    this.lanes.load().catch((error) => this.trouble(error));
    this.frameRequest = requestAnimationFrame(() => this.frame());
    this.apply();
  }

  build() {
    const button = (attributes, ...children) => el("button", { type: "button", ...attributes }, ...children);
    this.playIcon = icon(ICONS.play);
    this.playText = el("span", {}, "Play");
    this.playButton = button({ class: "main play", click: () => this.toggle() }, this.playIcon, this.playText);
    this.backButton = button({
      class: "round", "aria-label": "Back to the beginning", title: "Back to the beginning",
      click: () => this.seek(this.loop.isOn ? this.loop.from : 0),
    }, icon(ICONS.back));
    this.time = el("span", { class: "time" }, clock(this.startS));
    this.sides = ["stems", "original"].map((side) => button({
      "aria-pressed": "false", click: () => this.hear(side),
    }, el("kbd", { "aria-hidden": "true" }, side === "stems" ? "A" : "B"), side === "stems" ? "Your balance" : "Original"));
    this.status = el("p", { class: "soft status", role: "status" });
    this.place = el("input", {
      type: "range", class: "place", min: 0, max: this.duration, step: 0.1, "aria-label": "Position in the song",
      input: () => this.seek(Number(this.place.value)),
    });
    this.element = el("section", { class: "player", "aria-label": "Player" },
      el("div", { class: "transport" },
        el("div", { class: "row" }, this.playButton, this.backButton, this.time),
        el("div", { class: "segments", role: "group", "aria-label": "What is heard" }, this.sides)),
      el("div", { class: "ruler" }, this.place),
      this.tracks.element,
      this.status,
      el("div", { class: "panels" }, this.presets.element, this.loop.element, this.views(), this.downloads.element));
  }

  views() {
    return viewsPanel(this.job.confidence, {
      spectrogram: (shown) => this.lanes.showSpectrograms(shown),
      confidence: (shown) => this.lanes.showDoubt(shown).catch((error) => this.trouble(error)),
    });
  }

  trouble(error) {
    if (error.name !== "AbortError") write(this.status, error.message);
  }

  // The sound is fetched when it is first wanted.
  open() {
    this.opening ??= this.openPlayer().catch((error) => {
      this.opening = null;
      throw error;
    });
    return this.opening;
  }

  async openPlayer() {
    const context = contextFor(this.rate);
    // Within the person's wish to play: later it may no longer count as one.
    context.resume().catch(() => {});
    const urls = Object.fromEntries(["mixture", ...this.stems].map((stem) => (
      [stem, api.stemPath(this.job.id, stem, "wav")])));
    let pieces;
    try {
      pieces = await new Pieces(urls).open();
    } catch (error) {
      context.close();
      throw error;
    }
    this.player = new Player(context, pieces);
    this.player.addEventListener("change", () => this.update());
    this.player.addEventListener("failure", (event) => this.trouble(event.detail));
    this.player.rest = Math.min(this.rest, this.nFrames - 1);
    if (this.loop.isOn) this.repeat();
    this.player.hear(this.wantedSide ?? "stems");
    this.apply();
    if (!this.loudness) this.measureLoudness(pieces);
  }

  async measureLoudness(pieces) {
    try {
      this.loudness = await measure(pieces);
      this.apply();
    } catch (error) {
      this.trouble(error);
    }
  }

  get isPlaying() {
    return this.player?.isPlaying ?? false;
  }

  get isOriginal() {
    return (this.player?.side ?? this.wantedSide) === "original";
  }

  async toggle() {
    if (this.isPlaying) {
      this.player.pause();
      return;
    }
    write(this.status, "");
    this.playButton.setAttribute("aria-busy", "true");
    try {
      await this.open();
      await this.player.play();
    } catch (error) {
      this.trouble(error);
    }
    this.playButton.removeAttribute("aria-busy");
  }

  hear(side) {
    this.wantedSide = side;
    this.player?.hear(side);
    this.apply();
    say(side === "original" ? "Original" : "Your balance");
  }

  solo(stem) {
    const isSolo = this.balance.toggleSolo(stem);
    this.wantedSide = "stems";
    this.player?.hear("stems");
    this.apply();
    say(isSolo ? `${nameOf(stem)} solo` : "Solo off");
  }

  mute(stem) {
    const isMuted = this.balance.toggleMute(stem);
    this.apply();
    say(`${nameOf(stem)} ${isMuted ? "muted" : "on"}`);
  }

  // Mute all but the vocals, or none of them.
  muteBacking() {
    const backing = this.stems.filter((stem) => stem !== "vocals");
    const isMuted = this.balance.toggleAll(backing);
    this.apply();
    say(`${nameOf("instrumental")} ${isMuted ? "muted" : "on"}`);
  }

  // Bring what is set to the ear and to the eye.
  apply() {
    const gains = this.balance.gains();
    const mixture = this.isMatched ? matchingGain(this.loudness, gains) : 1;
    this.player?.setGains({ ...gains, mixture });
    this.update();
  }

  seek(time) {
    const frame = Math.round(Math.min(Math.max(0, time), this.duration) * this.rate);
    this.rest = frame;
    this.player?.seek(frame);
    this.update();
  }

  step(by) {
    this.seek(this.now + by);
    say(spoken(this.startS + this.now));
  }

  // Where the song is, in seconds from the beginning of the part.
  get now() {
    return (this.player ? this.player.heardFrame : this.rest) / this.rate;
  }

  // Repeat what the loop's panel says.
  repeat() {
    const { from, to, isOn, shares } = this.loop;
    const frames = [from, to].map((time) => Math.min(this.nFrames, Math.round(time * this.rate)));
    this.player?.setLoop(isOn ? frames : null);
    if (!this.player && isOn) [this.rest] = frames;
    this.lanes.mark(shares, isOn);
  }

  toggleLoop() {
    this.loop.toggle();
    say(this.loop.isOn ? "Loop on" : "Loop off");
  }

  choose(preset) {
    this.balance.set(preset);
    this.hear("stems");
  }

  update() {
    const { isPlaying } = this;
    write(this.playText, isPlaying ? (this.player.isWaiting ? "Loading…" : "Pause") : "Play");
    this.playIcon.firstChild.setAttribute("d", isPlaying ? ICONS.pause : ICONS.play);
    this.sides.forEach((button, i) => button.setAttribute("aria-pressed", String(this.isOriginal === (i === 1))));
    this.presets.update(this.balance);
    this.tracks.update(this.balance, this.isOriginal);
    this.downloads.update(this.balance);
  }

  frame() {
    const { now } = this;
    write(this.time, `${clock(this.startS + now)} / ${clock(this.startS + this.duration, 0)}`);
    this.place.value = now;
    const text = spoken(this.startS + now);
    if (document.activeElement !== this.place || !this.isPlaying) this.place.setAttribute("aria-valuetext", text);
    this.lanes.place(this.duration ? now / this.duration : 0);
    this.frameRequest = requestAnimationFrame(() => this.frame());
  }

  // True if the key means something here.
  key(event) {
    const solo = /^[2-9]$/.test(event.key) ? this.stems[event.key - 2] : null;
    const acts = {
      " ": () => this.toggle(),
      arrowleft: () => this.step(event.shiftKey ? -1 : -STEP_S),
      arrowright: () => this.step(event.shiftKey ? 1 : STEP_S),
      home: () => this.seek(0),
      l: () => this.toggleLoop(),
      "[": () => this.loop.startHere(),
      "]": () => this.loop.endHere(),
      a: () => this.hear("stems"),
      b: () => this.hear("original"),
      x: () => this.hear(this.isOriginal ? "stems" : "original"),
      m: () => (event.shiftKey ? this.muteBacking() : this.mute("vocals")),
      g: () => this.choose(this.named.find((preset) => preset.isGuide)),
      1: () => this.hear(this.isOriginal ? "stems" : "original"),
    };
    const act = solo ? () => this.solo(solo) : acts[event.key.toLowerCase()];
    act?.();
    return Boolean(act);
  }

  async close() {
    cancelAnimationFrame(this.frameRequest);
    this.lanes.close();
    // What is being opened is closed as soon as it is open.
    await this.opening?.catch(() => null);
    this.player?.close();
    this.player?.context.close();
  }
}
