"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  function press(button) {
    if (button && !button.disabled) button.click();
  }

  const answers = {};
  for (const button of document.querySelectorAll("#answer button[name=answer]")) answers[button.value] = button;
  const undo = document.querySelector("#undo button");
  const desk = document.querySelector(".desk");

  // A form is sent once: a second press of a key would answer the next question unseen.
  for (const form of document.querySelectorAll("form")) {
    form.addEventListener("submit", (event) => {
      if (document.body.dataset.sent) event.preventDefault();
      document.body.dataset.sent = "yes";
    });
  }
  window.addEventListener("pageshow", () => delete document.body.dataset.sent);

  // The heat map stays on or off from one image to the next.
  const heatButton = byId("heat-button");
  function showHeat(on) {
    document.body.classList.toggle("with-heat", on);
    heatButton?.setAttribute("aria-pressed", String(on));
    sessionStorage.setItem("heat", on ? "on" : "off");
  }
  showHeat(sessionStorage.getItem("heat") === "on");
  heatButton?.addEventListener("click", () => showHeat(!document.body.classList.contains("with-heat")));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.matches("input")) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter") { event.preventDefault(); press(answers.defective); }
      return;
    }
    switch (event.key) {
      case "g": case "G": return press(answers.good);
      case "d": case "D": return press(answers.defective);
      case "s": case "S": return press(answers.skip);
      case "u": case "U": return press(undo);
      case "h": case "H": return press(heatButton);
      case "ArrowRight": return byId("later")?.click();
      case "ArrowLeft": if (desk && "aside" in desk.dataset) history.back(); return undefined;
      case "Escape": return removeBox();
      default: return undefined;
    }
  });

  // A box that is dragged on the picture: the defect's place, in pixels of the upright image.
  const stage = byId("stage");
  const marks = byId("marks");
  const box = byId("box");
  const field = byId("box-field");
  let start = null;

  function removeBox() {
    if (!box) return;
    box.setAttribute("visibility", "hidden");
    field.value = "";
    byId("no-box").hidden = true;
    byId("place").hidden = false;
  }

  function place(event) {
    const found = new DOMPoint(event.clientX, event.clientY).matrixTransform(marks.getScreenCTM().inverse());
    const within = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
    return { x: within(found.x, Number(stage.dataset.width)), y: within(found.y, Number(stage.dataset.height)) };
  }

  function draw(end) {
    const values = {
      x: Math.min(start.x, end.x), y: Math.min(start.y, end.y),
      width: Math.abs(start.x - end.x), height: Math.abs(start.y - end.y),
    };
    for (const [name, value] of Object.entries(values)) box.setAttribute(name, value);
    return values;
  }

  if (marks && byId("plain")) {
    marks.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      event.preventDefault();
      marks.setPointerCapture(event.pointerId);
      removeBox();
      start = place(event);
    });
    marks.addEventListener("pointermove", (event) => {
      if (!start || !event.isPrimary) return;
      draw(place(event));
      box.setAttribute("visibility", "visible");
    });
    marks.addEventListener("pointerup", (event) => {
      if (!start) return;
      const { x, y, width, height } = draw(place(event));
      start = null;
      if (width < 2 || height < 2) return removeBox();
      field.value = [x, y, width, height].join(",");
      byId("no-box").hidden = false;
      byId("place").hidden = true;
    });
    marks.addEventListener("pointercancel", () => { start = null; removeBox(); });
    byId("no-box").addEventListener("click", removeBox);
  }

  // The server makes the next picture meanwhile; there is nothing to see in the answer.
  if (desk) window.addEventListener("load", () => { new Image().src = desk.dataset.ahead; });
})();
