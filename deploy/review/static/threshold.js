"use strict";
(() => {
  // Without this script the form's button does the same: the server tells what a threshold would have done.
  const byId = (id) => document.getElementById(id);
  const [form, set, slider, reject, review] = ["try", "set", "slider", "reject", "review"].map(byId);
  const effects = byId("effects");
  slider.disabled = false;

  let asked = 0;
  async function look() {
    const number = ++asked;
    const query = new URLSearchParams(new FormData(form));
    const answer = await fetch(`${form.dataset.effects}?${query}`).catch(() => null);
    if (number !== asked || !answer?.ok) return;
    effects.innerHTML = await answer.text();
    const tried = byId("tried").dataset;
    set.elements.reject.value = tried.reject;
    set.elements.review.value = tried.review;
    byId("chosen").textContent = String(Number(Number(tried.reject).toPrecision(6)));
    set.querySelector("button").disabled = Boolean(tried.same);
    history.replaceState(null, "", `${form.action}?${query}`);
  }

  let waiting = 0;
  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(look, 80);
  }

  slider.addEventListener("input", () => {
    reject.value = String(Number(Number(slider.value).toPrecision(5)));
    soon();
  });
  for (const field of [reject, review]) field.addEventListener("input", () => {
    if (Number(reject.value)) slider.value = reject.value;
    soon();
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); look(); });
})();
