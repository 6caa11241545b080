// Blind pairs: two pictures, one question, one key.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const { find } = ui;
  const question = new URLSearchParams(location.search).get("question") || "identity";
  const SAID = { left: "First", right: "Second", tie: "Same", "both-bad": "Both bad", skip: "Skipped" };
  const now = ui.watchBusy({ task: null, flipped: false, since: 0 });
  const stage = new ui.Stage(find("stage"), () => {});

  function panes() {
    const { pictures, source } = now.task;
    const order = now.flipped ? [pictures[1], pictures[0]] : pictures;
    return order.map((picture, at) => ({ title: at ? "Second" : "First", ...picture, source: { title: "Source", ...source } }));
  }

  async function show() {
    stage.show(panes(), "side", false);
    return ui.loaded(find("stage"));
  }

  async function next() {
    now.busy = true;
    const data = await ui.call(ui.query("/api/pair", { rater: ui.voter(), question }));
    find("words").textContent = data.words;
    find("progress").textContent = data.mine + (data.mine === 1 ? " vote" : " votes") + " · " + ui.outlookWords(data);
    now.task = data.task;
    now.flipped = false;
    const none = !data.task;
    find("empty").hidden = !none;
    find("stage").hidden = none;
    document.querySelector(".answers").hidden = none;
    if (none) {
      find("asked").textContent = "";
      find("empty").querySelector("p").textContent = data.mine ? "You have judged every pair there is. Thank you." : "There are no two finished pictures to compare yet.";
      now.busy = false;
      return;
    }
    find("asked").textContent = "Asked: “" + data.task.prompt + "”";
    stage.fit();
    const whole = await show();
    ui.trouble(whole ? null : new Error("A picture could not be read. Skip this pair with s."));
    now.since = performance.now();
    now.busy = false;
    ui.preload(data.ahead);
  }

  async function send(answer) {
    if (now.busy || !now.task) return;
    now.busy = true;
    try {
      const seconds = (performance.now() - now.since) / 1000;
      const result = await ui.call("/api/vote", { rater: ui.voter(), task: now.task.id, answer, seconds, flipped: now.flipped });
      ui.toast(result.stored ? SAID[answer] + " · z undoes" : "This pair was answered already");
      await next();
    } catch (error) { now.busy = false; ui.trouble(error); }
  }

  async function undo() {
    if (now.busy) return;
    now.busy = true;
    try {
      const result = await ui.call("/api/undo", { rater: ui.voter(), kind: question });
      ui.toast(result.undone ? "Taken back" : "Nothing to take back");
      await next();
    } catch (error) { now.busy = false; ui.trouble(error); }
  }

  function flip() {
    if (now.busy || !now.task) return;
    now.flipped = !now.flipped;
    show();
    ui.toast("Sides exchanged");
  }

  const acts = { flip, skip: () => send("skip"), undo };
  ui.onKeys({
    1: () => send("left"), ArrowLeft: () => send("left"), 2: () => send("right"), ArrowRight: () => send("right"),
    ArrowDown: () => send("tie"), t: () => send("tie"), x: () => send("both-bad"), z: undo, f: flip, s: () => send("skip"),
    "+": () => stage.zoom(1.4), "=": () => stage.zoom(1.4), "-": () => stage.zoom(1 / 1.4), 0: () => stage.reset(),
  });
  ui.onHold(find("source"), (on) => stage.peek(on));
  document.querySelector("footer").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.answer) send(button.dataset.answer);
    if (button.dataset.do) acts[button.dataset.do]();
    if (event.detail) button.blur();
  });
  ui.page(next);
})();
