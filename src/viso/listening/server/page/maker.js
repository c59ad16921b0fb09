"use strict";
// What the maker of a test sees: who has begun and finished, links, results.

(() => {
  const EVERY_MS = 10_000;
  let key = location.hash.slice(1);

  function askKey(message) {
    const input = el("input", { type: "password", id: "token", autocomplete: "off", required: true });
    show(el("h1", {}, "Progress of the listening test"),
      message ? el("p", { class: "warn", role: "alert" }, message) : null,
      el("form", {
        submit: (event) => {
          event.preventDefault();
          key = input.value.trim();
          history.replaceState(null, "", `#${key}`);
          begin();
        },
      },
      el("p", {}, el("label", {}, "The maker's token, as viso listen serve printed it", input)),
      el("button", { class: "main", type: "submit" }, "Open")));
  }

  function figure(number, name) {
    return el("div", { class: "figure" }, el("strong", {}, String(number)), el("span", {}, name));
  }

  const clockOf = (text) => (text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "–");

  function figures(told) {
    const finished = told.listeners.filter((listener) => listener.finished_at).length;
    return el("div", { class: "figures" }, figure(told.listeners.length, "began"), figure(finished, "finished"),
      figure(told.n_waiting, "links nobody has used"),
      figure(Math.max(0, told.most - told.listeners.length), "more may begin"));
  }

  const chosen = new Set(); // names of listeners, which outlive a table that is drawn anew

  function table(told, onchange) {
    const head = ["Choose", "Listener", "Began", "Finished", "Pages"].map((name) => el("th", { scope: "col" }, name));
    const rows = told.listeners.map((listener) => el("tr", {},
      el("td", {}, el("input", {
        type: "checkbox", "aria-label": `Choose ${listener.name}`, checked: chosen.has(listener.name),
        change: ({ target }) => {
          if (target.checked) chosen.add(listener.name);
          else chosen.delete(listener.name);
          onchange();
        },
      })),
      el("th", { scope: "row" }, listener.name),
      el("td", {}, clockOf(listener.began_at)),
      el("td", {}, clockOf(listener.finished_at)),
      el("td", {}, `${listener.n_answered} of ${told.n_pages}`)));
    if (!rows.length) return el("p", { class: "soft" }, "Nobody has begun yet.");
    // Scrolls on small screens, so the keyboard must reach it.
    return el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Listeners" },
      el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
  }

  // Remove listeners that are chosen; it cannot be taken back, so it is asked twice.
  function removal(listed, warning, changed) {
    const count = el("span", {});
    const sure = el("p", { class: "row", hidden: true }, count,
      el("button", {
        type: "button",
        click: async () => {
          warning.textContent = "";
          try {
            const names = [...chosen];
            // The server takes 1000 at once.
            for (let from = 0; from < names.length; from += 1000) {
              const body = { names: names.slice(from, from + 1000) };
              await ask("POST", "api/maker/remove", { key, body });
            }
            chosen.clear();
          } catch (error) {
            warning.textContent = `Not all were removed (${error.message}).`;
          }
          changed();
        },
      }, "Remove them"),
      el("button", { type: "button", click: () => { sure.hidden = true; } }, "Keep them"));
    const idle = el("button", {
      type: "button",
      click: () => {
        for (const one of listed()) if (!one.n_answered) chosen.add(one.name);
        changed();
      },
    }, "Choose all who answered nothing");
    const button = el("button", { type: "button", click: () => { sure.hidden = false; } }, "Remove the chosen");
    const update = () => {
      button.disabled = !chosen.size;
      if (!chosen.size) sure.hidden = true;
      const who = chosen.size === 1 ? "1 listener" : `${chosen.size} listeners`;
      count.textContent = `All answers of ${who} will be gone.`;
    };
    update();
    return { element: el("div", {}, el("p", { class: "row" }, idle, button), sure), update };
  }

  function results(told, warning) {
    const all = el("input", { type: "checkbox" });
    const fetched = async () => {
      warning.textContent = "";
      try {
        const response = await request("GET", `api/maker/results?unfinished=${all.checked}`, { key });
        const saved = el("a", { download: `${told.id}.jsonl`, href: URL.createObjectURL(await response.blob()) });
        saved.click();
        URL.revokeObjectURL(saved.href);
      } catch (error) {
        warning.textContent = error.message;
      }
    };
    return el("p", { class: "row" },
      el("button", { type: "button", class: "main", click: fetched }, "Download the results"),
      el("label", { class: "row soft" }, all, "those who have not finished, too"));
  }

  function links(warning, changed) {
    const count = el("input", { type: "number", min: 1, max: 1000, value: 10, id: "count" });
    const made = el("textarea", { readOnly: true, rows: 8, "aria-label": "New links", hidden: true });
    const button = el("button", {
      type: "button",
      click: async () => {
        warning.textContent = "";
        try {
          const body = { count: Number(count.value) };
          const { keys } = await ask("POST", "api/maker/links", { key, body });
          made.value = keys.map((one) => linkOf(one)).join("\n");
          made.hidden = false;
          note.hidden = false;
          changed();
        } catch (error) {
          warning.textContent = error.message;
        }
      },
    }, "Make links");
    const note = el("p", { class: "soft", hidden: true }, "Copy them now: they are shown only here, and only once.");
    return [el("p", { class: "row" }, el("label", { class: "row" }, "Personal links", count), button), note, made];
  }

  async function begin() {
    if (!key) { askKey(""); return; }
    let told;
    try {
      told = await ask("GET", "api/maker", { key });
    } catch (error) {
      askKey(error.message);
      return;
    }
    document.title = `${told.title}: progress`;
    const warning = el("p", { class: "warn", role: "alert" });
    const place = el("div", {});
    const draw = () => {
      const names = new Set(told.listeners.map((listener) => listener.name));
      for (const name of chosen) if (!names.has(name)) chosen.delete(name);
      place.replaceChildren(figures(told), table(told, () => removing.update()));
      removing.update();
      removing.element.hidden = !names.size;
    };
    const renew = async () => {
      try {
        const newer = await ask("GET", "api/maker", { key });
        if (JSON.stringify(newer) === JSON.stringify(told)) return;
        told = newer;
        draw();
      } catch { /* the next time it may work again */ }
    };
    const removing = removal(() => told.listeners, warning, async () => { await renew(); draw(); });
    draw();
    const open = told.is_open ? "Everybody who knows this address may begin:" : "Only personal links begin a test at";
    const closes = told.closes_at ? el("p", {}, `${told.is_closed ? "Closed since" : "Open until"} ${clockOf(told.closes_at)}.`) : null;
    const address = new URL("./", location.href).href;
    show(el("h1", {}, told.title), el("p", {}, `${open} `, el("a", { href: address, rel: "noopener", target: "_blank" }, address)),
      closes, place, removing.element, results(told, warning), ...links(warning, renew), warning);
    setInterval(renew, EVERY_MS);
  }

  begin();
})();
