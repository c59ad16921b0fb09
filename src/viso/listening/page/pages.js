"use strict";
// The pages of a test, from its welcome to its end.

const FIVE = ["bad", "poor", "fair", "good", "excellent"];
const AGES = ["under 18", "18 to 24", "25 to 34", "35 to 44", "45 to 54", "55 to 64", "65 or older"];
const letter = (index) => String.fromCharCode(65 + index);

function welcome(session, next) {
  const { test } = session;
  const agrees = el("input", { type: "checkbox", id: "agrees" });
  const device = el("input", { type: "text", maxlength: 200, autocomplete: "off" });
  const age = el("select", {}, el("option", { value: "" }, "I do not say"),
    ...AGES.map((range) => el("option", { value: range }, range)));
  const warning = el("p", { class: "warn", role: "alert" });
  const form = el("form", {
    submit: async (event) => {
      event.preventDefault();
      if (test.consent && !agrees.checked) {
        warning.textContent = "The test begins when you agree.";
        agrees.focus();
        return;
      }
      const about = {};
      if (test.asks_device && device.value.trim()) about.device = device.value.trim();
      if (test.asks_age && age.value) about.age = age.value;
      try {
        await session.begin(about);
      } catch (error) {
        warning.textContent = error.message;
        return;
      }
      next();
    },
  },
  test.asks_device ? el("p", {}, el("label", {}, "What do you listen with? (optional)", device)) : null,
  test.asks_age ? el("p", {}, el("label", {}, "How old are you? (optional)", age)) : null,
  ...(test.consent ? paragraphs(test.consent) : []),
  test.consent ? el("label", { class: "choice" }, agrees, "I have read this and agree.") : null,
  warning,
  el("button", { class: "main", type: "submit" }, "Begin"));
  show(el("h1", {}, test.title), ...paragraphs(test.instructions),
    el("p", { class: "soft" }, session.promise), form);
}

function loading(title, text = "") {
  show(el("h1", {}, title), el("p", { role: "status" }, text));
}

function failed(title, error, retry) {
  show(el("h1", {}, title), el("p", { class: "warn" }, String(error.message || error)),
    el("button", { class: "main", type: "button", click: retry }, "Try again"));
}

function heading(session) {
  const first = session.pages.findIndex((other) => !other.trial.training);
  const at = session.state.page;
  if (at >= first) return el("h1", {}, `Page ${at - first + 1} of ${session.pages.length - first}`);
  return el("h1", {}, first > 1 ? `Training ${at + 1} of ${first}` : "Training");
}

const TRAINING = "Get to know the sounds and the controls. Set a comfortable volume now and leave it "
  + "there. Nothing that you answer on this page is kept.";
// After the first one.
const MORE_TRAINING = "More sounds to get to know. Nothing that you answer on this page is kept.";

function training(session) {
  if (!session.page.trial.training) return null;
  return el("p", {}, session.state.page ? MORE_TRAINING : TRAINING);
}

// Keep an answer and go on; if it cannot be kept, say so and stay.
async function keep(session, values, { next, warning, done }) {
  next.disabled = true;
  warning.textContent = "";
  try {
    await session.answer(values);
  } catch (error) {
    warning.textContent = `Your answer could not be stored (${error.message}). Try again.`;
    next.disabled = false;
    return;
  }
  done();
}

function soundButton(transport, id, name, spoken) {
  return el("button", {
    type: "button", "aria-pressed": "false", "aria-label": spoken,
    click: () => transport.choose(id),
  }, name);
}

const named = (rows) => rows.map((row) => row.name).join(", ");

class MushraPage {
  constructor(session, player, done) {
    this.session = session;
    this.player = player;
    this.values = { ...session.draft };
    this.began = performance.now();
    const { trial, question, stimuli } = session.page;
    this.transport = new Transport(player, () => this.update());
    this.reference = soundButton(this.transport, trial.reference, "Reference", "Play the reference");
    this.transport.extra.append(this.reference);
    this.rows = stimuli.map((id, index) => this.row(id, letter(index)));
    // Above the sliders, where it is seen on a small screen too; its place stays when it is done.
    this.first = el("p", { role: "status" }, "Play the reference first: all sounds are compared with it.");
    this.hint = el("p", { class: "soft", role: "status" });
    this.done = done;
    this.warning = el("p", { class: "warn", role: "alert" });
    this.next = el("button", { class: "main", type: "button", click: () => this.finish() }, "Next");
    const names = question.name === "overall" ? FIVE : [question.low, question.high];
    this.element = el("div", {}, progress(session), heading(session), training(session),
      el("p", {}, question.text),
      this.transport.element, this.first,
      el("div", { class: "scale", "aria-hidden": "true" },
        el("div", { class: names.length === 5 ? "five" : "" }, ...names.map((name) => el("span", {}, name)))),
      el("ol", { class: "stimuli" }, ...this.rows.map((row) => row.element)),
      this.hint, this.warning, this.next,
      el("p", { class: "soft" }, el("kbd", {}, "Space"), " plays and stops, ", el("kbd", {}, "0"),
        " is the reference, ", el("kbd", {}, "A"), " to ", el("kbd", {}, letter(stimuli.length - 1)),
        " are the sounds, the arrow keys move the slider."));
    this.sounds = [trial.reference, ...stimuli];
    player.select(trial.reference);
    this.update();
  }

  row(id, name) {
    const button = soundButton(this.transport, id, name, `Play sound ${name}`);
    const told = el("output", {});
    const rate = () => {
      this.values[id] = Number(input.value);
      this.session.draft = this.values;
      this.update();
    };
    const input = el("input", {
      type: "range", min: 0, max: 100, step: 1, "aria-label": `Rating of sound ${name}`,
      input: rate,
      // A rating of the value that the slider has already fires no input.
      pointerup: () => { if (!input.disabled) rate(); },
      keyup: (event) => { if (event.key === "Enter" && !input.disabled) rate(); },
    });
    input.value = this.values[id] ?? 0;
    return { id, name, button, input, told, element: el("li", {}, button, el("div", { class: "track" }, input), told) };
  }

  update() {
    if (!this.rows) return;
    const { player } = this;
    const { trial } = this.session.page;
    const heard = player.isPlaying ? player.current : null;
    const knowsReference = player.played.has(trial.reference);
    this.reference.setAttribute("aria-pressed", String(heard === trial.reference));
    for (const row of this.rows) {
      const isHeard = heard === row.id;
      const isRated = row.id in this.values;
      if (!isHeard && document.activeElement === row.input) row.button.focus();
      row.button.setAttribute("aria-pressed", String(isHeard));
      row.input.disabled = !isHeard || !knowsReference;
      row.input.setAttribute("aria-valuetext", isRated ? String(this.values[row.id]) : "not rated");
      row.told.textContent = isRated ? this.values[row.id] : "–";
      row.element.classList.toggle("unrated", !isRated);
    }
    const open = this.rows.filter((row) => !(row.id in this.values));
    // What was rated before the page was closed has been played.
    const unplayed = open.filter((row) => !player.played.has(row.id));
    this.next.disabled = !knowsReference || (trial.training ? unplayed : open).length > 0;
    this.first.classList.toggle("done", knowsReference);
    const hint = this.hintFor(knowsReference, named(trial.training ? unplayed : open));
    if (this.hint.textContent !== hint) this.hint.textContent = hint;
  }

  // Say what is still to be done, and why Next waits.
  hintFor(knowsReference, rest) {
    const isTraining = this.session.page.trial.training;
    if (isTraining && rest) return `Play every sound before you go on. Not played: ${rest}.`;
    if (rest) return `Only the sound that plays can be rated. Not rated: ${rest}.`;
    if (!knowsReference) return "Play the reference before you go on.";
    return isTraining ? "You have heard all sounds of this page. Go on when you are ready." : "All sounds are rated.";
  }

  key(name) {
    if (name === "0") { this.transport.choose(this.session.page.trial.reference); return true; }
    const row = this.rows.find((other) => other.name === name.toUpperCase());
    if (!row) return false;
    this.transport.choose(row.id).then(() => row.input.focus());
    return true;
  }

  finish() {
    const ratings = Object.fromEntries(this.rows.map((row) => [row.id, this.values[row.id]]));
    const seconds = Math.round((performance.now() - this.began) / 100) / 10;
    keep(this.session, { record: "ratings", question: this.session.page.question.name, ratings, seconds }, this);
  }
}

class PairPage {
  constructor(session, player, done) {
    this.session = session;
    this.player = player;
    this.began = performance.now();
    const { trial, stimuli, hidden } = session.page;
    const isAbx = session.test.kind === "abx";
    this.done = done;
    this.transport = new Transport(player, () => this.update());
    this.places = [["A", stimuli[0]], ["B", stimuli[1]]];
    if (isAbx) this.places.push(["X", stimuli[hidden]]);
    if (trial.reference) this.places.push(["0", trial.reference]);
    this.buttons = this.places.map(([name, id]) => el("button", {
      type: "button", "aria-pressed": "false", click: () => this.listen(name, id),
    }, name === "0" ? "Reference" : name));
    this.transport.extra.append(...this.buttons);
    const answers = isAbx
      ? [["a", "X is A"], ["b", "X is B"]]
      : [["a", "I prefer A"], ["b", "I prefer B"], ...(session.test.may_be_undecided ? [["none", "No preference"]] : [])];
    const chosen = session.draft.choice;
    this.inputs = answers.map(([value]) => el("input", {
      type: "radio", name: "answer", value, checked: value === chosen, change: () => this.choose(value),
    }));
    // Who has chosen, and closed the page then, has heard everything.
    this.hasHeardAll = Boolean(chosen);
    this.hint = el("p", { class: "soft", role: "status" });
    this.warning = el("p", { class: "warn", role: "alert" });
    this.next = el("button", { class: "main", type: "button", click: () => this.finish() }, "Next");
    this.element = el("div", {}, progress(session), heading(session), training(session),
      this.transport.element,
      el("fieldset", {}, el("legend", {}, isAbx ? "Which one is X?" : "Which one do you prefer?"),
        ...answers.map(([, text], i) => el("label", { class: "choice" }, this.inputs[i], text))),
      this.hint, this.warning, this.next,
      el("p", { class: "soft" }, el("kbd", {}, "Space"), " plays and stops, ",
        ...this.places.flatMap(([name]) => [el("kbd", {}, name), " "]), "let you hear a sound."));
    this.sounds = [...new Set(this.places.map(([, id]) => id))];
    player.select(stimuli[0], "A");
    this.update();
  }

  async listen(name, id) {
    await this.transport.choose(id, name);
  }

  choose(value) {
    this.session.draft = { choice: value };
    this.update();
  }

  update() {
    if (!this.buttons) return;
    const { player } = this;
    this.places.forEach(([name], i) => {
      this.buttons[i].setAttribute("aria-pressed", String(player.isPlaying && name === player.name));
    });
    const unplayed = this.places.filter(([name]) => !player.played.has(name));
    this.hasHeardAll ||= !unplayed.length;
    for (const input of this.inputs) input.disabled = !this.hasHeardAll;
    const isChosen = this.inputs.some((input) => input.checked);
    this.next.disabled = !this.hasHeardAll || !(isChosen || this.session.page.trial.training);
    const rest = unplayed.map(([name]) => (name === "0" ? "the reference" : name)).join(", ");
    const hint = this.hasHeardAll ? "" : `Play everything before you answer. Not played: ${rest}.`;
    if (this.hint.textContent !== hint) this.hint.textContent = hint;
  }

  key(name) {
    const place = this.places.find(([label]) => label === name.toUpperCase());
    if (!place) return false;
    this.listen(...place);
    return true;
  }

  finish() {
    const answer = this.inputs.find((input) => input.checked);
    const values = { record: "choice", a: this.places[0][1], b: this.places[1][1] };
    if (this.session.test.kind === "abx") values.x = this.places[2][1];
    values.choice = answer ? answer.value : "none";
    values.seconds = Math.round((performance.now() - this.began) / 100) / 10;
    keep(this.session, values, this);
  }
}

function ending(session, startAnew) {
  const status = el("p", { role: "status" });
  const saved = el("a", { download: session.fileName }, "");
  const save = el("button", {
    type: "button", class: session.test.post ? "" : "main",
    click: () => {
      saved.href = URL.createObjectURL(new Blob([session.lines], { type: "application/x-ndjson" }));
      saved.click();
      status.textContent = `Saved as ${session.fileName}. Please give this file to whoever asked you.`;
      again.hidden = false;
    },
  }, "Save the answers");
  const again = el("button", { type: "button", hidden: true, click: startAnew }, "Next listener");
  const send = async () => {
    status.textContent = "Sending your answers.";
    retry.hidden = true;
    try {
      await session.send();
      status.textContent = "Your answers have arrived.";
      again.hidden = false;
    } catch (error) {
      status.textContent = `Your answers could not be sent (${error.message}). Try again, or save them.`;
      retry.hidden = false;
    }
  };
  const retry = el("button", { type: "button", class: "main", hidden: true, click: send }, "Send again");
  show(el("h1", {}, "Thank you"),
    session.test.post ? null : el("p", {}, "Save your answers as a file, and give it to whoever asked you to listen."),
    status, el("p", { class: "row" }, retry, save, again));
  if (session.test.post) send();
}
