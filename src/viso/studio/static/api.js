// The server, as the page sees it.

// A request that went wrong; `message` can be shown as it is, `status` is 0 if nobody answered.
export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  get isGone() {
    return this.status === 404 || this.status === 410;
  }
}

const AWAY = "The server does not answer. Is “viso serve” still running?";

function detailOf(text, status) {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string" && detail) return detail;
    if (Array.isArray(detail) && detail.length) return detail.map((one) => one.msg).join("; ");
  } catch {
    // An answer that is no JSON has nothing to say to a person.
  }
  return {
    404: "The server no longer has this.",
    413: "This file is too large for the server.",
    429: "The server is busy; try again in a moment.",
    503: "The server is busy; try again in a moment.",
    507: "The server has no room left.",
  }[status] ?? `The server answered with error ${status}.`;
}

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(AWAY, 0);
  }
  // With a token a visit can end: a login begins another.
  if (response.status === 401) location.assign("/login");
  if (!response.ok) throw new Failure(detailOf(await response.text(), response.status), response.status);
  return response;
}

export async function getJson(path) {
  return (await request(path)).json();
}

async function post(path, value) {
  const options = { method: "POST" };
  if (value !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(value);
  }
  const text = await (await request(path, options)).text();
  return text ? JSON.parse(text) : null;
}

const songPath = (id) => `/api/songs/${encodeURIComponent(id)}`;
const jobPath = (id) => `/api/jobs/${encodeURIComponent(id)}`;

export const api = {
  models: () => getJson("/api/models"),
  limits: () => getJson("/api/limits"),
  song: (id) => getJson(songPath(id)),
  job: (id) => getJson(jobPath(id)),
  separate: (id, settings) => post(`${songPath(id)}/jobs`, settings),
  cancel: (id) => post(`${jobPath(id)}/cancel`),
  // What is gone already needs no deleting; `keepalive` lets it finish after the page has closed.
  async remove(path) {
    try {
      await request(path, { method: "DELETE", keepalive: true });
    } catch (error) {
      if (!error.isGone) throw error;
    }
  },
  songPath,
  jobPath,
  eventsPath: (id) => `${jobPath(id)}/events`,
  stemPath: (id, stem, format) => `${jobPath(id)}/stems/${stem}.${format}`,
  // As exact as it is kept; the player is content with 16 bits.
  downloadPath: (id, stem, format) =>
    `${jobPath(id)}/stems/${stem}.${format}${format === "wav" ? "?bits=24" : ""}`,
  mixPath: (id, format, levels) => `${jobPath(id)}/mix.${format}?${new URLSearchParams(levels)}`,
  peaks: (id, stem, points) => getJson(`${jobPath(id)}/peaks?stem=${stem}&points=${points}`),
  spectrogramPath: (id, stem, width, height) =>
    `${jobPath(id)}/spectrogram/${stem}.png?width=${width}&height=${height}`,
  confidence: (id) => getJson(`${jobPath(id)}/confidence`),
};

// Send a file; `onprogress(share)` goes from 0 to 1. Returns the promise and a way to stop it.
export function upload(file, onprogress) {
  const call = new XMLHttpRequest();
  const sent = new Promise((resolve, reject) => {
    call.open("POST", `/api/songs?${new URLSearchParams({ name: file.name })}`);
    call.setRequestHeader("Content-Type", "application/octet-stream");
    call.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onprogress(event.loaded / event.total);
    });
    call.addEventListener("load", () => {
      if (call.status < 200 || call.status > 299) {
        reject(new Failure(detailOf(call.responseText, call.status), call.status));
        return;
      }
      try {
        resolve(JSON.parse(call.responseText));
      } catch {
        reject(new Failure("The server's answer cannot be read.", call.status));
      }
    });
    call.addEventListener("error", () => reject(new Failure(AWAY, 0)));
    call.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    call.send(file);
  });
  return { sent, stop: () => call.abort() };
}
