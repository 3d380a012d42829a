"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const gallery = byId("gallery");
  const cards = [...gallery.children];
  const filters = [...document.querySelectorAll(".filter")];
  const order = { REJECT: 0, REVIEW: 1, PASS: 2 };
  const byName = new Intl.Collator(undefined, { numeric: true }).compare;
  const score = (card) => Number(card.dataset.score);
  const compare = {
    high: (a, b) => score(b) - score(a),
    low: (a, b) => score(a) - score(b),
    name: (a, b) => byName(a.dataset.name, b.dataset.name),
    decision: (a, b) => order[a.dataset.decision] - order[b.dataset.decision] || score(b) - score(a),
  };

  const visible = () => [...gallery.children].filter((card) => !card.hidden);

  function arrange() {
    const wanted = new Set(filters.filter((box) => box.checked).map((box) => box.value));
    const text = byId("search").value.trim().toLowerCase();
    for (const card of cards) {
      card.hidden = !wanted.has(card.dataset.decision) || !card.dataset.name.toLowerCase().includes(text);
    }
    cards.sort(compare[byId("sort").value]);
    gallery.append(...cards);
    const count = visible().length;
    byId("showing").textContent = `Showing ${count} of ${cards.length} images`;
  }

  function showHeat(on) {
    byId("heat").checked = on;
    document.body.classList.toggle("no-heat", !on);
  }

  // The large view: arrow keys walk through what the filters left, in the order shown.
  const dialog = byId("large");
  let current = null;

  function enlarge(card) {
    if (!card) return;
    current = card;
    const [plain, heat] = card.querySelectorAll(".view img");
    for (const [target, source] of [[byId("large-image"), plain], [byId("large-heat"), heat]]) {
      target.src = source.src;
      target.alt = source.alt;
    }
    byId("large-view").querySelector("svg")?.remove();
    byId("large-view").append(...[...card.querySelectorAll(".view svg")].map((svg) => svg.cloneNode(true)));
    byId("large-name").textContent = card.dataset.name;
    byId("large-verdict").className = `verdict ${card.dataset.decision}`;
    byId("large-verdict").replaceChildren(...[...card.querySelector(".verdict").childNodes].map((n) => n.cloneNode(true)));
    const all = visible();
    byId("previous").disabled = all.indexOf(card) <= 0;
    byId("next").disabled = all.indexOf(card) >= all.length - 1;
    if (!dialog.open) dialog.showModal();
  }

  function step(by) {
    const all = visible();
    enlarge(all[all.indexOf(current) + by]);
  }

  gallery.addEventListener("click", (event) => {
    const view = event.target.closest(".view");
    if (view) enlarge(view.closest("li"));
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => current?.querySelector(".view").focus());

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=search], select")) return;
    if (event.key === "h" || event.key === "H") showHeat(!byId("heat").checked);
    else if (dialog.open && event.key === "ArrowLeft") step(-1);
    else if (dialog.open && event.key === "ArrowRight") step(1);
  });

  for (const box of filters) box.addEventListener("change", arrange);
  byId("sort").addEventListener("change", arrange);
  byId("search").addEventListener("input", arrange);
  byId("heat").addEventListener("change", (event) => showHeat(event.target.checked));
  document.querySelector(".controls").hidden = false;
  arrange();
})();
