"use strict";
// What pages are put together from.

// Make an element; attributes that are functions are event handlers.
function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function paragraphs(text) {
  return text.split(/\n\s*\n/).filter((part) => part.trim()).map((part) => el("p", {}, part.trim()));
}

function say(text) {
  document.getElementById("live").textContent = text;
}

function clock(seconds) {
  return `${seconds.toFixed(1)} s`;
}

// Replace what is shown; the focus goes to its heading, so that it is read out.
function show(...children) {
  const main = document.getElementById("main");
  main.replaceChildren(...children.filter((child) => child !== null));
  const heading = main.querySelector("h1");
  if (heading) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
  window.scrollTo(0, 0);
}

function progress(session) {
  const done = session.state.page;
  const total = session.pages.length;
  const inner = el("div", {});
  inner.style.width = `${(100 * done) / total}%`;
  return el("div", {
    class: "bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0,
    "aria-valuemax": total, "aria-valuenow": done,
  }, inner);
}

// A slider with its name before it and its value behind it.
function slide(name, value, max, oninput) {
  const told = el("output", {}, clock(value));
  const input = el("input", {
    type: "range", min: 0, max, step: 0.1, "aria-label": name,
    input: () => oninput(Number(input.value)),
  });
  input.value = value;
  const set = (seconds) => {
    input.value = seconds;
    told.textContent = clock(seconds);
    input.setAttribute("aria-valuetext", `${seconds.toFixed(1)} seconds`);
  };
  set(value);
  return { row: el("div", { class: "slide" }, el("span", { "aria-hidden": "true" }, name), input, told), set };
}

// Play and pause, the place, the loop.
class Transport {
  constructor(player, onchange) {
    this.player = player;
    this.onchange = onchange;
    const length = player.duration;
    this.button = el("button", { type: "button", class: "main", click: () => this.toggle() }, "Play");
    this.place = slide("Position", 0, length, (at) => { player.seek(at); this.update(); });
    this.from = slide("Loop from", 0, length, (at) => this.loop(at, player.loop[1], true));
    this.to = slide("Loop to", length, length, (at) => this.loop(player.loop[0], at, false));
    const all = el("button", { type: "button", click: () => this.loop(0, length, true) }, "Whole excerpt");
    this.keys = el("input", { type: "checkbox", checked: true });
    this.extra = el("span", { class: "row" });
    this.element = el("section", { class: "transport", "aria-label": "Playback" },
      el("div", { class: "row" }, this.button, this.extra),
      this.place.row, this.from.row, this.to.row,
      el("div", { class: "row between" }, all,
        el("label", { class: "row soft" }, this.keys, "Keyboard shortcuts")));
  }

  loop(from, to, isStart) {
    const length = this.player.duration;
    const least = Math.min(0.5, length);
    if (to - from < least) {
      if (isStart) from = Math.max(0, to - least);
      else to = Math.min(length, from + least);
      if (to - from < least) [from, to] = isStart ? [0, least] : [length - least, length];
    }
    this.player.setLoop(from, to);
    this.update();
  }

  async toggle() {
    if (this.player.isPlaying) this.player.pause();
    else await this.player.play();
    this.update();
  }

  async choose(id, name = id) {
    this.player.select(id, name);
    await this.player.play();
    this.update();
  }

  update() {
    this.button.textContent = this.player.isPlaying ? "Pause" : "Play";
    this.place.set(this.player.position);
    this.from.set(this.player.loop[0]);
    this.to.set(this.player.loop[1]);
    this.onchange();
  }

  frame() {
    const before = this.player.played.size;
    this.player.tick();
    this.place.set(this.player.position);
    if (this.player.played.size !== before) this.onchange();
  }
}
