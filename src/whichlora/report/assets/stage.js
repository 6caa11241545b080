// Shows one or several pictures with a common zoom. Knows nothing of candidates or cases.
// Texts only ever enter through textContent.
(function () {
  "use strict";

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  class Stage {
    constructor(root, changed) {
      this.root = root;
      this.changed = changed;
      this.panes = [];
      this.mode = "side";
      this.amount = 50;
      this.pixels = null; // null: decided by the size at which a pixel is shown
      this.pointers = new Map();
      this.fit();
      this.listen();
    }

    // panes: [{title, url, w, h, why, tone, said, source: {url}, regions}]; overlay modes use the last two.
    show(panes, mode, marks) {
      this.panes = panes;
      this.mode = mode;
      this.root.replaceChildren();
      if (mode === "side") panes.forEach((pane) => this.root.append(this.pane([pane], marks)));
      else this.root.append(this.pane(panes.slice(-2), marks));
      this.apply();
    }

    pane(layers, marks) {
      const figure = element("figure", "pane");
      const view = element("div", "view");
      const mix = element("div", "mix");
      layers.forEach((layer, place) => mix.append(this.layer(layer, place === 1 ? "over" : "under", marks)));
      view.append(mix);
      if (layers.length === 2) {
        view.append(element("span", "corner left", layers[0].title), element("span", "corner right", layers[1].title));
        if (this.mode === "slider") view.append(element("div", "handle"));
      }
      const last = layers[layers.length - 1];
      if (last.source && last.source.url) view.append(this.layer(last.source, "peek", false));
      const caption = element("figcaption");
      caption.append(element("span", "", last.title), element("span", last.tone || "", last.said || ""));
      figure.append(caption, view);
      return figure;
    }

    layer(picture, name, marks) {
      const layer = element("div", "layer " + name);
      if (!picture.url) {
        layer.append(element("div", "nopicture", picture.why || "no picture"));
        return layer;
      }
      const image = element("img");
      image.alt = picture.title || "";
      image.src = picture.url;
      image.draggable = false;
      layer.append(image);
      if (marks && picture.regions && picture.regions.length) layer.append(regions(picture));
      return layer;
    }

    fit() { this.z = 1; this.x = 0; this.y = 0; }

    reset() { this.fit(); this.apply(); }

    // Zoom by a factor so that the point (px, py), given as shares of the view, stays where it is.
    zoom(factor, px, py) {
      const z = Math.min(64, Math.max(0.2, this.z * factor));
      px = px === undefined ? 0.5 : px;
      py = py === undefined ? 0.5 : py;
      this.x = px - (px - this.x) * (z / this.z);
      this.y = py - (py - this.y) * (z / this.z);
      this.z = z;
      this.apply();
    }

    // One picture pixel becomes a whole number of screen pixels.
    truePixels() {
      const scale = this.scale();
      if (!scale) return;
      const times = Math.max(1, Math.floor(scale + 1e-6));
      this.fit();
      this.zoom(times / scale);
    }

    // Screen pixels per picture pixel when fitted.
    scale() {
      const view = this.root.querySelector(".view");
      const last = this.panes[this.panes.length - 1];
      if (!view || !last || !last.w) return 0;
      const box = view.getBoundingClientRect();
      return Math.min(box.width / last.w, box.height / last.h);
    }

    apply() {
      const hold = (offset) => (this.z >= 1 ? Math.min(0, Math.max(1 - this.z, offset)) : (1 - this.z) / 2);
      this.x = hold(this.x);
      this.y = hold(this.y);
      const move = "translate(" + this.x * 100 + "%, " + this.y * 100 + "%) scale(" + this.z + ")";
      this.root.querySelectorAll(".layer > img, .layer > svg").forEach((image) => { image.style.transform = move; });
      const crisp = this.pixels === null ? this.scale() * this.z >= 8 : this.pixels;
      this.root.classList.toggle("pixels", crisp);
      this.mix();
      this.changed();
    }

    // Slider, fade and difference are one picture laid over another.
    mix() {
      const over = this.root.querySelector(".layer.over");
      if (!over) return;
      const mix = over.parentElement;
      const view = mix.parentElement;
      const share = this.amount / 100;
      const edge = Math.round(share * view.clientWidth) / Math.max(1, view.clientWidth) * 100;
      over.style.clipPath = this.mode === "slider" ? "inset(0 0 0 " + edge + "%)" : "";
      over.style.opacity = this.mode === "fade" ? String(share) : "";
      over.style.mixBlendMode = this.mode === "difference" ? "difference" : "";
      mix.classList.toggle("dark", this.mode === "difference");
      mix.style.filter = this.mode === "difference" ? "brightness(" + (1 + share * 7).toFixed(2) + ")" : "";
      const handle = view.querySelector(".handle");
      if (handle) handle.style.left = edge + "%";
    }

    peek(on) { this.root.classList.toggle("peeking", on); }

    listen() {
      const root = this.root;
      root.addEventListener("wheel", (event) => {
        const at = this.where(event);
        if (!at) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.06 : 0.002)), at.x, at.y);
      }, { passive: false });
      root.addEventListener("dblclick", () => this.reset());
      root.addEventListener("pointerdown", (event) => {
        if (!this.where(event)) return;
        root.setPointerCapture(event.pointerId);
        this.pointers.set(event.pointerId, event);
        this.view = event.target.closest(".view");
      });
      root.addEventListener("pointermove", (event) => this.drag(event));
      for (const end of ["pointerup", "pointercancel"]) {
        root.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
      }
    }

    drag(event) {
      const before = this.pointers.get(event.pointerId);
      if (!before || !this.view) return;
      const box = this.view.getBoundingClientRect();
      this.pointers.set(event.pointerId, event);
      if (this.pointers.size === 2) {
        const other = [...this.pointers.values()].find((one) => one.pointerId !== event.pointerId);
        const spread = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
        this.zoom(spread(event) / spread(before), ((event.clientX + other.clientX) / 2 - box.left) / box.width,
          ((event.clientY + other.clientY) / 2 - box.top) / box.height);
        return;
      }
      if (this.mode === "slider" && this.z === 1) {
        this.amount = Math.min(100, Math.max(0, (event.clientX - box.left) / box.width * 100));
      } else {
        this.x += (event.clientX - before.clientX) / box.width;
        this.y += (event.clientY - before.clientY) / box.height;
      }
      this.apply();
    }

    where(event) {
      const view = event.target.closest && event.target.closest(".view");
      if (!view) return null;
      const box = view.getBoundingClientRect();
      return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
    }
  }

  function regions(picture) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 " + picture.w + " " + picture.h);
    for (const [x, y, width, height] of picture.regions) {
      const box = document.createElementNS(space, "rect");
      Object.entries({ x, y, width, height }).forEach(([name, value]) => box.setAttribute(name, value));
      svg.append(box);
    }
    return svg;
  }

  window.whichloraUi = { Stage, element };
})();
