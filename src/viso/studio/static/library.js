// The songs of this browser: sent, separated, forgotten. What the server holds is found again
// after a reload by the ids that are kept here.

import { api, upload } from "./api.js";
import { bytes, roughly } from "./dom.js";
import { Watch, isOver } from "./watch.js";

const KEY = "viso.songs";
const UNDO_MS = 10000;

function remembered() {
  try {
    const songs = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(songs) ? songs.filter((song) => typeof song?.id === "string") : [];
  } catch {
    return [];
  }
}

// A song on its way to the server, or there: `info` is what the server said of it.
class Song {
  constructor({ file = null, info = null, name }) {
    Object.assign(this, { file, info, name });
    this.sent = 0; // share of the file that is sent
    this.error = null;
    this.stop = null;
    this.jobs = [];
  }

  get id() {
    return this.info?.id ?? null;
  }

  get isReady() {
    return this.info !== null;
  }

  get activeJob() {
    return this.jobs.find((job) => !isOver(job)) ?? null;
  }

  get bestJob() {
    const done = this.jobs.filter((job) => job.state === "done");
    return this.activeJob ?? done.at(-1) ?? this.jobs.at(-1) ?? null;
  }
}

// Events: "songs" (one came or went), "song" (detail: the song that changed), "away" (detail:
// whether the server is), "removed" (detail: {text, undo}), "trouble" (detail: text).
export class Library extends EventTarget {
  constructor() {
    super();
    this.songs = [];
    this.models = [];
    this.limits = {};
    this.removals = new Set();
    this.seen = new Set(); // ids that this window has known: others belong to other windows
    this.isSending = false;
    this.watch = new Watch({
      onjob: (job) => this.take(job),
      ongone: (id) => this.lose(id),
      onaway: (isAway) => this.tell("away", isAway),
    });
  }

  tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  get defaultModel() {
    return this.models.find((model) => model.default) ?? this.models[0];
  }

  async open() {
    [this.models, this.limits] = await Promise.all([api.models(), api.limits()]);
    const kept = remembered();
    const found = await Promise.all(kept.map((one) => this.find(one)));
    for (const { id } of kept) this.seen.add(id);
    this.songs.push(...found.filter(Boolean));
    this.save();
    this.tell("songs");
  }

  // A remembered song with those of its jobs that the server still has; null if it has none.
  async find({ id, name, jobs }) {
    try {
      const song = new Song({ info: await api.song(id), name });
      song.name = song.info.name ?? name;
      const known = Array.isArray(jobs) ? jobs : [];
      const answers = await Promise.allSettled(known.map((job) => api.job(job)));
      song.jobs = answers.filter((one) => one.status === "fulfilled").map((one) => one.value);
      for (const job of song.jobs) if (!isOver(job)) this.watch.follow(job.id);
      return song;
    } catch (error) {
      if (error.isGone) return null;
      throw error;
    }
  }

  save() {
    const mine = this.songs.filter((song) => song.isReady).map((song) => ({
      id: song.id, name: song.name, jobs: song.jobs.map((job) => job.id),
    }));
    for (const { id } of mine) this.seen.add(id);
    const songs = [...remembered().filter(({ id }) => !this.seen.has(id)), ...mine];
    try {
      localStorage.setItem(KEY, JSON.stringify(songs));
    } catch {
      // Without storage the page works until it is closed.
    }
  }

  add(files) {
    for (const file of files) {
      const song = new Song({ file, name: file.name });
      const most = this.limits.upload_bytes;
      if (most && file.size > most) {
        song.error = `This file has ${bytes(file.size)}; the server takes ${bytes(most)} at most.`;
      } else if (!file.size) {
        song.error = "This file is empty.";
      }
      this.songs.push(song);
    }
    this.tell("songs");
    this.send();
  }

  // One after the other: two uploads at once only make both late.
  async send() {
    if (this.isSending) return;
    this.isSending = true;
    for (;;) {
      const song = this.songs.find((one) => !one.isReady && !one.error);
      if (!song) break;
      const { sent, stop } = upload(song.file, (share) => {
        song.sent = share;
        this.tell("song", song);
      });
      song.stop = stop;
      try {
        song.info = await sent;
        song.name = song.info.name ?? song.name;
        song.file = null;
        this.save();
      } catch (error) {
        if (error.name !== "AbortError") song.error = error.message;
      }
      song.stop = null;
      this.tell("song", song);
    }
    this.isSending = false;
  }

  retry(song) {
    song.error = null;
    song.sent = 0;
    this.tell("song", song);
    this.send();
  }

  // Ask for a separation; throws a Failure that says why there is none.
  async separate(song, settings) {
    const job = await api.separate(song.id, settings);
    song.jobs.push(job);
    this.save();
    if (!isOver(job)) this.watch.follow(job.id);
    this.tell("song", song);
    return job;
  }

  async cancel(job) {
    const answer = await api.cancel(job.id);
    if (answer?.id === job.id) this.take(answer);
  }

  songOf(id) {
    return this.songs.find((song) => song.jobs.some((job) => job.id === id));
  }

  take(job) {
    const song = this.songOf(job.id);
    if (!song) return;
    song.jobs = song.jobs.map((one) => (one.id === job.id ? job : one));
    if (isOver(job)) this.watch.forget(job.id);
    this.tell("song", song);
  }

  lose(id) {
    const song = this.songOf(id);
    if (!song) return;
    song.jobs = song.jobs.filter((job) => job.id !== id);
    this.save();
    this.tell("song", song);
  }

  removeSong(song) {
    const at = this.songs.indexOf(song);
    song.stop?.();
    this.songs.splice(at, 1);
    for (const job of song.jobs) this.watch.forget(job.id);
    this.save();
    this.tell("songs");
    const back = () => {
      this.songs.splice(Math.min(at, this.songs.length), 0, song);
      for (const job of song.jobs) if (!isOver(job)) this.watch.follow(job.id);
      this.save();
      this.tell("songs");
      this.send();
    };
    this.later(`“${song.name}” was removed.`, song.isReady ? api.songPath(song.id) : null, back);
  }

  removeJob(song, job) {
    const at = song.jobs.indexOf(job);
    song.jobs.splice(at, 1);
    this.watch.forget(job.id);
    this.save();
    this.tell("song", song);
    this.later("The separation was removed.", api.jobPath(job.id), () => {
      song.jobs.splice(Math.min(at, song.jobs.length), 0, job);
      if (!isOver(job)) this.watch.follow(job.id);
      this.save();
      this.tell("song", song);
    });
  }

  // Removing becomes true on the server when it can no longer be undone.
  later(text, path, back) {
    const removal = {
      run: () => {
        clearTimeout(removal.timer);
        if (!this.removals.delete(removal) || !path) return;
        api.remove(path).catch((error) => this.tell("trouble", error.message));
      },
    };
    removal.timer = setTimeout(removal.run, UNDO_MS);
    this.removals.add(removal);
    this.tell("removed", {
      text,
      forMs: UNDO_MS,
      undo: () => {
        clearTimeout(removal.timer);
        if (this.removals.delete(removal)) back();
      },
    });
  }

  // The page is about to close.
  flush() {
    for (const removal of [...this.removals]) removal.run();
  }
}

// What a job is of, in words: "Whole song", "0:30 – 0:50".
export function lengthOf(song, job) {
  const length = song.info?.audio_s ?? null;
  const start = job.start_s ?? 0;
  const rest = job.n_samples ? job.n_samples / job.rate_hz : Math.max(0, (length ?? start) - start);
  const duration = job.duration_s ?? rest;
  const isToEnd = length === null ? job.duration_s === null : start + duration >= length - 0.01;
  return { start, duration, isWhole: start === 0 && isToEnd };
}

// "about 2 min left", "3rd in the queue", ...
export function told(job) {
  if (job.state === "queued") {
    if (!job.place) return "Waiting to begin";
    return job.place === 1 ? "Next in the queue" : `Number ${job.place} in the queue`;
  }
  if (job.state === "running") {
    const left = Number.isFinite(job.left_s) ? `, about ${roughly(job.left_s)} left` : "";
    return `Separating: ${Math.floor(100 * (job.progress ?? 0))} %${left}`;
  }
  return { done: "Done", failed: "Failed", cancelled: "Cancelled" }[job.state] ?? job.state;
}
