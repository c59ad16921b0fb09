// What views are put together from: elements, text of times and sizes, what is read aloud.

// Make an element; attributes that are functions are event handlers, booleans are properties.
// Children are nodes or text: text never becomes markup.
export function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

// A picture of 24 x 24 beside text that says the same.
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const ICONS = {
  play: "M7 4.5v15l12.5-7.5z",
  pause: "M6.5 4.5h4v15h-4zM13.5 4.5h4v15h-4z",
  back: "M6 5h2.5v14H6zM19 5v14L9.5 12z",
  loop: "M6 8h10V5l5 4.5-5 4.5v-3H8.5v3H6zM18 16H8v3l-5-4.5L8 10v3h7.5v-1H18z",
  bin: "M9 3h6l1 2h4v2H4V5h4zM6 9h12l-1 12H7z",
  down: "M10.5 3h3v9h4L12 18l-5.5-6h4zM5 19.5h14V22H5z",
  cross: "M5.6 4.2 12 10.6l6.4-6.4 1.4 1.4-6.4 6.4 6.4 6.4-1.4 1.4-6.4-6.4-6.4 6.4-1.4-1.4 6.4-6.4-6.4-6.4z",
  up: "M12 3l6.5 7h-4.6v7h-3.8v-7H5.5zM5 19.5h14V22H5z",
};

// Write text only where it changes: screen readers and layout are left in peace.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function say(text) {
  write(document.getElementById("live"), text);
}

// 75.3 -> "1:15.3"; with hours where there are some.
export function clock(seconds, places = 1) {
  const scale = 10 ** places;
  const units = Math.round(Math.max(0, seconds) * scale);
  const rest = units % (60 * scale);
  const minutes = Math.floor(units / (60 * scale)) % 60;
  const hours = Math.floor(units / (3600 * scale));
  const whole = String(Math.floor(rest / scale)).padStart(2, "0");
  const part = places ? `.${String(rest % scale).padStart(places, "0")}` : "";
  const head = hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`;
  return `${head}:${whole}${part}`;
}

// "1:15.3", "75.3", "75,3" or "1:02:03" -> seconds; null if it is no time.
export function seconds(text) {
  const parts = text.trim().replace(",", ".").split(":");
  if (parts.length > 3 || !parts.every((part, i) => (
    i === parts.length - 1 ? /^\d+(\.\d*)?$|^\.\d+$/ : /^\d+$/).test(part))) return null;
  return parts.reduce((sum, part) => sum * 60 + Number(part), 0);
}

// For screen readers: "1 minute 15.3 seconds".
export function spoken(time) {
  const minutes = Math.floor(time / 60);
  const rest = `${(time - 60 * minutes).toFixed(1)} seconds`;
  return minutes ? `${minutes} ${minutes === 1 ? "minute" : "minutes"} ${rest}` : rest;
}

export function bytes(n) {
  if (n < 1e6) return `${Math.max(1, Math.round(n / 1e3))} kB`;
  return n < 1e9 ? `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB` : `${(n / 1e9).toFixed(1)} GB`;
}

export function roughly(time) {
  if (time < 50) return `${Math.max(1, Math.round(time))} s`;
  if (time < 5400) return `${Math.round(time / 60)} min`;
  return `${(time / 3600).toFixed(time < 36000 ? 1 : 0)} h`;
}

export function channels(n) {
  return { 1: "mono", 2: "stereo", 6: "5.1", 8: "7.1" }[n] ?? `${n} channels`;
}

// The slider's left end is silence.
export const SILENT_DB = -41;

export function decibels(level) {
  if (level <= SILENT_DB) return "silent";
  const sign = level > 0 ? "+" : level < 0 ? "−" : "";
  const size = Math.abs(level);
  return `${sign}${Number.isInteger(size) ? size : size.toFixed(1)} dB`;
}

export function gainOf(level) {
  return level <= SILENT_DB ? 0 : 10 ** (level / 20);
}
