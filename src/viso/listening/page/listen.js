"use strict";
// From page to page.

(() => {
  let session = null;
  let player = null;
  let page = null;
  // Counts what was opened. What belongs to an earlier one may still be on the way, and must
  // change nothing when it comes.
  let turn = 0;

  async function bytesOf(id) {
    if (!session.test.embedded) {
      const response = await fetch(`stimuli/${id}.flac`, { headers: session.headers });
      if (!response.ok) throw new Error(`stimuli/${id}.flac: ${response.status}`);
      return response.arrayBuffer();
    }
    // A page opened from disk may not read files beside it, but may run them.
    await new Promise((resolve, reject) => {
      const script = el("script", {
        src: `stimuli/${id}.js`, load: resolve, error: () => reject(new Error(`stimuli/${id}.js`)),
      });
      document.head.append(script);
    });
    const text = window.visoStimuli[id];
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  }

  // Find out who listens, and show where that listener stopped. Another link in the same window
  // opens the test anew without loading the page again: a page that loads itself again can
  // cross another way that the visitor takes meanwhile, and the last one to end would win.
  async function open() {
    turn += 1;
    const mine = turn;
    const isCurrent = () => mine === turn;
    if (session) session.isLeft = true;
    if (player) player.close();
    [session, player, page] = [null, null, null];
    loading("Loading the test");
    // A page on a server brings its own way to find out who listens.
    const opened = await (window.visoOpen ? window.visoOpen() : new LocalSession(window.visoTest));
    if (!isCurrent()) return;
    if (opened.notice) {
      opened.notice();
      return;
    }
    session = opened;
    session.enter();
    document.title = session.test.title;
    go(isCurrent);
  }

  async function go(isCurrent) {
    if (!isCurrent()) return;
    const next = () => go(isCurrent);
    page = null;
    if (player) player.pause();
    if (session.isNew) {
      welcome(session, next);
      return;
    }
    if (session.isDone) {
      session.end(next);
      return;
    }
    player ??= new Player();
    loading("Loading the sounds", `${session.state.page + 1} of ${session.pages.length}`);
    const { trial, stimuli } = session.page;
    const ids = [...new Set([...stimuli, ...(trial.reference ? [trial.reference] : [])])];
    try {
      await player.load(ids, bytesOf);
    } catch (error) {
      if (isCurrent()) failed("The sounds cannot be loaded", error, next);
      return;
    }
    if (!isCurrent()) return;
    page = new (session.test.kind === "mushra" ? MushraPage : PairPage)(session, player, next);
    show(page.element);
  }

  document.addEventListener("keydown", (event) => {
    if (!page || !page.transport.keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    if (target.closest("footer")) return;
    if (event.key === " ") {
      if (target.closest("button, input[type=checkbox], input[type=radio]")) return;
      page.transport.toggle();
      event.preventDefault();
    } else if (/^[0-9a-z]$/i.test(event.key) && page.key(event.key)) {
      event.preventDefault();
    }
  });

  function frame() {
    if (page) page.transport.frame();
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);
  window.visoReopen = open;
  open();
})();
