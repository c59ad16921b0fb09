// Exact pieces of the WAV files of all stems, fetched as they are needed: an hour never lies in
// memory as a whole.

export const PIECE_S = 4;
const MEMORY = 64e6;
const TRIES = 4;

// A server's fault, not the line's: trying again would not help.
class Unusable extends Error {}

// Where the samples begin, and how they lie; from the first bytes of a file.
export function readHeader(buffer) {
  const view = new DataView(buffer);
  const word = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 44 || word(0) !== "RIFF" || word(8) !== "WAVE") {
    throw new Unusable("A stem is no WAV file.");
  }
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength;) {
    const size = view.getUint32(at + 4, true);
    if (word(at) === "fmt ") {
      format = {
        nChannels: view.getUint16(at + 10, true),
        rate: view.getUint32(at + 12, true),
        bits: view.getUint16(at + 22, true),
      };
    } else if (word(at) === "data") {
      if (!format || format.bits !== 16) throw new Unusable("A stem is no WAV file of 16 bits.");
      const frameBytes = 2 * format.nChannels;
      return { ...format, frameBytes, dataAt: at + 8, nFrames: Math.floor(size / frameBytes) };
    }
    at += 8 + size + (size % 2);
  }
  throw new Unusable("The sound of a stem cannot be found in its file.");
}

async function fetchRange(url, from, to, signal) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await fetch(url, { headers: { Range: `bytes=${from}-${to - 1}` }, signal });
      if (response.status === 206) return await response.arrayBuffer();
      // A server that does not know ranges sends everything.
      if (response.status === 200) return (await response.arrayBuffer()).slice(from, to);
      if (response.status < 500) throw new Unusable(`A stem cannot be fetched (error ${response.status}).`);
      throw new Error(`error ${response.status}`);
    } catch (error) {
      if (error.name === "AbortError" || error instanceof Unusable) throw error;
      if (attempt === TRIES) throw new Unusable("The server does not answer; the sound cannot go on.");
      await new Promise((resolve) => { setTimeout(resolve, 300 * 2 ** attempt); });
    }
  }
}

export class Pieces {
  // `urls`: stem -> address of its WAV.
  constructor(urls) {
    this.urls = urls;
    this.stems = Object.keys(urls);
    this.loaded = new Map(); // index -> {stem: AudioBuffer}, the latest used last
    this.loading = new Map(); // index -> promise
    this.stopper = new AbortController();
  }

  async open() {
    const headers = await Promise.all(this.stems.map(async (stem) => (
      readHeader(await fetchRange(this.urls[stem], 0, 4096, this.stopper.signal)))));
    const [first] = headers;
    if (headers.some((one) => one.rate !== first.rate || one.nFrames !== first.nFrames)) {
      throw new Unusable("The stems are not equally long.");
    }
    this.headers = Object.fromEntries(this.stems.map((stem, i) => [stem, headers[i]]));
    this.rate = first.rate;
    this.nFrames = first.nFrames;
    this.length = Math.round(PIECE_S * this.rate);
    this.count = Math.ceil(this.nFrames / this.length);
    const size = this.stems.length * this.length * first.nChannels * 4;
    this.most = Math.max(5, Math.floor(MEMORY / size));
    return this;
  }

  close() {
    this.stopper.abort();
    this.loaded.clear();
  }

  indexOf(frame) {
    return Math.floor(frame / this.length);
  }

  // The piece if it is there, else undefined.
  get(index) {
    const piece = this.loaded.get(index);
    if (piece) {
      this.loaded.delete(index);
      this.loaded.set(index, piece);
    }
    return piece;
  }

  load(index) {
    const there = this.get(index);
    if (there) return Promise.resolve(there);
    if (!this.loading.has(index)) {
      const promise = this.fetchPiece(index).finally(() => this.loading.delete(index));
      this.loading.set(index, promise);
    }
    return this.loading.get(index);
  }

  async fetchPiece(index) {
    const buffers = await Promise.all(this.stems.map((stem) => this.fetchStem(stem, index)));
    const piece = Object.fromEntries(this.stems.map((stem, i) => [stem, buffers[i]]));
    this.loaded.set(index, piece);
    for (const old of this.loaded.keys()) {
      if (this.loaded.size <= this.most) break;
      this.loaded.delete(old);
    }
    return piece;
  }

  async fetchStem(stem, index) {
    const { dataAt, frameBytes, nChannels, rate } = this.headers[stem];
    const from = index * this.length;
    const to = Math.min(this.nFrames, from + this.length);
    const raw = await fetchRange(
      this.urls[stem], dataAt + from * frameBytes, dataAt + to * frameBytes, this.stopper.signal);
    if (raw.byteLength !== (to - from) * frameBytes) throw new Unusable("A stem ends too early.");
    const view = new DataView(raw);
    const buffer = new AudioBuffer({ length: to - from, numberOfChannels: nChannels, sampleRate: rate });
    for (let channel = 0; channel < nChannels; channel += 1) {
      const samples = buffer.getChannelData(channel);
      for (let n = 0, at = 2 * channel; n < samples.length; n += 1, at += frameBytes) {
        samples[n] = view.getInt16(at, true) / 32768;
      }
    }
    return buffer;
  }
}
