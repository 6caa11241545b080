// The matrix: candidates × cases × seeds, two axes at a time. Only what can be seen is asked for and drawn.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const { find, element } = ui;
  const AXES = ["candidate", "case", "seed"];
  const NAMES = { candidate: "Candidate", case: "Case", seed: "Seed" };
  const TILE = 8; // cells are fetched in squares of this many
  const HEAD = 46;
  const narrow = window.matchMedia("(max-width: 600px)");
  const size = () => (narrow.matches ? { cell: 104, side: 96 } : { cell: 132, side: 168 });

  const now = { rows: "candidate", columns: "case", fixed: 0, axes: null, revision: -1, filter: "", found: [], total: 0 };
  const tiles = new Map(); // "row/column" of a tile → promise of its cells
  const cells = new Map(); // flat position → cell, of everything fetched in this revision
  const drawn = new Map(); // "row/column" → element
  const chosen = new Set(); // flat positions in the tray
  let generation = 0; // raised when axes or revision change: late answers are dropped

  const third = () => AXES.find((axis) => axis !== now.rows && axis !== now.columns);
  const length = (axis) => now.axes[axis].length;
  const label = (axis, at) => now.axes[axis][at].label;

  function shape() {
    return { candidate: length("candidate"), case: length("case"), seed: length("seed") };
  }

  // Flat position of a place on the three axes, candidate slowest.
  function flat(place) {
    const { case: cases, seed } = shape();
    return (place.candidate * cases + place.case) * seed + place.seed;
  }

  function place(row, column) {
    return { [now.rows]: row, [now.columns]: column, [third()]: now.fixed };
  }

  function tile(tileRow, tileColumn) {
    const key = tileRow + "/" + tileColumn;
    if (!tiles.has(key)) {
      const r0 = tileRow * TILE, c0 = tileColumn * TILE;
      const asked = { rows: now.rows, columns: now.columns, fixed: now.fixed, r0, r1: r0 + TILE, c0, c1: c0 + TILE };
      const born = generation;
      tiles.set(key, ui.call(ui.query("/api/block", asked)).then((data) => {
        if (born !== generation) return;
        data.cells.forEach((cell) => cells.set(cell.at, cell));
      }));
    }
    return tiles.get(key);
  }

  function visible() {
    const box = find("matrix"), { cell, side } = size();
    const range = (from, extent, count) => [Math.max(0, Math.floor(from / cell)), Math.min(count, Math.ceil((from + extent) / cell))];
    return {
      rows: range(box.scrollTop, box.clientHeight - HEAD, length(now.rows)),
      columns: range(box.scrollLeft, box.clientWidth - side, length(now.columns)),
    };
  }

  async function draw() {
    if (now.filter) return;
    const born = generation;
    const { rows, columns } = visible();
    heads(rows, columns);
    const wanted = [];
    for (let r = Math.floor(rows[0] / TILE); r * TILE < rows[1]; r += 1) {
      for (let c = Math.floor(columns[0] / TILE); c * TILE < columns[1]; c += 1) wanted.push(tile(r, c).then(() => { if (born === generation) place_(rows, columns); }));
    }
    await Promise.all(wanted);
  }

  // Put the elements of visible cells where they belong, and take away the others.
  function place_(rows, columns) {
    const { cell } = size();
    const keep = new Set();
    for (let row = rows[0]; row < rows[1]; row += 1) {
      for (let column = columns[0]; column < columns[1]; column += 1) {
        const key = row + "/" + column;
        const data = cells.get(flat(place(row, column)));
        if (!data) continue;
        keep.add(key);
        const old = drawn.get(key);
        if (old && old.whichlora === data) continue;
        const made = tileOf(data);
        made.style.left = column * cell + "px";
        made.style.top = row * cell + "px";
        if (old) old.remove();
        drawn.set(key, made);
        find("cells").append(made);
      }
    }
    for (const [key, old] of drawn) if (!keep.has(key)) { old.remove(); drawn.delete(key); }
  }

  function tileOf(data) {
    const button = element("button", "cell");
    button.type = "button";
    button.whichlora = data;
    const tone = data.passed === true ? "good" : data.passed === false ? "bad" : "none";
    button.classList.add(tone);
    if (data.thumb) {
      const image = element("img");
      image.src = data.thumb;
      image.alt = "";
      button.append(image);
    } else button.append(element("span", "nothing", data.said));
    const line = element("span", "said", ({ good: "✓ ", bad: "✗ ", none: "" })[tone] + data.said);
    line.title = data.said;
    button.append(line);
    button.setAttribute("aria-label", spoken(data) + ": " + data.said);
    button.classList.toggle("chosen", chosen.has(data.at));
    button.addEventListener("click", (event) => {
      if (event.shiftKey || event.ctrlKey || event.metaKey) choose(data.at);
      else if (data.planned) ui.openCell(data.at);
    });
    return button;
  }

  function spoken(data) {
    return AXES.map((axis, at) => label(axis, data.place[at])).join(", ");
  }

  function heads(rows, columns) {
    const { cell, side } = size();
    find("canvas").style.width = side + length(now.columns) * cell + "px";
    find("canvas").style.height = HEAD + length(now.rows) * cell + "px";
    find("sides").style.height = length(now.rows) * cell + "px";
    find("sides").style.width = find("corner").style.width = side + "px";
    find("cells").style.left = side + "px";
    find("corner").textContent = NAMES[now.rows] + " ↓ " + NAMES[now.columns] + " →";
    const place = (root, axis, range, side_) => {
      root.querySelectorAll(".head").forEach((old) => old.remove());
      for (let at = range[0]; at < range[1]; at += 1) {
        const head = element("div", "head", label(axis, at));
        const more = now.axes[axis][at];
        head.title = more.prompt ? more.label + ": “" + more.prompt + "”" : more.label;
        if (more.role && more.role !== "candidate" && more.role !== more.label) head.append(element("span", "quiet", " " + more.role));
        if (side_) head.style.top = at * cell + "px";
        else head.style.left = side + at * cell + "px";
        root.append(head);
      }
    };
    place(find("heads"), now.columns, columns, false);
    place(find("sides"), now.rows, rows, true);
  }

  function reset() {
    generation += 1;
    tiles.clear();
    cells.clear();
    for (const old of drawn.values()) old.remove();
    drawn.clear();
    return now.filter ? list(true) : draw();
  }

  // New pictures or scores: what is shown stays until its newer self arrives.
  function renew() {
    generation += 1;
    tiles.clear();
    return now.filter ? list(true) : draw();
  }

  // ---------------------------------------------------------------- filtered: a flat list, a page at a time

  async function list(fresh) {
    const box = find("found");
    if (fresh) { now.found = []; box.replaceChildren(); }
    const born = generation;
    const data = await ui.call(ui.query("/api/found", { label: now.filter, first: now.found.length, count: 60 }));
    if (born !== generation) return;
    now.total = data.total;
    data.cells.forEach((cell) => {
      cells.set(cell.at, cell);
      now.found.push(cell.at);
      const figure = element("figure");
      figure.append(tileOf(cell), element("figcaption", "", spoken(cell)));
      box.append(figure);
    });
    box.querySelectorAll(".more").forEach((old) => old.remove());
    if (now.found.length < now.total) {
      const more = element("div", "more", now.found.length + " of " + now.total);
      box.append(more);
      new IntersectionObserver((seen, watcher) => {
        if (!seen.some((one) => one.isIntersecting)) return;
        watcher.disconnect();
        list(false).catch(ui.trouble);
      }, { root: box, rootMargin: "300px" }).observe(more);
    }
    if (!now.total) box.append(element("p", "quiet", "Nothing matches any more."));
  }

  // ---------------------------------------------------------------- controls

  function options() {
    for (const [id, mine] of [["rows", now.rows], ["columns", now.columns]]) {
      find(id).replaceChildren(...AXES.map((axis) => new Option(NAMES[axis] + " (" + length(axis) + ")", axis)));
      find(id).value = mine;
    }
    find("third").textContent = NAMES[third()];
    find("fixed").replaceChildren(...now.axes[third()].map((one, at) => new Option(one.label, String(at))));
    find("fixed").value = String(now.fixed);
  }

  function axes(rows, columns, fixed) {
    Object.assign(now, { rows, columns, fixed: fixed || 0 });
    options();
    find("matrix").scrollTo(0, 0);
    return reset();
  }

  function chooseAxis(which, axis) {
    const other = which === "rows" ? "columns" : "rows";
    const before = now[which];
    const next = { rows: now.rows, columns: now.columns, [which]: axis };
    if (next[other] === axis) next[other] = before;
    axes(next.rows, next.columns, 0).catch(ui.trouble);
  }

  function live(data) {
    const { planned, done, failed, revision } = data.counts;
    const rest = planned - done - failed;
    find("live").textContent = done + " of " + planned + " pictures" + (failed ? ", " + failed + " failed" : "") + (rest ? ", " + rest + " to come" : "");
    const kept = now.filter;
    find("filter").replaceChildren(new Option("everything", ""), ...data.filters.map((one) => new Option(one.label + " (" + one.count + ")", one.label)));
    if (kept && !data.filters.some((one) => one.label === kept)) find("filter").append(new Option(kept + " (0)", kept));
    find("filter").value = kept;
    const changed = revision !== now.revision;
    now.revision = revision;
    return changed;
  }

  async function pulse() {
    try {
      if (!document.hidden && live(await ui.call("/api/pulse"))) await renew();
      ui.trouble(null);
    } catch (error) { ui.trouble(error); }
    setTimeout(pulse, 3000);
  }

  function choose(at) {
    if (chosen.has(at)) chosen.delete(at);
    else if (chosen.size < 8) chosen.add(at);
    document.querySelectorAll(".cell").forEach((one) => one.classList.toggle("chosen", chosen.has(one.whichlora.at)));
    find("tray").hidden = chosen.size === 0;
    find("tray").querySelector("span").textContent = chosen.size + (chosen.size === 1 ? " picture chosen" : " pictures chosen") + " (shift-click chooses, 8 at most)";
    find("compare").disabled = chosen.size < 2;
  }

  find("rows").addEventListener("change", (event) => chooseAxis("rows", event.target.value));
  find("columns").addEventListener("change", (event) => chooseAxis("columns", event.target.value));
  find("swap").addEventListener("click", () => axes(now.columns, now.rows, now.fixed).catch(ui.trouble));
  find("fixed").addEventListener("change", (event) => { now.fixed = Number(event.target.value); reset().catch(ui.trouble); });
  find("filter").addEventListener("change", (event) => {
    now.filter = event.target.value;
    find("matrix").hidden = Boolean(now.filter);
    find("found").hidden = !now.filter;
    reset().catch(ui.trouble);
  });
  find("clear").addEventListener("click", () => { [...chosen].forEach(choose); });
  find("compare").addEventListener("click", () => ui.openCells([...chosen]));
  let waiting = 0;
  find("matrix").addEventListener("scroll", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => draw().catch(ui.trouble));
  }, { passive: true });
  window.addEventListener("resize", () => reset().catch(ui.trouble));

  // Where arrow keys lead from a cell: along the matrix as it stands, or along the list that a filter found.
  function neighbour(at, down, across, deep) {
    if (now.filter) {
      const here = now.found.indexOf(at);
      return now.found.length ? now.found[(here + down + across + deep + now.found.length) % now.found.length] : at;
    }
    const { case: cases, seed } = shape();
    const here = { candidate: Math.floor(at / (cases * seed)), case: Math.floor(at / seed) % cases, seed: at % seed };
    for (const [axis, step] of [[now.rows, down], [now.columns, across], [third(), deep]]) here[axis] = (here[axis] + step + length(axis)) % length(axis);
    return flat(here);
  }

  async function start() {
    const data = await ui.call("/api/matrix");
    now.axes = data.axes;
    find("project").textContent = data.project;
    document.title = "Viewer · " + data.project;
    if (!length("candidate") || !length("case")) throw new Error("This project has no pictures yet.");
    if (length("seed") > 1 && length("case") === 1) now.columns = "seed";
    live(data);
    options();
    await draw();
    setTimeout(pulse, 1000);
  }

  Object.assign(ui, { neighbour, choose, flat, axesOf: () => now.axes });
  ui.page(start);
})();
