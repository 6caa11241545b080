// Sorting of the matrix, the picture grid, and every button that opens pictures.
(function () {
  "use strict";
  const data = window.whichlora;
  const { element, open, seedsOf, cellAt } = window.whichloraUi;
  const find = (id) => document.getElementById(id);

  // ---- buttons that open the viewer
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-cell], [data-cells], [data-candidate]");
    if (!button || button.closest("dialog")) return;
    if (button.dataset.cell !== undefined) return openCell(data.cells[Number(button.dataset.cell)]);
    if (button.dataset.cells !== undefined) return openList(button.dataset.cells.split(",").map(Number), button.dataset.title);
    return openCandidate(Number(button.dataset.candidate), button.dataset.family || "");
  });

  function openCell(cell) { if (cell) open(cell); }

  function openList(numbers, title) {
    const cells = numbers.map((number) => data.cells[number]).filter(Boolean);
    if (cells.length) open(cells[0], cells.map((cell) => ({ k: cell.k, seed: cell.seed, c: cell.c })), title);
  }

  function openCandidate(c, family) {
    const stops = [];
    data.cases.forEach((asked, k) => { if (!family || asked.key === family) stops.push({ k, seed: null, c: null }); });
    const reachable = (stop) => (seedsOf.get(stop.k) || []).find((seed) => cellAt.has(c + "/" + stop.k + "/" + seed));
    const first = stops.find((stop) => reachable(stop) !== undefined);
    if (!first) return openWhole(c);
    open({ c, k: first.k, seed: reachable(first) }, stops, family ? data.cases[first.k].family : "");
  }

  // A column such as 'identity' is no edit family: it is seen in every case.
  function openWhole(c) { openCell(data.cells.find((cell) => cell.c === c)); }

  // ---- sorting
  const table = find("matrix-table");
  if (table) {
    const rows = [...table.tBodies[0].rows];
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("[data-sort]");
      if (!button) return;
      const head = button.closest("th");
      const order = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort")];
      table.tHead.querySelectorAll("th[aria-sort]").forEach((one) => one.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      const value = (row) => Number(row.cells[head.cellIndex].dataset.value);
      const sign = order === "ascending" ? 1 : -1;
      const sorted = order === "none" ? rows : [...rows].sort((a, b) => (value(a) < 0) - (value(b) < 0) || sign * (value(a) - value(b)));
      table.tBodies[0].append(...sorted); // missing figures stay last in both directions
    });
  }

  // ---- picture grid
  const grid = find("grid");
  const caseSelect = find("grid-case");
  const seedSelect = find("grid-seed");

  function shot(cell, name) {
    const button = element("button", "shot " + (cell ? cell.tone : "none"));
    button.type = "button";
    if (!cell) {
      button.append(element("span", "nopicture", "not planned"), element("span", "name", name));
      button.disabled = true;
      return button;
    }
    const said = ({ good: "✓ ", bad: "✗ ", none: "– " })[cell.tone] + cell.said;
    button.dataset.cell = String(data.cells.indexOf(cell));
    button.setAttribute("aria-label", name + ": " + cell.said + ". Open.");
    button.append(cell.url ? image(cell.thumb) : element("span", "nopicture", cell.why));
    button.append(element("span", "name", name), element("span", "said", said));
    return button;
  }

  function image(url) {
    const made = element("img");
    made.src = url;
    made.alt = "";
    made.loading = "lazy";
    made.decoding = "async";
    return made;
  }

  function drawGrid() {
    const k = Number(caseSelect.value);
    const asked = data.cases[k];
    const seeds = seedsOf.get(k) || [];
    if (!seeds.includes(seedSelect.value)) seedSelect.value = "all";
    const wanted = seedSelect.value === "all" ? seeds : [seedSelect.value];
    find("grid-prompt").replaceChildren(element("q", "", asked.prompt));
    grid.replaceChildren();
    wanted.forEach((seed) => {
      if (seeds.length > 1) grid.append(element("h3", "seed", "Seed " + seed));
      const source = data.sources[asked.source];
      const photo = element("div", "shot source");
      photo.append(source && source.thumb ? image(source.thumb) : element("span", "nopicture", "photograph missing"), element("span", "name", "Source"));
      grid.append(photo);
      data.candidates.forEach((candidate, c) => grid.append(shot(cellAt.get(c + "/" + k + "/" + seed), candidate.name)));
    });
  }

  function moveCase(step) {
    const count = caseSelect.options.length;
    caseSelect.selectedIndex = (caseSelect.selectedIndex + step + count) % count;
    fillSeeds();
    drawGrid();
  }

  function fillSeeds() {
    const kept = seedSelect.value;
    seedSelect.replaceChildren(new Option("all", "all"));
    (seedsOf.get(Number(caseSelect.value)) || []).forEach((seed) => seedSelect.append(new Option(seed, seed)));
    seedSelect.value = kept;
    if (seedSelect.selectedIndex < 0) seedSelect.value = "all";
  }

  function gridKeys(event) {
    const shots = [...grid.querySelectorAll("button.shot:not(:disabled)")];
    const at = shots.indexOf(document.activeElement);
    if (at < 0) return;
    const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const updown = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (side) shots[(at + side + shots.length) % shots.length].focus();
    else if (updown) {
      moveCase(updown);
      const fresh = grid.querySelectorAll("button.shot:not(:disabled)");
      if (fresh.length) fresh[Math.min(at, fresh.length - 1)].focus();
    } else if (event.key === " ") holdSource(shots[at], true);
    else return;
    event.preventDefault();
  }

  // While space is held on a picture of the grid, its place shows the source.
  function holdSource(button, on) {
    const picture = button.querySelector("img");
    const cell = data.cells[Number(button.dataset.cell)];
    const source = cell && data.sources[data.cases[cell.k].source];
    if (picture && source && source.thumb) picture.src = on ? source.thumb : cell.thumb;
  }

  if (grid && caseSelect.options.length) {
    find("grid-pick").addEventListener("submit", (event) => event.preventDefault());
    find("grid-previous").addEventListener("click", () => moveCase(-1));
    find("grid-next").addEventListener("click", () => moveCase(1));
    caseSelect.addEventListener("change", () => { fillSeeds(); drawGrid(); });
    seedSelect.addEventListener("change", drawGrid);
    grid.addEventListener("keydown", gridKeys);
    grid.addEventListener("keyup", (event) => {
      const button = event.target.closest("button.shot");
      if (event.key !== " " || !button) return;
      event.preventDefault(); // else letting go of space would open the picture
      holdSource(button, false);
    });
    fillSeeds();
    drawGrid();
  }

  // ---- the command that repeats the run
  const copy = find("copy");
  if (copy) {
    copy.addEventListener("click", () => {
      const command = find(copy.dataset.copy);
      const done = () => { copy.textContent = "Copied"; };
      const select = () => window.getSelection().selectAllChildren(command);
      if (navigator.clipboard) navigator.clipboard.writeText(command.textContent).then(done, select);
      else select();
    });
  }
})();
