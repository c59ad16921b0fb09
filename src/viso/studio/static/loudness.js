// How loud things are by ITU-R BS.1770: for an A/B switch at equal loudness.

const BLOCK_S = 0.4;
const MOST_PIECES = 15;

// A biquad from the analogue prototypes behind the standard's table; right at any rate.
function shelf(rate) {
  const [gain, q, hz] = [3.999843853973347, 0.7071752369554196, 1681.974450955533];
  const k = Math.tan((Math.PI * hz) / rate);
  const vh = 10 ** (gain / 20);
  const vb = vh ** 0.4996667741545416;
  const a0 = 1 + k / q + k * k;
  return {
    b: [(vh + (vb * k) / q + k * k) / a0, (2 * (k * k - vh)) / a0, (vh - (vb * k) / q + k * k) / a0],
    a: [(2 * (k * k - 1)) / a0, (1 - k / q + k * k) / a0],
  };
}

function highPass(rate) {
  const [q, hz] = [0.5003270373238773, 38.13547087602444];
  const k = Math.tan((Math.PI * hz) / rate);
  const a0 = 1 + k / q + k * k;
  return { b: [1, -2, 1], a: [(2 * (k * k - 1)) / a0, (1 - k / q + k * k) / a0] };
}

function filtered(samples, { b, a }) {
  const out = new Float64Array(samples.length);
  let [s1, s2] = [0, 0];
  for (let n = 0; n < samples.length; n += 1) {
    const x = samples[n];
    const y = b[0] * x + s1;
    s1 = b[1] * x - a[0] * y + s2;
    s2 = b[2] * x - a[1] * y;
    out[n] = y;
  }
  return out;
}

// Mean squares of blocks of 0.4 s that overlap by three quarters, summed over the channels.
export function blockPowers(channels, rate) {
  const size = Math.round(BLOCK_S * rate);
  const hop = Math.round(size / 4);
  const weighted = channels.map((one) => filtered(filtered(one, shelf(rate)), highPass(rate)));
  const powers = [];
  for (let from = 0; from + size <= weighted[0].length; from += hop) {
    let sum = 0;
    for (const samples of weighted) {
      for (let n = from; n < from + size; n += 1) sum += samples[n] * samples[n];
    }
    powers.push(sum / size);
  }
  return powers;
}

const lufs = (power) => -0.691 + 10 * Math.log10(power);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// Integrated loudness of blocks: absolute gate at -70 LUFS, relative gate at -10 LU; null = silent.
export function integrated(powers) {
  const audible = powers.filter((power) => lufs(power) > -70);
  if (!audible.length) return null;
  const gate = lufs(mean(audible)) - 10;
  return lufs(mean(audible.filter((power) => lufs(power) > gate)));
}

// Loudness of every stem of a song; of one that is long, from pieces all over it.
export async function measure(pieces) {
  const step = Math.max(1, pieces.count / MOST_PIECES);
  const powers = Object.fromEntries(pieces.stems.map((stem) => [stem, []]));
  for (let at = 0; at < pieces.count; at += step) {
    const piece = await pieces.load(Math.floor(at));
    for (const stem of pieces.stems) {
      const buffer = piece[stem];
      const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
      powers[stem].push(...blockPowers(channels, buffer.sampleRate));
    }
  }
  return Object.fromEntries(pieces.stems.map((stem) => [stem, integrated(powers[stem])]));
}

// Loudness of a balance, `gains`: stem -> factor. The power of a sum has a cross term for each pair
// of stems. The mixture, which is the sum of all, tells what they are together; each pair gets its
// share. Exact for the mixture, for each stem alone, and for any balance of two stems.
export function balanceLufs(loudness, gains) {
  const power = (value) => (value === null ? 0 : 10 ** (value / 10));
  const stems = Object.keys(gains);
  const powers = stems.map((stem) => power(loudness[stem]));
  const roots = powers.map(Math.sqrt);
  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  // What the pairs have in common if all were alike: twice the sum of the roots' products.
  const pairs = (values) => total(values) ** 2 - total(values.map((value) => value ** 2));
  const alike = pairs(roots);
  const common = alike > 0 ? (power(loudness.mixture) - total(powers)) / alike : 0;
  const likeness = Math.max(-1, Math.min(1, common));
  const factors = stems.map((stem) => gains[stem]);
  const sum = total(powers.map((one, i) => factors[i] ** 2 * one))
    + likeness * pairs(roots.map((root, i) => factors[i] * root));
  return sum > 1e-9 ? 10 * Math.log10(sum) : null;
}

// The factor that gives the original the loudness of a balance; 1 if one of them is silent.
// It never raises by more than 12 dB.
export function matchingGain(loudness, gains) {
  const balance = loudness ? balanceLufs(loudness, gains) : null;
  if (balance === null || loudness.mixture === null) return 1;
  return Math.min(4, 10 ** ((balance - loudness.mixture) / 20));
}
