// The full-screen comparison: which pictures stand on the stage, and where steps lead.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const { find, element } = ui;
  const withSelect = find("viewer-with");
  const narrow = window.matchMedia("(max-width: 600px)");
  const known = new Map(); // flat position → promise of everything about a cell
  const now = { at: 0, many: [], turn: 0 };
  const ARROWS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 };
  const redraw = () => draw().catch(ui.trouble);
  const move = (down, across, deep) => step(down, across, deep).catch(ui.trouble);
  const controls = new ui.Controls({
    draw: redraw, step: move,
    arrow: (event) => {
      const by = ARROWS[event.key], upright = event.key === "ArrowUp" || event.key === "ArrowDown";
      move(upright && !event.shiftKey ? by : 0, !upright && !event.shiftKey ? by : 0, event.shiftKey ? by : 0);
    },
    keys: { c: () => { if (!now.many.length) ui.choose(now.at); } },
  });

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
      return controls.mode === "side" ? all.map(pane) : all.slice(0, 2).map(pane);
    }
    const list = [];
    const base = ui.axesOf().candidate.findIndex((one) => one.role === "base");
    let other = withSelect.value;
    if (other === String(current.place[0])) other = "source";
    if (controls.mode === "side" && !narrow.matches) {
      list.push(sourcePane(current));
      const beside = new Set(other === "source" ? [base] : [base, Number(other)]);
      beside.delete(current.place[0]);
      for (const candidate of beside) if (candidate >= 0) list.push(pane(await cell(sibling(current, candidate))));
    } else list.push(other === "source" ? sourcePane(current) : pane(await cell(sibling(current, Number(other)))));
    list.push(pane(current));
    return list;
  }

  async function draw() {
    const turn = (now.turn += 1);
    const current = await cell(now.many.length ? now.many[0] : now.at);
    const list = await panes(current);
    if (turn !== now.turn) return; // another key was pressed meanwhile
    const mode = controls.show(list);
    find("stage").classList.toggle("many", mode === "side" && list.length > 4);
    find("viewer-title").textContent = now.many.length ? now.many.length + " pictures" : current.candidate;
    find("viewer-asked").textContent = current.asked ? "“" + current.asked + "” · " + current.case + " · seed " + current.seed : current.error;
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
    controls.open();
    redraw();
  }

  function openCell(at) { now.at = at; now.many = []; show(); }

  function openCells(list) { now.many = list; show(); }

  async function step(down, across, deep) {
    if (now.many.length) return;
    now.at = ui.neighbour(now.at, down, across, deep || 0);
    await draw();
  }

  Object.assign(ui, { openCell, openCells });
})();
