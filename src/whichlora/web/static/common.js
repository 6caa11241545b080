// What all pages share: exchanging the link's token, asking the server, the voter's name, keys.
// Texts only ever enter a page through textContent or value.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const find = (id) => document.getElementById(id);

  async function call(path, body) {
    const options = { credentials: "same-origin", cache: "no-store" };
    if (body !== undefined) {
      options.method = "POST";
      options.headers = { "Content-Type": "application/json" };
      options.body = JSON.stringify(body);
    }
    const response = await fetch(path, options);
    const isJson = (response.headers.get("content-type") || "").startsWith("application/json");
    const data = isJson ? await response.json() : { error: await response.text() };
    if (!response.ok) {
      const error = new Error(data.error || "The server answered " + response.status + ".");
      error.status = response.status;
      throw error;
    }
    return data;
  }

  function trouble(error) {
    const box = find("trouble");
    let words = "";
    if (error) {
      words = error.message || String(error);
      if (error.status === 403) words = "This browser has no access. Open the link that whichlora printed; each link works once, and a restart makes a new one.";
      if (error instanceof TypeError) words = "The review server does not answer. Start it again with: whichlora review PROJECT. Votes given so far are kept.";
    }
    box.textContent = words;
    box.hidden = !words;
  }

  // The token stands behind '#', is exchanged once for a cookie, and leaves the address at once.
  async function enter() {
    const given = new URLSearchParams(location.hash.slice(1));
    const token = given.get("t");
    if (given.get("rater") && !voter()) setVoter(given.get("rater"));
    if (token) {
      history.replaceState(null, "", location.pathname + location.search);
      try {
        await call("/api/session", { token });
      } catch (error) {
        if (error.status !== 403) throw error;
        await call("/api/state"); // an earlier session of this browser may still be good
      }
    }
  }

  // A tab is a voter: two people can vote in two tabs.
  function voter() { return sessionStorage.getItem("voter") || ""; }

  function setVoter(name) { sessionStorage.setItem("voter", name); }

  function query(path, parts) {
    return path + "?" + new URLSearchParams(parts).toString();
  }

  // Whether a page is between two tasks, when it takes no answer. Said to screen readers as well.
  function watchBusy(now) {
    let busy = false;
    Object.defineProperty(now, "busy", {
      get: () => busy,
      set: (value) => { busy = value; document.body.setAttribute("aria-busy", String(value)); },
    });
    now.busy = true;
    return now;
  }

  // Keys of a page; none act while text is typed, with a modifier, or when held down.
  function onKeys(keys) {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.target.closest("input, select, textarea")) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (!keys[key]) return;
      if ((key === "Enter" || key === " ") && event.target.closest("a")) return;
      event.preventDefault();
      if (!event.repeat) keys[key](event);
    });
  }

  // Show the source while a key or a button is held.
  function onHold(button, show) {
    document.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.target.closest("input, select, textarea, dialog")) return;
      event.preventDefault();
      if (!event.repeat) show(true);
    });
    document.addEventListener("keyup", (event) => {
      if (event.key !== " ") return;
      if (!event.target.closest("input, select, textarea, dialog")) event.preventDefault();
      show(false);
    });
    window.addEventListener("blur", () => show(false));
    button.addEventListener("pointerdown", () => show(true));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => show(false));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  let fading = 0;
  function toast(words) {
    const box = find("toast");
    box.textContent = words;
    box.classList.add("on");
    clearTimeout(fading);
    fading = setTimeout(() => box.classList.remove("on"), 1600);
  }

  // When every picture under an element can be seen; a broken one counts as seen and is named.
  async function loaded(root) {
    const images = [...root.querySelectorAll("img")];
    const results = await Promise.allSettled(images.map((image) => image.decode()));
    return results.every((result) => result.status === "fulfilled");
  }

  function preload(urls) {
    urls.filter(Boolean).forEach((url) => { new Image().src = url; });
  }

  function outlookWords(data) {
    if (data.separated && data.votes > 0) return "The top two are separate: you may stop here.";
    if (data.left) return "About " + data.left + (data.left === 1 ? " vote" : " votes") + " left until the top two separate.";
    if (data.votes < 12) return "After about a dozen votes you see how many are left.";
    return "The top two look alike so far.";
  }

  // Runs a page once the session stands and somebody is voting.
  async function page(start) {
    try {
      await enter();
      if (document.body.classList.contains("task") && !voter()) { location.replace("/"); return; }
      await start();
    } catch (error) { trouble(error); }
  }

  Object.assign(ui, { find, call, trouble, voter, setVoter, query, onKeys, onHold, toast, loaded, preload, watchBusy, outlookWords, page });
})();
