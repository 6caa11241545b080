// The overview: who votes, which pass, how far each is.
(function () {
  "use strict";
  const ui = window.whichloraUi;
  const { find, element } = ui;

  function pass(row) {
    const link = element("a", "pass");
    link.href = ui.query("/pairs", { question: row.question });
    link.append(element("b", "", row.words), element("span", "", ui.outlookWords(row)));
    const others = row.votes - row.mine;
    link.append(element("span", "quiet", row.mine + " by you" + (others > 0 ? ", " + others + " by others" : "")));
    return link;
  }

  async function draw() {
    const name = ui.voter();
    const state = await ui.call(ui.query("/api/state", { rater: name }));
    find("project").textContent = state.project + " · " + state.pictures + " pictures of " + state.contestants + " candidates";
    find("who").hidden = Boolean(name);
    find("desk").hidden = !name;
    if (!name) {
      find("name").value = localStorage.getItem("lastVoter") || "";
      find("name").focus();
      return;
    }
    find("voter").textContent = name;
    find("passes").replaceChildren(...state.passes.map(pass));
    find("ratings").textContent = state.ratings + " rated by you";
    find("extremes").textContent = state.extremes + " line-ups by you";
    find("pictures").textContent = state.pictures + " pictures";
    if (state.pictures === 0) ui.trouble(new Error("There is nothing to judge yet: no picture of this project is finished. This page looks again every few seconds."));
    else ui.trouble(null);
    if (state.pictures === 0) setTimeout(() => draw().catch(ui.trouble), 3000);
  }

  find("who").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = find("name").value.trim();
    if (!name) return;
    ui.setVoter(name);
    localStorage.setItem("lastVoter", name);
    draw().catch(ui.trouble);
  });
  find("other").addEventListener("click", () => { ui.setVoter(""); draw().catch(ui.trouble); });
  find("invite").addEventListener("click", async () => {
    try {
      const box = find("link");
      box.value = (await ui.call("/api/invite", {})).link;
      box.hidden = false;
      box.focus();
      box.select();
    } catch (error) { ui.trouble(error); }
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) draw().catch(ui.trouble); });
  ui.page(draw);
})();
