// Single ratings: two scales, marks where something is broken, a note.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const { find, element } = ui;
  const SPACE = "http://www.w3.org/2000/svg";
  const WORDS = {
    identity: ["someone else", "hardly alike", "unsure", "the same, small slips", "clearly the same"],
    edit: ["not done", "hardly", "half done", "done, small faults", "exactly as asked"],
  };
  const now = ui.watchBusy({ task: null, values: {}, marks: [], press: null });
  const stage = new ui.Stage(find("stage"), () => {});
  const wide = window.matchMedia("(min-width: 700px)");

  document.querySelectorAll("[data-scale]").forEach((field) => {
    WORDS[field.dataset.scale].forEach((words, at) => {
      const button = element("button");
      button.type = "button";
      button.dataset.value = String(at + 1);
      button.append(element("b", "", String(at + 1)), element("span", "", words));
      button.addEventListener("click", (event) => { set(field.dataset.scale, at + 1); if (event.detail) button.blur(); });
      field.querySelector(".scale").append(button);
    });
  });

  function set(scale, value) {
    if (now.busy || !now.task) return;
    now.values[scale] = now.values[scale] === value ? undefined : value;
    draw();
  }

  // A number answers the first open question, and corrects the second once both are answered.
  function number(value) {
    const scale = now.values.identity === undefined ? "identity" : "edit";
    now.values[scale] = undefined;
    set(scale, value);
  }

  function draw() {
    const open = now.values.identity === undefined ? "identity" : now.values.edit === undefined ? "edit" : "";
    document.querySelectorAll("[data-scale]").forEach((field) => {
      field.classList.toggle("asking", field.dataset.scale === open);
      field.querySelectorAll("button").forEach((button) => {
        button.setAttribute("aria-pressed", String(Number(button.dataset.value) === now.values[field.dataset.scale]));
      });
    });
    find("marks").textContent = now.marks.length === 0 ? "Click the picture where something is broken"
      : now.marks.length + (now.marks.length === 1 ? " artefact marked" : " artefacts marked") + ", click one to remove it";
    document.querySelectorAll("svg.marks").forEach((old) => old.remove());
    const layer = mine();
    if (!layer || !now.task || !now.marks.length) return;
    const { w, h } = now.task.pictures[0];
    const svg = document.createElementNS(SPACE, "svg");
    svg.classList.add("marks");
    svg.setAttribute("viewBox", "0 0 " + w + " " + h);
    now.marks.forEach(([x, y]) => {
      const ring = document.createElementNS(SPACE, "circle");
      Object.entries({ cx: x * w, cy: y * h, r: Math.max(w, h) * 0.022 }).forEach(([name, value]) => ring.setAttribute(name, value));
      svg.append(ring);
    });
    layer.append(svg);
    stage.apply();
  }

  // The layer of the picture that is judged (not of the source).
  function mine() {
    const panes = find("stage").querySelectorAll(".pane");
    return panes.length ? panes[panes.length - 1].querySelector(".layer.under") : null;
  }

  // Where in the picture a click fell, as shares; null outside.
  function spot(event) {
    const layer = mine();
    if (!layer || !layer.closest(".view").contains(event.target)) return null;
    const box = layer.querySelector("img").getBoundingClientRect();
    const { w, h } = now.task.pictures[0];
    const scale = Math.min(box.width / w, box.height / h);
    const x = (event.clientX - box.left - (box.width - w * scale) / 2) / (w * scale);
    const y = (event.clientY - box.top - (box.height - h * scale) / 2) / (h * scale);
    return x >= 0 && x <= 1 && y >= 0 && y <= 1 ? [x, y] : null;
  }

  find("stage").addEventListener("pointerdown", (event) => { now.press = [event.clientX, event.clientY]; });
  find("stage").addEventListener("pointerup", (event) => {
    if (!now.press || now.busy || !now.task) return;
    const moved = Math.hypot(event.clientX - now.press[0], event.clientY - now.press[1]);
    now.press = null;
    const seen = document.elementFromPoint(event.clientX, event.clientY);
    const at = moved < 5 ? spot({ clientX: event.clientX, clientY: event.clientY, target: seen }) : null;
    if (!at) return;
    const { w, h } = now.task.pictures[0];
    const near = now.marks.findIndex(([x, y]) => Math.hypot((x - at[0]) * w, (y - at[1]) * h) < Math.max(w, h) * 0.03);
    if (near >= 0) now.marks.splice(near, 1);
    else if (now.marks.length < 50) now.marks.push(at);
    draw();
  });

  async function next() {
    now.busy = true;
    const data = await ui.call(ui.query("/api/rating", { rater: ui.voter() }));
    Object.assign(now, { task: data.task, values: {}, marks: [] });
    find("note").value = "";
    find("progress").textContent = data.mine + " of " + data.of + " pictures rated by you";
    const none = !data.task;
    find("empty").hidden = !none;
    find("stage").hidden = none;
    document.querySelector(".scales").hidden = none;
    if (none) {
      find("asked").textContent = "";
      find("empty").querySelector("p").textContent = data.mine ? "You have rated every picture. Thank you." : "No picture is finished yet.";
      now.busy = false;
      return;
    }
    find("asked").textContent = "Asked: “" + data.task.prompt + "”";
    stage.fit();
    const source = { title: "Source", ...data.task.source };
    const picture = { title: "Picture", ...data.task.pictures[0], source };
    stage.show(wide.matches ? [source, picture] : [picture], "side", false);
    const whole = await ui.loaded(find("stage"));
    ui.trouble(whole ? null : new Error("A picture could not be read. Skip it with s."));
    now.busy = false;
    draw();
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
    const { identity = null, edit = null } = now.values;
    const note = find("note").value;
    if (identity === null && edit === null && !now.marks.length && !note.trim()) { ui.toast("Choose a number first, or skip"); return; }
    find("note").blur();
    act("/api/rate", { task: now.task.id, identity, edit, marks: now.marks, note }, "Saved · z undoes", "This one was rated already");
  }

  const acts = {
    save, skip: () => now.task && act("/api/pass", { task: now.task.id }, "Skipped", "Skipped"),
    undo: () => act("/api/undo", { kind: "rating" }, "Taken back", "Nothing to take back"),
  };
  const keys = { Enter: save, s: acts.skip, z: acts.undo, n: () => find("note").focus(), Backspace: () => { now.values = {}; now.marks = []; draw(); },
    "+": () => stage.zoom(1.4), "=": () => stage.zoom(1.4), "-": () => stage.zoom(1 / 1.4), 0: () => stage.reset() };
  [1, 2, 3, 4, 5].forEach((value) => { keys[value] = () => number(value); });
  ui.onKeys(keys);
  find("note").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); save(); }
    if (event.key === "Escape") find("note").blur();
  });
  ui.onHold(find("source"), (on) => stage.peek(on));
  document.querySelector(".helpers").addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    acts[button.dataset.do]();
    if (event.detail) button.blur();
  });
  ui.page(next);
})();
