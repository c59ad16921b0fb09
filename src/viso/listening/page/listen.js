"use strict";
// From page to page.

(() => {
  const test = window.visoTest;
  document.title = test.title;
  const session = new Session(test);
  let player = null;
  let page = null;

  async function bytesOf(id) {
    if (!test.embedded) {
      const response = await fetch(`stimuli/${id}.flac`);
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

  function again() {
    session.startAnew();
    go();
  }

  async function go() {
    page = null;
    if (player) player.pause();
    if (session.isNew) {
      welcome(test, (about) => { session.begin(about); go(); });
      return;
    }
    if (session.isDone) {
      ending(session, again);
      return;
    }
    player ??= new Player();
    loading(`${session.state.page + 1} of ${session.pages.length}`);
    const { trial, stimuli } = session.page;
    const ids = [...new Set([...stimuli, ...(trial.reference ? [trial.reference] : [])])];
    try {
      await player.load(ids, bytesOf);
    } catch (error) {
      failed(error, go);
      return;
    }
    page = new (test.kind === "mushra" ? MushraPage : PairPage)(session, player, go);
    show(page.element);
  }

  document.addEventListener("keydown", (event) => {
    if (!page || !page.transport.keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
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
  go();
})();
