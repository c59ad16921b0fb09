// Plays the stems of a song in step, to the sample: every piece of every stem is told beforehand
// at which sample of the sound card's clock it begins. Switching moves gains, never the place.

const RAMP_S = 0.006;
const LEAD_S = 0.05; // between asking for a sound and its start
const AHEAD_S = 6; // told beforehand: a page in the background wakes once a second
const TICK_MS = 200;

// Turn a gain without a click. All gains turned at once keep their sum: equal exponentials.
function turn(param, value, now) {
  param.setTargetAtTime(value, now, RAMP_S / 3);
}

// A context at the song's own rate, so that no sound is resampled piece by piece.
export function contextFor(rate) {
  try {
    return new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
  } catch {
    return new AudioContext({ latencyHint: "interactive" });
  }
}

export class Player extends EventTarget {
  // `pieces` are open already; `ahead` is how many seconds are told beforehand.
  constructor(context, pieces, { ahead = AHEAD_S } = {}) {
    super();
    Object.assign(this, { context, pieces, ahead });
    this.rate = pieces.rate;
    this.nFrames = pieces.nFrames;
    this.loop = null; // [from, to) in frames while a region is repeated
    this.rest = 0; // the place while nothing plays
    this.plan = []; // what was told: {at, from, to, voices}; `at` in frames of the context's clock
    this.next = null; // where the plan goes on: {at, frame, isStart}
    this.isPlaying = false;
    this.isWaiting = false;
    this.turnNumber = 0;
    this.timer = null;
    this.connect();
  }

  connect() {
    const gain = (target) => {
      const node = this.context.createGain();
      node.connect(target);
      return node;
    };
    this.master = gain(this.context.destination);
    // The two sides of the A/B switch.
    this.sides = { stems: gain(this.master), original: gain(this.master) };
    this.gains = Object.fromEntries(this.pieces.stems.map((stem) => (
      [stem, gain(stem === "mixture" ? this.sides.original : this.sides.stems)])));
    this.side = "stems";
    this.sides.original.gain.value = 0;
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  // `gains`: stem -> factor, from now on.
  setGains(gains) {
    for (const [stem, value] of Object.entries(gains)) {
      turn(this.gains[stem].gain, value, this.context.currentTime);
    }
  }

  hear(side) {
    this.side = side;
    for (const [name, node] of Object.entries(this.sides)) {
      turn(node.gain, name === side ? 1 : 0, this.context.currentTime);
    }
    this.changed();
  }

  get now() {
    return this.context.currentTime * this.rate;
  }

  // The place that is heard at a time of the context's clock, both in frames.
  placeAt(now) {
    const past = this.plan.filter((entry) => entry.at <= now);
    const entry = past.at(-1) ?? this.plan[0];
    if (!this.isPlaying || !entry) return this.rest;
    return Math.min(entry.to, Math.max(entry.from, entry.from + now - entry.at));
  }

  get frame() {
    return this.placeAt(this.now);
  }

  // What reaches the ear now was computed a moment ago.
  get heardFrame() {
    const late = this.context.outputLatency;
    return this.placeAt(this.now - (Number.isFinite(late) ? late : 0) * this.rate);
  }

  async play() {
    if (this.isPlaying) return;
    this.isPlaying = true;
    this.changed();
    // Browsers let sound begin only at a person's wish.
    if (this.context.state !== "running") await this.context.resume();
    if (this.isPlaying) await this.begin(this.rest >= this.nFrames ? 0 : this.rest);
  }

  // Start at a frame as soon as its piece is there.
  async begin(frame) {
    this.turnNumber += 1;
    const mine = this.turnNumber;
    this.rest = frame;
    this.plan = [];
    this.next = null;
    this.setWaiting(!this.pieces.get(this.pieces.indexOf(frame)));
    try {
      await this.pieces.load(this.pieces.indexOf(frame));
    } catch (error) {
      if (mine === this.turnNumber) this.fail(error);
      return;
    }
    if (mine !== this.turnNumber || !this.isPlaying) return;
    this.setWaiting(false);
    this.next = { at: Math.ceil(this.now + LEAD_S * this.rate), frame, isStart: true };
    this.fill();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.fill(), TICK_MS);
  }

  setWaiting(isWaiting) {
    if (isWaiting === this.isWaiting) return;
    this.isWaiting = isWaiting;
    this.changed();
  }

  fail(error) {
    this.pause();
    if (error.name !== "AbortError") this.dispatchEvent(new CustomEvent("failure", { detail: error }));
  }

  // Tell the sound card what comes, as far as it is loaded.
  fill() {
    if (!this.isPlaying || !this.next) return;
    const horizon = this.now + this.ahead * this.rate;
    while (this.next.at < horizon) {
      const { at, frame } = this.next;
      if (frame >= this.nFrames) {
        if (this.now >= at) this.stopAt(0);
        return;
      }
      const index = this.pieces.indexOf(frame);
      const piece = this.pieces.get(index);
      if (!piece) {
        this.pieces.load(index).then(() => this.fill(), (error) => this.fail(error));
        // The line is slower than the song: wait, then go on with all stems together.
        if (this.now >= at) this.begin(frame);
        return;
      }
      if (this.now >= at) {
        this.begin(frame);
        return;
      }
      this.tell(piece, index);
    }
    this.prefetch();
    const heard = this.now - this.rate;
    this.plan = this.plan.filter((entry, i) => (
      i === this.plan.length - 1 || entry.at + entry.to - entry.from > heard));
  }

  tell(piece, index) {
    const { at, frame, isStart } = this.next;
    const first = index * this.pieces.length;
    const [loopFrom, loopTo] = this.loop ?? [0, Infinity];
    const isInLoop = frame < loopTo && loopTo <= this.nFrames;
    const end = Math.min(this.nFrames, first + this.pieces.length, isInLoop ? loopTo : Infinity);
    const isTurn = isInLoop && end === loopTo;
    const voices = this.pieces.stems.map((stem) => this.sound(stem, piece[stem], {
      at, offset: frame - first, length: end - frame, isStart, isEnd: isTurn,
    }));
    this.plan.push({ at, from: frame, to: end, voices });
    this.next = { at: at + end - frame, frame: isTurn ? loopFrom : end, isStart: isTurn };
  }

  // One piece of one stem; a ramp where its edge is none of the song's.
  sound(stem, buffer, { at, offset, length, isStart, isEnd }) {
    const source = this.context.createBufferSource();
    const edge = this.context.createGain();
    const begin = at / this.rate;
    const end = (at + length) / this.rate;
    const ramp = Math.min(RAMP_S, length / this.rate / 2);
    if (isStart) {
      edge.gain.setValueAtTime(0, begin);
      edge.gain.linearRampToValueAtTime(1, begin + ramp);
    }
    if (isEnd) {
      edge.gain.setValueAtTime(1, end - ramp);
      edge.gain.linearRampToValueAtTime(0, end);
    }
    source.buffer = buffer;
    source.connect(edge).connect(this.gains[stem]);
    source.start(begin, offset / this.rate, length / this.rate);
    source.addEventListener("ended", () => edge.disconnect());
    return { source, edge };
  }

  prefetch() {
    const wanted = [this.pieces.indexOf(this.next.frame)];
    if (this.loop) wanted.push(this.pieces.indexOf(this.loop[0]));
    for (const index of wanted) {
      if (index < this.pieces.count) this.pieces.load(index).catch(() => {});
    }
  }

  // Let everything that was told fall silent.
  hush() {
    const now = this.context.currentTime;
    for (const { voices } of this.plan) {
      for (const { source, edge } of voices) {
        edge.gain.cancelScheduledValues(now);
        turn(edge.gain, 0, now);
        source.stop(now + 3 * RAMP_S);
      }
    }
    this.plan = [];
    this.next = null;
  }

  pause() {
    if (!this.isPlaying) return;
    this.rest = Math.round(this.frame);
    this.stopAt(this.rest);
  }

  stopAt(frame) {
    this.hush();
    this.turnNumber += 1;
    clearInterval(this.timer);
    this.isPlaying = false;
    this.isWaiting = false;
    this.rest = frame;
    this.changed();
  }

  seek(frame) {
    const to = Math.round(Math.min(Math.max(0, frame), this.nFrames));
    if (!this.isPlaying) {
      this.rest = to;
      this.changed();
      return;
    }
    this.hush();
    this.begin(Math.min(to, this.nFrames - 1));
  }

  // Repeat [from, to), or nothing if null; what sounds goes on without a gap if it is inside.
  setLoop(loop) {
    this.loop = loop;
    if (loop && this.isPlaying && (this.frame < loop[0] || this.frame >= loop[1])) this.seek(loop[0]);
    else if (this.isPlaying && this.next) this.tellAnew();
    if (loop && !this.isPlaying && (this.rest < loop[0] || this.rest >= loop[1])) this.seek(loop[0]);
    this.changed();
  }

  // Take back what has not sounded yet and go on from there, to the sample.
  tellAnew() {
    const at = Math.ceil(this.now + LEAD_S * this.rate);
    const entry = this.plan.filter((one) => one.at <= at).at(-1);
    if (!entry || at >= entry.at + entry.to - entry.from) {
      this.seek(this.frame);
      return;
    }
    for (const { at: start, voices } of this.plan) {
      for (const { source, edge } of voices) {
        if (start >= at) {
          source.stop();
          edge.disconnect();
        } else if (start <= entry.at) {
          edge.gain.cancelScheduledValues(at / this.rate);
          source.stop(at / this.rate);
        }
      }
    }
    const frame = entry.from + at - entry.at;
    this.plan = this.plan.filter((one) => one.at < at);
    entry.to = frame;
    this.next = { at, frame, isStart: false };
    this.fill();
  }

  close() {
    this.stopAt(0);
    this.pieces.close();
    this.master.disconnect();
  }
}
