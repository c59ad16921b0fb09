// Follows jobs until they are over: by events where a connection is free, else by asking.

import { api } from "./api.js";

// Browsers open six connections to a server over HTTP/1.1, in all windows together.
const STREAMS = 2;
const ASK_MS = 2500;
const SLOWEST_MS = 15000;

export const isOver = (job) => !["queued", "running"].includes(job.state);

export class Watch {
  // `onjob(job)` on news, `ongone(id)` if the server has forgotten it, `onaway(isAway)`.
  constructor({ onjob, ongone, onaway }) {
    Object.assign(this, { onjob, ongone, onaway });
    this.jobs = new Map(); // id -> EventSource or null
    this.broken = new Map(); // id -> when its stream broke
    this.wait = ASK_MS;
    this.timer = null;
    this.isAway = false;
  }

  follow(id) {
    if (this.jobs.has(id)) return;
    this.jobs.set(id, null);
    this.arrange();
  }

  forget(id) {
    this.jobs.get(id)?.close();
    this.jobs.delete(id);
    this.broken.delete(id);
    this.arrange();
  }

  // Streams for the jobs that have waited longest; a question now and then for the others.
  arrange() {
    const open = [...this.jobs.values()].filter(Boolean).length;
    const waiting = [...this.jobs].filter(([id, stream]) => !stream && !this.brokeLately(id));
    for (const [id] of waiting.slice(0, Math.max(0, STREAMS - open))) this.listen(id);
    const isNeeded = [...this.jobs.values()].some((stream) => !stream);
    if (isNeeded && this.timer === null) this.timer = setTimeout(() => this.ask(), this.wait);
  }

  brokeLately(id) {
    return Date.now() - (this.broken.get(id) ?? -Infinity) < 20000;
  }

  listen(id) {
    const stream = new EventSource(api.eventsPath(id));
    this.jobs.set(id, stream);
    stream.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      stream.close();
      if (this.jobs.get(id) !== stream) return;
      this.jobs.set(id, null);
      this.broken.set(id, Date.now());
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), 300);
    });
  }

  take(job) {
    if (!this.jobs.has(job.id)) return;
    this.away(false);
    if (isOver(job)) this.forget(job.id);
    this.onjob(job);
  }

  away(isAway) {
    this.wait = isAway ? Math.min(SLOWEST_MS, this.wait * 1.5) : ASK_MS;
    if (isAway === this.isAway) return;
    this.isAway = isAway;
    this.onaway(isAway);
  }

  async ask() {
    for (const id of [...this.jobs.keys()].filter((one) => !this.jobs.get(one))) {
      try {
        this.take(await api.job(id));
      } catch (error) {
        if (error.isGone) {
          this.forget(id);
          this.ongone(id);
        } else {
          this.away(true);
          break;
        }
      }
    }
    this.timer = null;
    this.arrange();
  }
}
