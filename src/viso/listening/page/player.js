"use strict";
// All sounds of a page run in step; switching moves gains, never the place in the song.

const FADE_S = 0.009;

class Player {
  constructor() {
    const Context = window.AudioContext || window.webkitAudioContext;
    this.context = new Context();
    this.master = this.context.createGain();
    this.master.connect(this.context.destination);
    this.tracks = new Map();
    this.current = null;
    this.name = null; // what the page calls it: X of an ABX test is A or B, too
    this.played = new Set(); // the names that have sounded since they were loaded
    this.selectedAt = 0;
    this.isPlaying = false;
    this.duration = 0;
    this.loop = [0, 0];
    this.offset = 0;
    this.startedAt = 0;
    this.dippedAt = 0;
  }

  // Decode the sounds of these names; what was loaded before goes.
  async load(ids, bytesOf) {
    this.pause();
    this.tracks.clear();
    this.played.clear();
    this.current = null;
    const buffers = await Promise.all(ids.map(async (id) => {
      const bytes = await bytesOf(id);
      return this.context.decodeAudioData(bytes);
    }));
    ids.forEach((id, i) => {
      const gain = this.context.createGain();
      gain.gain.value = 0;
      gain.connect(this.master);
      this.tracks.set(id, { buffer: buffers[i], gain, source: null });
    });
    this.duration = Math.min(...buffers.map((buffer) => buffer.duration));
    this.loop = [0, this.duration];
    this.offset = 0;
  }

  get position() {
    if (!this.isPlaying) return this.offset;
    const [from, to] = this.loop;
    const at = this.offset + Math.max(0, this.context.currentTime - this.startedAt);
    return at < to ? at : from + ((at - from) % (to - from));
  }

  async play() {
    if (this.isPlaying || !this.tracks.size) return;
    // Browsers let sound begin only at a person's wish.
    await this.context.resume();
    if (!this.isPlaying) this.start(this.offset);
  }

  start(offset) {
    const [from, to] = this.loop;
    const when = this.context.currentTime + 0.02;
    for (const [id, track] of this.tracks) {
      track.gain.gain.cancelScheduledValues(0);
      track.gain.gain.value = id === this.current ? 1 : 0;
      const source = this.context.createBufferSource();
      source.buffer = track.buffer;
      source.loop = true;
      source.loopStart = from;
      source.loopEnd = to;
      source.connect(track.gain);
      track.source = source;
    }
    this.offset = Math.min(Math.max(offset, from), to - 0.001);
    for (const track of this.tracks.values()) track.source.start(when, this.offset);
    this.startedAt = when;
    this.dippedAt = 0;
    this.master.gain.cancelScheduledValues(0);
    this.master.gain.setValueAtTime(0, this.context.currentTime);
    this.master.gain.setTargetAtTime(1, when, FADE_S / 3);
    this.isPlaying = true;
  }

  // Take note of what sounds; by the clock of the sound, which stands when nothing is heard.
  note() {
    const isHeard = this.context.currentTime > Math.max(this.startedAt, this.selectedAt);
    if (this.isPlaying && isHeard) this.played.add(this.name);
  }

  pause() {
    if (!this.isPlaying) return;
    this.note();
    this.offset = this.position;
    this.isPlaying = false;
    const now = this.context.currentTime;
    this.master.gain.cancelScheduledValues(0);
    this.master.gain.setTargetAtTime(0, now, FADE_S / 3);
    for (const track of this.tracks.values()) track.source.stop(now + 2 * FADE_S);
  }

  // Give back what the browser keeps for sound.
  close() {
    this.pause();
    this.context.close();
  }

  // Let another sound be heard at the same place.
  select(id, name = id) {
    this.note();
    this.current = id;
    this.name = name;
    this.selectedAt = this.context.currentTime;
    if (!this.isPlaying) return;
    for (const [name, track] of this.tracks) {
      const target = name === id ? 1 : 0;
      // From whatever the gain is now; both exponentials add up to 1.
      track.gain.gain.setTargetAtTime(target, this.context.currentTime, FADE_S / 3);
    }
  }

  seek(position) {
    const wasPlaying = this.isPlaying;
    this.pause();
    const [from, to] = this.loop;
    this.offset = Math.min(Math.max(position, from), to - 0.001);
    if (wasPlaying) this.start(this.offset);
  }

  setLoop(from, to) {
    const at = this.position;
    this.loop = [from, to];
    this.seek(at >= from && at < to ? at : from);
  }

  // Called often: takes the click out of the place where a loop begins again.
  tick() {
    if (!this.isPlaying) return;
    this.note();
    const [from, to] = this.loop;
    const now = this.context.currentTime;
    let next = this.startedAt + to - this.offset;
    if (next < now) next += Math.ceil((now - next) / (to - from)) * (to - from);
    if (next - now > 0.3 || next <= this.dippedAt + 0.02 || next - now < 2 * FADE_S) return;
    this.master.gain.setTargetAtTime(0, next - 1.3 * FADE_S, FADE_S / 3);
    this.master.gain.setTargetAtTime(1, next, FADE_S / 3);
    this.dippedAt = next;
  }
}
