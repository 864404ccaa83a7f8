// The live tail keeps a page fresh, and buttons send JSON. Everything from outside is put in as text, never as markup,
// but for whole pages, which this very server made and escaped.
"use strict";

const MOST_LINES = 30;
const GATHER_MS = 300;
let waiting = null;

function say(text, isBad) {
  const place = document.getElementById("answer");
  place.textContent = text;
  place.className = isBad ? "bad" : "";
  place.hidden = false;
}

function isBusy() {
  const at = document.activeElement;
  return at && at.closest("form") && at.tagName !== "BUTTON";
}

// Takes the page anew and exchanges its sections; what is being typed and what is unfolded stays.
async function refresh() {
  waiting = null;
  if (isBusy()) { later(); return; }
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const unfolded = [...document.querySelectorAll("details")].map((one) => one.open);
  const kept = document.querySelector("[data-keep]");
  document.getElementById("main").replaceWith(page.getElementById("main"));
  document.title = page.title;
  const place = document.querySelector("[data-keep]");
  if (kept && place) place.replaceWith(kept);
  const now = [...document.querySelectorAll("details")];
  if (now.length === unfolded.length) now.forEach((one, i) => { one.open = unfolded[i]; });
}

function later() {
  if (waiting === null) waiting = setTimeout(() => refresh().catch((error) => say(String(error), true)), GATHER_MS);
}

function note(event) {
  const list = document.getElementById("events");
  if (!list) return;
  const line = document.createElement("li");
  line.textContent = `${event.at.slice(11, 19)}  ${event.topic}  ${event.subject}`;
  list.prepend(line);
  while (list.children.length > MOST_LINES) list.lastElementChild.remove();
}

function tail() {
  const place = document.getElementById("tail");
  const stream = new EventSource("/events?newest=20");
  let isFirst = true;
  stream.addEventListener("open", () => { place.textContent = "live"; if (!isFirst) later(); isFirst = false; });
  stream.addEventListener("error", () => { place.textContent = "not live, trying again"; });
  stream.addEventListener("problem", (told) => { place.textContent = JSON.parse(told.data).message; });
  stream.addEventListener("published", (told) => { place.textContent = "live"; note(JSON.parse(told.data)); later(); });
}

function read(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    const kind = field.dataset.kind;
    body[field.name] = kind === "boolean" ? field.value === "true" : kind === "number" ? Number(field.value) : field.value;
  }
  return body;
}

document.addEventListener("submit", async (submitted) => {
  const form = submitted.target;
  if (!form.dataset.post) return;
  submitted.preventDefault();
  if (form.dataset.question && !confirm(form.dataset.question)) return;
  try {
    const answer = await fetch(form.dataset.post, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(read(form)),
    });
    const told = await answer.json();
    say(answer.ok ? "Done." : [told.message, told.hint].filter(Boolean).join(" → "), !answer.ok);
    if (answer.ok) { form.reset(); document.activeElement.blur(); later(); }
  } catch (error) {
    say(String(error), true);
  }
});

tail();
