// The full-screen comparison: which pictures stand on the stage, and the keys that change them.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const { find, element } = ui;
  const dialog = find("viewer");
  const withSelect = find("viewer-with");
  const slider = find("viewer-amount").querySelector("input");
  const narrow = window.matchMedia("(max-width: 600px)");
  const AMOUNTS = { slider: "Position", fade: "Fade", difference: "Stronger" };
  const known = new Map(); // flat position → promise of everything about a cell
  const now = { at: 0, many: [], mode: "side", marks: false, turn: 0 };
  const stage = new ui.Stage(find("stage"), () => { if (document.activeElement !== slider) slider.value = String(stage.amount); });

  function cell(at) {
    if (!known.has(at)) {
      known.set(at, ui.call(ui.query("/api/cell", { at })).catch((error) => { known.delete(at); return { at, picture: { url: "", w: 0, h: 0 }, error: error.message, candidate: "", scores: [], people: [], regions: [], source: null, said: error.message }; }));
    }
    return known.get(at);
  }

  function sourcePane(data) {
    if (!data.source) return { title: "Source", url: "", why: "no photograph" };
    return { ...data.source, title: "Source" + (data.source.resized ? " (resized)" : ""), why: "photograph missing" };
  }

  function pane(data) {
    const tone = data.passed === true ? "good" : data.passed === false ? "bad" : "";
    return {
      ...data.picture, title: data.candidate, why: data.error || data.said, regions: data.regions.concat(peopleMarks(data)),
      source: sourcePane(data), tone, said: ({ good: "✓ ", bad: "✗ ", "": "" })[tone] + data.said,
    };
  }

  // Marks that people made, as small squares.
  function peopleMarks(data) {
    const { w, h } = data.picture;
    const half = Math.max(w, h) * 0.02;
    return data.people.flatMap((one) => one.marks.map(([x, y]) => [x * w - half, y * h - half, 2 * half, 2 * half]));
  }

  function sibling(data, candidate) {
    return ui.flat({ candidate, case: data.place[1], seed: data.place[2] });
  }

  async function panes(current) {
    if (now.many.length) {
      const all = await Promise.all(now.many.map(cell));
      return now.mode === "side" ? all.map(pane) : all.slice(0, 2).map(pane);
    }
    const list = [];
    const base = ui.axesOf().candidate.findIndex((one) => one.role === "base");
    let other = withSelect.value;
    if (other === String(current.place[0])) other = "source";
    if (now.mode === "side" && !narrow.matches) {
      list.push(sourcePane(current));
      const beside = new Set(other === "source" ? [base] : [base, Number(other)]);
      beside.delete(current.place[0]);
      for (const candidate of beside) if (candidate >= 0) list.push(pane(await cell(sibling(current, candidate))));
    } else list.push(other === "source" ? sourcePane(current) : pane(await cell(sibling(current, Number(other)))));
    list.push(pane(current));
    return list;
  }

  // Comparing pixel by pixel is honest only between pictures of one size.
  function refusal(list) {
    if (now.mode === "side") return "";
    const [one, other] = list.slice(-2);
    for (const part of [one, other]) if (!part.url) return "There is nothing to lay over: " + part.title + " has no picture (" + part.why + "). Shown side by side instead.";
    if (one.w === other.w && one.h === other.h) return "";
    return "Not the same size, so a comparison pixel by pixel would mislead: " + one.title + " is " + one.w + " × " + one.h +
      " px, " + other.title + " is " + other.w + " × " + other.h + " px. Shown side by side instead.";
  }

  async function draw() {
    const turn = (now.turn += 1);
    const current = await cell(now.many.length ? now.many[0] : now.at);
    const list = await panes(current);
    if (turn !== now.turn) return; // another key was pressed meanwhile
    const refused = refusal(list);
    const mode = refused ? "side" : now.mode;
    stage.show(list, mode, now.marks);
    find("stage").classList.toggle("many", mode === "side" && list.length > 4);
    find("viewer-title").textContent = now.many.length ? now.many.length + " pictures" : current.candidate;
    find("viewer-asked").textContent = current.asked ? "“" + current.asked + "” · " + current.case + " · seed " + current.seed : current.error;
    find("viewer-refused").textContent = refused;
    find("viewer-refused").hidden = !refused;
    find("viewer-amount").hidden = mode === "side";
    find("viewer-amount").querySelector("span").textContent = AMOUNTS[mode] || "";
    dialog.querySelectorAll("[data-mode]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === now.mode)));
    find("viewer-marks").setAttribute("aria-pressed", String(now.marks));
    scores(now.many.length ? null : current);
    if (!now.many.length) for (const across of [1, -1]) cell(ui.neighbour(now.at, 0, across, 0)).then((next) => ui.preload([next.picture.url]));
  }

  function scores(data) {
    const box = find("viewer-scores");
    box.replaceChildren();
    if (!data) return;
    if (data.error) box.append(element("span", "bad", data.error));
    for (const one of data.people) {
      const parts = [];
      if (one.identity) parts.push("identity " + one.identity + "/5");
      if (one.edit) parts.push("edit " + one.edit + "/5");
      if (one.marks.length) parts.push(one.marks.length + " marked");
      if (one.note) parts.push("“" + one.note + "”");
      box.append(element("span", "person", one.rater + ": " + parts.join(", ")));
    }
    for (const one of data.scores) {
      const sign = one.passed === true ? "✓ " : one.passed === false ? "✗ " : "";
      const value = one.value === null ? "not measured" : String(Math.round(one.value * 1000) / 1000);
      const line = element("span", one.passed === false ? "bad" : one.passed === true ? "good" : "quiet", sign + one.metric + " " + value);
      if (one.reason) line.append(element("span", "quiet", " " + one.reason));
      if (one.gate) line.title = "decides: " + one.gate;
      box.append(line);
    }
    if (data.seconds) box.append(element("span", "quiet", "took " + Math.round(data.seconds * 10) / 10 + " s"));
  }

  function show() {
    const kept = withSelect.value;
    withSelect.replaceChildren(new Option("Source", "source"), ...ui.axesOf().candidate.map((one, at) => new Option(one.label, String(at))));
    const base = ui.axesOf().candidate.findIndex((one) => one.role === "base");
    withSelect.value = kept || (base >= 0 ? String(base) : "source");
    withSelect.disabled = now.many.length > 0;
    known.clear(); // scores may have come since
    stage.fit();
    if (!dialog.open) dialog.showModal();
    find("stage").focus();
    draw().catch(ui.trouble);
  }

  function openCell(at) { now.at = at; now.many = []; show(); }

  function openCells(list) { now.many = list; show(); }

  async function step(down, across, deep) {
    if (now.many.length) return;
    now.at = ui.neighbour(now.at, down, across, deep || 0);
    await draw();
  }

  function setMode(mode) {
    now.mode = mode;
    stage.amount = mode === "difference" ? 30 : 50;
    slider.value = String(stage.amount);
    draw().catch(ui.trouble);
  }

  function pixels() {
    const crisp = find("stage").classList.contains("pixels");
    stage.pixels = !crisp;
    find("viewer-pixels").setAttribute("aria-pressed", String(!crisp));
    stage.apply();
  }

  const zooms = { in: () => stage.zoom(1.4), out: () => stage.zoom(1 / 1.4), reset: () => stage.reset() };
  const arrows = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 };
  const keys = {
    "+": zooms.in, "=": zooms.in, "-": zooms.out, 0: zooms.reset, 1: () => stage.truePixels(), p: pixels,
    s: () => setMode("side"), l: () => setMode("slider"), f: () => setMode("fade"), d: () => setMode("difference"),
    m: () => { now.marks = !now.marks; draw().catch(ui.trouble); }, c: () => { if (!now.many.length) ui.choose(now.at); },
  };

  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("select, input");
    if (event.key === " " && !event.target.closest("button, select, input")) {
      event.preventDefault();
      stage.peek(true);
    } else if (!field && arrows[event.key]) {
      event.preventDefault();
      const by = arrows[event.key], upright = event.key === "ArrowUp" || event.key === "ArrowDown";
      step(upright && !event.shiftKey ? by : 0, !upright && !event.shiftKey ? by : 0, event.shiftKey ? by : 0).catch(ui.trouble);
    } else if (!field && keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  dialog.addEventListener("keyup", (event) => { if (event.key === " ") stage.peek(false); });
  dialog.addEventListener("close", () => stage.peek(false));
  window.addEventListener("blur", () => stage.peek(false));
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.mode) setMode(button.dataset.mode);
    if (button.dataset.step) step(...button.dataset.step.split(",").map(Number)).catch(ui.trouble);
    if (button.dataset.zoom) zooms[button.dataset.zoom]();
    if (event.detail && dialog.open) find("stage").focus();
  });
  find("viewer-close").addEventListener("click", () => dialog.close());
  find("viewer-pixels").addEventListener("click", pixels);
  find("viewer-marks").addEventListener("click", keys.m);
  const hold = find("viewer-source");
  hold.addEventListener("pointerdown", () => stage.peek(true));
  for (const end of ["pointerup", "pointerleave", "blur"]) hold.addEventListener(end, () => stage.peek(false));
  withSelect.addEventListener("change", () => draw().catch(ui.trouble));
  slider.addEventListener("input", () => { stage.amount = Number(slider.value); stage.mix(); });
  window.addEventListener("resize", () => { if (dialog.open) draw().catch(ui.trouble); });

  Object.assign(ui, { openCell, openCells });
})();
