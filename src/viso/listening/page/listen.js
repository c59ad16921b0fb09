"use strict";
// From page to page.

(async () => {
  let session = null;
  let player = null;
  let page = null;

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

  async function go() {
    page = null;
    if (player) player.pause();
    if (session.isNew) {
      welcome(session, go);
      return;
    }
    if (session.isDone) {
      session.end(go);
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
    page = new (session.test.kind === "mushra" ? MushraPage : PairPage)(session, player, go);
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
  // A page on a server brings its own way to find out who listens.
  session = await (window.visoOpen ? window.visoOpen() : new LocalSession(window.visoTest));
  if (!session) return;
  document.title = session.test.title;
  go();
})();
