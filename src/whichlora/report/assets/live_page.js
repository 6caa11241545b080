// Follows a run: loads live.js anew every second and redraws what changed. Texts only enter through textContent.
(function () {
  "use strict";
  const find = (id) => document.getElementById(id);
  let last = "";
  let stopped = false;

  window.whichloraLive = (state) => {
    const text = JSON.stringify(state);
    if (text === last) return;
    last = text;
    stopped = state.finished;
    find("project").textContent = state.project;
    find("stage").textContent = state.finished ? "Done" : state.stage || "Running";
    find("progress").value = state.planned ? state.done / state.planned : 0;
    const parts = [];
    if (state.planned) parts.push(state.done + " of " + state.planned + " pictures");
    if (state.failed) parts.push(state.failed + " failed");
    if (state.planned && state.left) parts.push(state.left);
    if (state.spent) parts.push(state.spent + " so far");
    find("tell").textContent = parts.join(" · ");
    document.title = (state.planned ? Math.floor(100 * state.done / state.planned) + "% · " : "") + "whichlora";
    find("done").hidden = !(state.finished && state.report);
    if (state.report) find("report").href = state.report;
    pairs(state.pairs.slice().reverse());
  };

  function make(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function picture(title, url, waiting) {
    const figure = make("figure", "");
    const frame = make("div", "frame", url ? "" : waiting);
    if (url) {
      const image = make("img", "");
      image.alt = title;
      image.src = url;
      frame.append(image);
    }
    figure.append(frame, make("figcaption", "", title));
    return figure;
  }

  function pairs(list) {
    const box = find("pairs");
    list.forEach((pair, place) => {
      const key = JSON.stringify(pair);
      const old = box.children[place];
      if (old && old.dataset.key === key) return; // unchanged pictures do not flicker
      const fresh = make("section", "pair");
      fresh.dataset.key = key;
      fresh.append(make("q", "", pair.prompt), picture("source", pair.source, "not there"),
        picture("base", pair.base, "to come"), picture(pair.candidate || "first LoRA", pair.picture, "to come"));
      if (old) old.replaceWith(fresh);
      else box.append(fresh);
    });
    while (box.children.length > list.length) box.lastElementChild.remove();
  }

  function load() {
    if (stopped) return;
    const script = document.createElement("script");
    const next = () => { script.remove(); setTimeout(load, 1000); };
    script.addEventListener("load", next);
    script.addEventListener("error", next);
    script.src = "live.js?" + Date.now();
    document.body.append(script);
  }
  load();
})();
