"use strict";
// A listener on a server: who it is, where to go on, what can be deleted.

const NOTHING = { trials: [], questions: [], orders: [{ trials: [], stimuli: [], hidden: [] }] };

class ServedSession extends Session {
  constructor(key, told) {
    super({ ...NOTHING, ...told.test }, "", { page: -1, order: 0, draft: null });
    this.listener = key;
    this.adopt(told);
  }

  get headers() { return { Authorization: `Bearer ${this.listener}` }; }

  get promise() {
    return "Your answers are stored page by page. You get a link of your own, to go on later, on "
      + "another device too, or to delete them.";
  }

  // Take over what the server knows: another device may have gone on.
  adopt(told) {
    if (!told.has_begun) return;
    this.test = told.test;
    this.key = `viso-listen:${told.test.id}:${told.name}`;
    this.pages = this.plan();
    this.goTo(told.answered);
    this.state.draft = (JSON.parse(recall(this.key)) || {}).draft || null;
  }

  // Who has begun is remembered and stands in the address, so that the link can be kept.
  enter() {
    if (this.isLeft || this.isNew) return;
    remember(`viso-listen-key:${this.test.id}`, this.listener);
    history.replaceState(null, "", `#${this.listener}`);
    ownFooter(this);
  }

  goTo(answered) {
    const done = new Set(answered.map((page) => page.join("/")));
    const isOpen = ({ trial, question }) => !done.has(`${trial.name}/${question ? question.name : ""}`);
    const first = this.pages.findIndex(isOpen);
    this.state.page = first < 0 ? this.pages.length : first;
  }

  async begin(about) {
    const body = { agrees: true, ...about };
    this.adopt(await ask("POST", "api/session", { key: this.listener, body }));
    this.enter();
  }

  async answer({ record, ...values }) {
    const { trial } = this.page;
    const body = trial.training ? { trial: trial.name } : { trial: trial.name, ...values };
    if (values.question) body.question = values.question;
    const told = await ask("POST", "api/answers", { key: this.listener, body });
    this.state.draft = null;
    this.goTo(told.answered);
    this.save();
  }

  end() {
    remember(this.key, null);
    const next = el("button", { type: "button", click: () => leave(this) }, "Next listener");
    show(el("h1", {}, "Thank you"), el("p", {}, "All your answers have arrived. You may close this page."),
      this.test.is_open ? el("p", {}, next) : null);
  }
}

// Let this browser forget a listener; one that another window opened stays.
function forget(key, test) {
  const name = `viso-listen-key:${test.id}`;
  if (recall(name) === key) remember(name, null);
}

// Begin as nobody, unless the visitor has gone somewhere else meanwhile.
function leave(session) {
  if (session.isLeft) {
    forget(session.listener, session.test);
    return;
  }
  remember(`viso-listen-key:${session.test.id}`, null);
  history.replaceState(null, "", location.pathname);
  window.visoReopen();
}

function ownFooter(session) {
  const { test } = session;
  const link = linkOf(session.listener);
  const warning = el("p", { class: "warn", role: "alert" });
  const sure = el("p", { class: "row", hidden: true }, "All your answers will be gone.",
    el("button", {
      type: "button",
      click: async () => {
        try {
          await request("DELETE", "api/session", { key: session.listener });
        } catch (error) {
          warning.textContent = `Nothing was deleted (${error.message}). Try again.`;
          return;
        }
        remember(session.key, null);
        leave(session);
      },
    }, "Delete them"),
    el("button", { type: "button", click: () => { sure.hidden = true; } }, "Keep them"));
  const kept = ["your answers", "when you began and finished"];
  if (test.consent) kept.push("the text that you agreed to");
  if (test.asks_device || test.asks_age) kept.push("what you said about yourself");
  const footer = document.getElementById("own");
  footer.replaceChildren(el("details", {},
    el("summary", {}, "Your link and your data"),
    el("p", {}, "This link is yours alone. It lets you go on later, on another device too:"),
    el("p", { class: "row" }, el("a", { href: link, class: "link" }, link), copying(link)),
    el("p", {}, `Stored are ${kept.join(", ")}; no name and no address.`),
    el("p", { class: "row" },
      el("button", { type: "button", click: () => { sure.hidden = false; } }, "Delete all of it"),
      test.is_open ? el("button", { type: "button", click: () => leave(session) }, "Begin as another listener") : null),
    sure, warning));
  footer.hidden = false;
}

// What is told in place of a test.
function telling(title, text, ...more) {
  return { notice: () => show(el("h1", {}, title), el("p", {}, text), ...more) };
}

function drawnKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

// Return a session, or what tells why there is none.
window.visoOpen = async () => {
  document.getElementById("own").hidden = true;
  try {
    const welcomed = await ask("GET", "api/test");
    document.title = welcomed.title;
    const key = location.hash.slice(1) || recall(`viso-listen-key:${welcomed.id}`);
    if (key) return await known(key, welcomed);
    if (!welcomed.is_open) return telling(welcomed.title, "Please open the personal link that you were given.");
    if (welcomed.is_closed) return telling(welcomed.title, "This test is closed. Thank you for your interest.");
    return new ServedSession(drawnKey(), { test: welcomed, has_begun: false });
  } catch (error) {
    return { notice: () => failed("The test cannot be opened", error, window.visoReopen) };
  }
};

async function known(key, welcomed) {
  try {
    const told = await ask("GET", "api/session", { key });
    if (!told.has_begun && told.test.is_closed) {
      return telling(welcomed.title, "This test is closed. Thank you for your interest.");
    }
    return new ServedSession(key, told);
  } catch (error) {
    if (error.status !== 404 && error.status !== 401) throw error;
    forget(key, welcomed);
    const own = recall(`viso-listen-key:${welcomed.id}`);
    const anew = el("button", {
      type: "button",
      click: () => { history.replaceState(null, "", location.pathname); window.visoReopen(); },
    }, own ? "Go on where you stopped" : "Begin as a new listener");
    return telling("This link does not work", "Perhaps a part of it is missing, or its answers were deleted.",
      own || welcomed.is_open ? anew : null);
  }
}

// Another personal link, opened in the same window. Before the first one is opened there is
// nothing to do: the address is read then.
window.addEventListener("hashchange", () => window.visoReopen && window.visoReopen());
