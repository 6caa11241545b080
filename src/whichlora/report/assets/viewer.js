// The full-screen viewer: which pictures stand on the stage, and where steps lead.
(function () {
  "use strict";
  const data = window.whichlora;
  const { Controls, element } = window.whichloraUi;
  const find = (id) => document.getElementById(id);
  const withSelect = find("viewer-with");
  const narrow = window.matchMedia("(max-width: 600px)");

  const cellAt = new Map(); // "candidate/case/seed" → cell
  const seedsOf = new Map(); // case → seeds
  data.cells.forEach((cell) => {
    cellAt.set(cell.c + "/" + cell.k + "/" + cell.seed, cell);
    if (!seedsOf.has(cell.k)) seedsOf.set(cell.k, []);
    if (!seedsOf.get(cell.k).includes(cell.seed)) seedsOf.get(cell.k).push(cell.seed);
  });
  const base = data.candidates.findIndex((candidate) => candidate.role === "base");

  // stops: where ↑ and ↓ lead, [{k, seed or null, c or null}]
  const now = { c: 0, k: 0, seed: "", stops: [], at: 0, title: "" };
  const controls = new Controls({
    draw, step,
    arrow: (event) => step(...{ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key]),
    keys: { ".": nextSeed },
  });

  const cell = (c) => cellAt.get(c + "/" + now.k + "/" + now.seed);

  function open(place, stops, title) {
    now.stops = stops && stops.length ? stops : data.cases.map((_, k) => ({ k, seed: null, c: null }));
    now.title = title || "";
    Object.assign(now, { c: place.c, k: place.k, seed: place.seed });
    now.at = Math.max(0, now.stops.findIndex((stop) => stop.k === place.k && (stop.seed === null || stop.seed === place.seed) && (stop.c === null || stop.c === place.c)));
    choices();
    controls.open();
    draw();
  }

  function choices() {
    const kept = withSelect.value;
    withSelect.replaceChildren(new Option("Source", "source"));
    data.candidates.forEach((candidate, c) => withSelect.append(new Option(candidate.name, String(c))));
    withSelect.value = kept || (base >= 0 ? String(base) : "source");
  }

  function step(candidates, cases) {
    const count = data.candidates.length;
    if (candidates) {
      let next = now.c;
      for (let tries = 0; tries < count; tries += 1) {
        next = (next + candidates + count) % count;
        if (cell(next)) break;
      }
      now.c = next;
    }
    if (cases) {
      now.at = (now.at + cases + now.stops.length) % now.stops.length;
      const stop = now.stops[now.at];
      now.k = stop.k;
      const seeds = seedsOf.get(stop.k) || [""];
      now.seed = stop.seed !== null ? stop.seed : seeds.includes(now.seed) ? now.seed : seeds[0];
      if (stop.c !== null) now.c = stop.c;
    }
    draw();
  }

  function nextSeed() {
    const seeds = seedsOf.get(now.k) || [""];
    now.seed = seeds[(seeds.indexOf(now.seed) + 1) % seeds.length];
    draw();
  }

  // The photograph as the metrics saw it: resized to the picture's size, if its shape allows.
  function sourcePicture(like) {
    const source = data.sources[data.cases[now.k].source];
    if (!source) return { title: "Source", url: "", why: "photograph missing" };
    const fitted = like && source.fitted.find(([w, h]) => w === like.w && h === like.h);
    const resized = fitted && (fitted[0] !== source.w || fitted[1] !== source.h);
    return {
      title: "Source" + (resized ? " (resized from " + source.w + " × " + source.h + ")" : ""),
      url: fitted ? fitted[2] : source.url, w: fitted ? fitted[0] : source.w, h: fitted ? fitted[1] : source.h,
      why: "photograph missing",
    };
  }

  function picture(c) {
    const made = cell(c);
    const name = data.candidates[c] ? data.candidates[c].name : "";
    if (!made) return { title: name, url: "", why: "not planned" };
    const regions = made.scores.flatMap((score) => score[6]);
    return {
      title: name, url: made.url, w: made.w, h: made.h, why: made.why, regions, source: sourcePicture(made),
      tone: made.tone, said: ({ good: "✓ ", bad: "✗ ", none: "" })[made.tone] + made.said,
    };
  }

  function partner() {
    let other = withSelect.value;
    if (other === String(now.c)) other = "source";
    return other === "source" ? sourcePicture(cell(now.c)) : picture(Number(other));
  }

  function panes() {
    const current = picture(now.c);
    const other = partner();
    if (controls.mode !== "side" || narrow.matches) return [other, current];
    const list = [sourcePicture(cell(now.c))];
    if (base >= 0 && base !== now.c) list.push(picture(base));
    if (other.title && !other.title.startsWith("Source") && Number(withSelect.value) !== base) list.push(other);
    return list.concat([current]);
  }

  function draw() {
    const list = panes();
    controls.show(list);
    const asked = data.cases[now.k];
    const place = now.title ? now.title + ", " + (now.at + 1) + " of " + now.stops.length : "case " + (now.at + 1) + " of " + now.stops.length;
    find("viewer-title").textContent = data.candidates[now.c].name + " · " + place;
    find("viewer-asked").textContent = "“" + asked.prompt + "” · " + asked.family + " · seed " + now.seed;
    const seeds = seedsOf.get(now.k) || [];
    find("viewer-seed").textContent = "seed " + now.seed + " (" + (seeds.indexOf(now.seed) + 1) + "/" + seeds.length + ")";
    find("viewer-marks").hidden = !list.some((one) => one.regions && one.regions.length);
    scores();
    preload();
  }

  function scores() {
    const box = find("viewer-scores");
    box.replaceChildren();
    const made = cell(now.c);
    if (!made) return;
    if (made.time) box.append(element("span", "", "took " + made.time));
    for (const [metric, value, passed, gate, reason, rater] of made.scores) {
      const sign = passed === true ? "✓ " : passed === false ? "✗ " : "";
      const tone = passed === false ? "bad" : passed === true ? "good" : "quiet";
      const says = reason && value === "not measured" ? "" : " " + value;
      const line = element("span", tone, sign + data.metrics[metric] + says + (rater ? " (by " + rater + ")" : ""));
      if (reason) line.append(element("span", "quiet", ": " + reason));
      if (gate) line.title = "decides: " + gate;
      box.append(line);
    }
  }

  function preload() {
    for (const move of [1, -1]) {
      const next = cell((now.c + move + data.candidates.length) % data.candidates.length);
      if (next && next.url) new Image().src = next.url;
    }
  }

  find("viewer-seed").addEventListener("click", nextSeed);

  Object.assign(window.whichloraUi, { open, seedsOf, cellAt });
})();
