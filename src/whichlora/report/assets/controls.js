// What a full-screen comparison does wherever it is shown: ways to compare, zoom, pixels, regions, the source while held,
// and the keys for them. Which pictures stand on the stage, and where steps lead, is said by whoever uses it.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const AMOUNTS = { slider: "Position", fade: "Fade", difference: "Stronger" };

  // Comparing pixel by pixel is honest only between pictures of one size.
  function refusal(panes, mode) {
    if (mode === "side") return "";
    const [one, other] = panes.slice(-2);
    for (const part of [one, other]) if (!part.url) return "There is nothing to lay over: " + part.title + " has no picture (" + part.why + "). Shown side by side instead.";
    if (one.w === other.w && one.h === other.h) return "";
    return "Not the same size, so a comparison pixel by pixel would mislead: " + one.title + " is " + one.w + " × " + one.h +
      " px, " + other.title + " is " + other.w + " × " + other.h + " px. Shown side by side instead.";
  }

  class Controls {
    // says: {draw(), step(numbers of a button), arrow(event) for the arrow keys, keys: {key: what it does}}
    constructor(says) {
      const find = (id) => document.getElementById(id);
      this.says = says;
      this.dialog = find("viewer");
      this.root = find("stage");
      this.refused = find("viewer-refused");
      this.amount = find("viewer-amount");
      this.slider = this.amount.querySelector("input");
      this.pixelsButton = find("viewer-pixels");
      this.marksButton = find("viewer-marks");
      this.mode = "side";
      this.marks = false;
      this.stage = new ui.Stage(this.root, () => {
        if (document.activeElement !== this.slider) this.slider.value = String(this.stage.amount);
      });
      this.zooms = { in: () => this.stage.zoom(1.4), out: () => this.stage.zoom(1 / 1.4), reset: () => this.stage.reset() };
      this.keys = {
        "+": this.zooms.in, "=": this.zooms.in, "-": this.zooms.out, 0: this.zooms.reset, 1: () => this.stage.truePixels(),
        p: () => this.pixels(), m: () => this.mark(),
        s: () => this.compare("side"), l: () => this.compare("slider"), f: () => this.compare("fade"), d: () => this.compare("difference"),
        ...says.keys,
      };
      this.listen(find("viewer-close"), find("viewer-source"), find("viewer-with"));
    }

    open() {
      this.stage.fit();
      if (!this.dialog.open) this.dialog.showModal();
      this.root.focus();
    }

    // Puts pictures on the stage, side by side where the way asked for would mislead; returns the way taken.
    show(panes) {
      const refused = refusal(panes, this.mode);
      const mode = refused ? "side" : this.mode;
      this.stage.show(panes, mode, this.marks);
      this.refused.textContent = refused;
      this.refused.hidden = !refused;
      this.amount.hidden = mode === "side";
      this.amount.querySelector("span").textContent = AMOUNTS[mode] || "";
      this.dialog.querySelectorAll("[data-mode]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === this.mode)));
      this.marksButton.setAttribute("aria-pressed", String(this.marks));
      return mode;
    }

    compare(mode) {
      this.mode = mode;
      this.stage.amount = mode === "difference" ? 30 : 50;
      this.slider.value = String(this.stage.amount);
      this.says.draw();
    }

    pixels() {
      const crisp = this.root.classList.contains("pixels");
      this.stage.pixels = !crisp;
      this.pixelsButton.setAttribute("aria-pressed", String(!crisp));
      this.stage.apply();
    }

    // Shows where a metric or a person found something.
    mark() {
      this.marks = !this.marks;
      this.says.draw();
    }

    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === " " && !event.target.closest("button, select, input")) {
        event.preventDefault();
        this.stage.peek(true);
        return;
      }
      const act = event.key.startsWith("Arrow") ? () => this.says.arrow(event) : this.keys[event.key];
      if (!act || event.target.closest("select, input")) return;
      event.preventDefault();
      act();
    }

    click(event) {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.mode) this.compare(button.dataset.mode);
      if (button.dataset.step) this.says.step(...button.dataset.step.split(",").map(Number));
      if (button.dataset.zoom) this.zooms[button.dataset.zoom]();
      if (event.detail && this.dialog.open) this.root.focus(); // after a click with the mouse the keys work at once
    }

    listen(close, hold, partner) {
      const { dialog, stage } = this;
      dialog.addEventListener("keydown", (event) => this.press(event));
      dialog.addEventListener("keyup", (event) => { if (event.key === " ") stage.peek(false); });
      dialog.addEventListener("close", () => stage.peek(false));
      dialog.addEventListener("click", (event) => this.click(event));
      window.addEventListener("blur", () => stage.peek(false));
      window.addEventListener("resize", () => { if (dialog.open) this.says.draw(); });
      close.addEventListener("click", () => dialog.close());
      this.pixelsButton.addEventListener("click", () => this.pixels());
      this.marksButton.addEventListener("click", () => this.mark());
      hold.addEventListener("pointerdown", () => stage.peek(true));
      for (const end of ["pointerup", "pointerleave", "blur"]) hold.addEventListener(end, () => stage.peek(false));
      hold.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") stage.peek(true); });
      partner.addEventListener("change", () => this.says.draw());
      this.slider.addEventListener("input", () => { stage.amount = Number(this.slider.value); stage.mix(); });
    }
  }

  Object.assign(ui, { Controls });
})();
