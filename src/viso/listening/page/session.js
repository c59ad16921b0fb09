"use strict";
// What a listener hears in which order, and has answered.

class Session {
  constructor(test, key, state) {
    this.test = test;
    this.key = key;
    this.state = state;
    this.pages = this.plan();
    this.isLeft = false; // another one was opened in this window
  }

  // Called when the session is the one that is shown.
  enter() {}

  // Every page in this listener's order: a trial, for each of its questions.
  plan() {
    const order = this.test.orders[this.state.order];
    const named = new Map(this.test.questions.map((question) => [question.name, question]));
    const questionsOf = ({ questions }) => (questions.length ? questions : [""]);
    return order.trials.flatMap((index) => questionsOf(this.test.trials[index]).map((name) => ({
      trial: this.test.trials[index],
      question: named.get(name) || null,
      stimuli: order.stimuli[index].map((i) => this.test.trials[index].stimuli[i]),
      hidden: order.hidden.length ? order.hidden[index] : null,
    })));
  }

  get page() { return this.pages[this.state.page]; }
  get isNew() { return this.state.page < 0; }
  get isDone() { return this.state.page >= this.pages.length; }
  get headers() { return {}; }

  save() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.state));
    } catch { /* a browser that keeps nothing: the test works as long as the page is open */ }
  }

  get draft() {
    const draft = this.state.draft;
    return draft && draft.page === this.state.page ? draft.values : {};
  }

  set draft(values) {
    this.state.draft = { page: this.state.page, values };
    this.save();
  }
}

// Kept in this browser until it is sent or saved.
class LocalSession extends Session {
  constructor(test) {
    const key = `viso-listen:${test.id}`;
    super(test, key, LocalSession.stored(test, key) || LocalSession.fresh(test));
  }

  static stored(test, key) {
    try {
      const state = JSON.parse(localStorage.getItem(key));
      return state && state.version === 1 && test.orders[state.order] ? state : null;
    } catch {
      return null;
    }
  }

  static fresh(test) {
    const asked = Number(new URLSearchParams(location.search).get("listener"));
    const n = test.orders.length;
    const random = crypto.getRandomValues(new Uint32Array(3));
    const order = Number.isInteger(asked) && asked >= 1 && asked <= n ? asked - 1 : random[0] % n;
    const listener = [random[1], random[2]].map((x) => x.toString(16).padStart(8, "0")).join("");
    return {
      version: 1, listener, order, page: -1, about: {}, records: [], draft: null,
    };
  }

  get promise() {
    const until = this.test.post ? "the end, when they are sent." : "you save them as a file at the end.";
    return `Your answers stay in this browser until ${until} You may close the page and go on later.`;
  }

  async begin(about) {
    this.state.about = about;
    this.state.page = 0;
    this.save();
  }

  async answer(values) {
    const page = this.page;
    if (!page.trial.training) {
      this.state.records.push({ ...this.head(values.record), trial: page.trial.name, ...values });
    }
    this.state.page += 1;
    this.state.draft = null;
    this.save();
  }

  head(record) {
    return { version: 1, record, test: this.test.id, listener: this.state.listener };
  }

  get lines() {
    const who = { ...this.head("listener"), order: this.state.order, ...this.state.about };
    return [who, ...this.state.records].map((record) => JSON.stringify(record) + "\n").join("");
  }

  get fileName() { return `${this.test.id}-${this.state.listener}.jsonl`; }

  async send() {
    const response = await fetch(this.test.post, {
      method: "POST",
      headers: { "Content-Type": "application/x-ndjson" },
      body: this.lines,
    });
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
  }

  end(again) {
    ending(this, () => {
      try { localStorage.removeItem(this.key); } catch { /* nothing was kept */ }
      this.state = LocalSession.fresh(this.test);
      this.pages = this.plan();
      again();
    });
  }
}
