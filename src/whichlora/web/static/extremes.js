// Best and worst of all candidates' pictures of one instruction, without names.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const { find, element } = ui;
  const KEYS = "1234567890qw";
  const now = ui.watchBusy({ task: null, best: null, worst: null });

  function draw() {
    find("words").textContent = now.best === null ? "Which one is best?" : now.worst === null ? "And which one is worst?" : "Enter saves";
    [...find("lineup").querySelectorAll("button")].forEach((tile, at) => {
      tile.classList.toggle("best", at === now.best);
      tile.classList.toggle("worst", at === now.worst);
      tile.querySelector(".said").textContent = at === now.best ? "best" : at === now.worst ? "worst" : "";
    });
  }

  function choose(at) {
    if (now.busy || !now.task || at >= now.task.pictures.length) return;
    if (now.best === at) now.best = null;
    else if (now.worst === at) now.worst = null;
    else if (now.best === null) now.best = at;
    else now.worst = at;
    draw();
  }

  function tile(picture, at, source) {
    const button = element("button", "tile");
    button.type = "button";
    const image = element("img");
    image.src = picture.url;
    image.alt = "Picture " + KEYS[at];
    const behind = element("img", "behind");
    behind.src = source.url;
    behind.alt = "Source";
    button.append(image, behind, element("kbd", "", KEYS[at]), element("span", "said"));
    button.addEventListener("click", (event) => { choose(at); if (event.detail) button.blur(); });
    return button;
  }

  async function next() {
    now.busy = true;
    const data = await ui.call(ui.query("/api/lineup", { rater: ui.voter() }));
    Object.assign(now, { task: data.task, best: null, worst: null });
    find("progress").textContent = data.mine + " of " + data.of + " line-ups judged by you";
    find("empty").hidden = Boolean(data.task);
    find("lineup").replaceChildren();
    if (!data.task) {
      find("asked").textContent = "";
      find("words").textContent = "Best and worst";
      find("empty").querySelector("p").textContent = data.mine ? "You have judged every line-up. Thank you." : "There are no two finished pictures of one instruction yet.";
      now.busy = false;
      return;
    }
    find("asked").textContent = "Asked: “" + data.task.prompt + "”";
    const source = element("figure", "tile");
    const image = element("img");
    image.src = data.task.source.url;
    image.alt = "Source";
    source.append(image, element("figcaption", "", "source"));
    find("lineup").append(source, ...data.task.pictures.map((picture, at) => tile(picture, at, data.task.source)));
    draw();
    const whole = await ui.loaded(find("lineup"));
    ui.trouble(whole ? null : new Error("A picture could not be read. Skip this line-up with s."));
    now.busy = false;
  }

  async function act(path, body, words, otherwise) {
    if (now.busy) return;
    now.busy = true;
    try {
      const result = await ui.call(path, { rater: ui.voter(), ...body });
      ui.toast(Object.values(result)[0] ? words : otherwise);
      await next();
    } catch (error) { now.busy = false; ui.trouble(error); }
  }

  function save() {
    if (!now.task) return;
    if (now.best === null && now.worst === null) { ui.toast("Choose the best first, or skip"); return; }
    act("/api/pick", { task: now.task.id, best: now.best, worst: now.worst }, "Saved · z undoes", "This one was judged already");
  }

  const acts = {
    save, clear: () => { now.best = now.worst = null; draw(); },
    skip: () => now.task && act("/api/pass", { task: now.task.id }, "Skipped", "Skipped"),
    undo: () => act("/api/undo", { kind: "extremes" }, "Taken back", "Nothing to take back"),
  };
  const keys = { Enter: save, Backspace: acts.clear, s: acts.skip, z: acts.undo };
  [...KEYS].forEach((key, at) => { keys[key] = () => choose(at); });
  ui.onKeys(keys);
  ui.onHold(find("source"), (on) => find("lineup").classList.toggle("peeking", on));
  document.querySelector(".helpers").addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    acts[button.dataset.do]();
    if (event.detail) button.blur();
  });
  ui.page(next);
})();
