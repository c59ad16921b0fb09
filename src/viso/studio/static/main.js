// The studio's page: brings songs, panels and keys together.

import { ICONS, bytes, el, icon, roughly, say, write } from "./dom.js";
import { Library } from "./library.js";
import { SongList } from "./song_list.js";
import { SongPanel } from "./song_panel.js";

const byId = (id) => document.getElementById(id);
const library = new Library();
let panel = null;

const list = new SongList(library, {
  onchoose: (song) => choose(song, true),
  onremove: (song) => {
    library.removeSong(song);
    // The button that had the focus is gone.
    (document.querySelector(".songs .choose") ?? byId("choose")).focus();
  },
  onall: async () => {
    for (const song of list.untouched) {
      try {
        await library.separate(song, { model: library.defaultModel.name });
      } catch (error) {
        notice(error.message);
        break;
      }
    }
  },
});

// For whoever looks in from outside, such as a test.
export const studio = { library, get panel() { return panel; } };

function choose(song, isAsked) {
  if (panel?.song === song) return;
  panel?.close();
  panel = song ? new SongPanel(library, song, { showsHeading: isAsked }) : null;
  byId("panel").replaceChildren(...(panel ? [panel.element] : []));
  list.update(song);
  if (isAsked && matchMedia("(max-width: 60rem)").matches) panel?.element.scrollIntoView();
}

function showSongs() {
  const { songs } = library;
  document.body.classList.toggle("empty", !songs.length);
  if (!songs.includes(panel?.song)) choose(songs.at(-1) ?? null, false);
  list.update();
  title();
}

function title() {
  const job = library.songs.map((song) => song.activeJob).find(Boolean);
  const text = job ? `${Math.floor(100 * (job.progress ?? 0))} % – viso studio` : "viso studio";
  if (document.title !== text) document.title = text;
}

// A message that stays until it is closed, or for a while.
function notice(text, { action = null, forMs = null } = {}) {
  const close = () => box.remove();
  const box = el("div", { class: "notice" }, el("span", {}, text),
    action ? el("button", { type: "button", class: "small", click: () => { close(); action.run(); } }, action.text) : null,
    el("button", { type: "button", class: "round quiet", "aria-label": "Close this message", click: close }, icon(ICONS.cross)));
  byId("notices").append(box);
  if (forMs) setTimeout(close, forMs);
}

function add(files) {
  const before = library.songs.length;
  library.add(files);
  if (library.songs.length > before) choose(library.songs[before], false);
}

function dropping() {
  const shade = byId("shade");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    shade.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    shade.hidden = depth > 0 ? shade.hidden : true;
  });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    shade.hidden = true;
    add(event.dataTransfer.files);
  });
  const input = byId("files");
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  byId("choose").addEventListener("click", () => input.click());
}

function keys() {
  const dialog = byId("help");
  byId("help-button").addEventListener("click", () => dialog.showModal());
  byId("help-close").addEventListener("click", () => dialog.close());
  // Whoever clicks with a pointer wants the space bar to play; the keyboard keeps its place.
  addEventListener("click", (event) => {
    const control = event.detail > 0 && event.target.closest?.(".player button, .player .tick");
    if (control && control.contains(document.activeElement)) document.activeElement.blur();
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const { target } = event;
    const isRange = target.matches?.("input[type=range]");
    if (target.matches?.("input:not([type=range], [type=checkbox], [type=radio]), select, textarea")) return;
    if (isRange && /^(Arrow|Home|End|Page)/.test(event.key)) return;
    if (event.key === " " && target.closest?.("button, a, summary, input:not([type=range])")) return;
    if (target.matches?.("[type=radio]") && event.key.startsWith("Arrow")) return;
    if (event.key === "?") dialog.showModal();
    else if (!panel?.player?.key(event)) return;
    event.preventDefault();
  });
}

function theme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("viso.theme", next);
    } catch {
      // It holds until the page is closed.
    }
    tell();
    document.dispatchEvent(new Event("viso-theme"));
  });
  dark.addEventListener("change", tell);
  tell();
}

function limits() {
  const { upload_bytes: size, length_s: length, keep_s: keep } = library.limits;
  const parts = [
    size && `up to ${bytes(size)}`, length && `${roughly(length)} long at most`,
    keep && `deleted from the server after ${roughly(keep)}`,
  ].filter(Boolean);
  write(byId("limits"), parts.length ? `${parts.join(", ")}.`.replace(/^./, (first) => first.toUpperCase()) : "");
}

library.addEventListener("songs", showSongs);
library.addEventListener("song", ({ detail: song }) => {
  list.update();
  if (panel?.song === song) panel.update();
  title();
});
library.addEventListener("trouble", ({ detail }) => notice(detail));
library.addEventListener("away", ({ detail: isAway }) => {
  byId("away").hidden = !isAway;
  if (!isAway) say("The server answers again.");
});
library.addEventListener("removed", ({ detail: { text, forMs, undo } }) => {
  notice(text, { forMs, action: { text: "Undo", run: undo } });
});
addEventListener("pagehide", () => library.flush());

async function open() {
  try {
    await library.open();
  } catch {
    byId("away").hidden = false;
    setTimeout(open, 3000);
    return;
  }
  byId("away").hidden = true;
  byId("choose").disabled = false;
  limits();
  document.body.dataset.state = "ready";
}

byId("list").append(list.element);
dropping();
keys();
theme();
open();
