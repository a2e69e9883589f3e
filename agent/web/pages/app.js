// What the page does by itself: it stays up to date, shows how long there is, moves by keys. All of it works without.
"use strict";

const body = document.body;
const news = document.getElementById("news");
const live = document.getElementById("live");
let fetching = false;
let again = false;

function tick() {
  const now = Date.now() / 1000;
  for (const time of document.querySelectorAll("time[data-until], time[data-since]")) {
    const seconds = time.dataset.until ? time.dataset.until - now : now - time.dataset.since;
    time.textContent = span(Math.max(0, Math.floor(seconds)));
  }
}

function span(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function say(on, words) {
  if (!live) return;
  live.className = `live ${on ? "on" : "off"}`;
  live.textContent = words;
}

// The server's own HTML takes the place of what is shown; what somebody is writing, and where they are, stays.
async function refresh() {
  const part = document.querySelector("[data-part]");
  if (!part) return;
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch(part.dataset.part, { credentials: "same-origin" });
    if (answer.status === 401) { location.reload(); return; }
    if (answer.ok) put(part, await answer.text());
  } catch { /* the stream's own return comes here again */ }
  fetching = false;
  if (again) { again = false; refresh(); }
}

function put(part, html) {
  const made = new DOMParser().parseFromString(html, "text/html");
  const versions = [part, made].map((of) => of.querySelector("[data-version]")?.dataset.version);
  if (versions[0] === versions[1]) return;
  const count = Number(made.querySelector("[data-count]")?.dataset.count ?? 0);
  const was = Number(part.querySelector("[data-count]")?.dataset.count ?? 0);
  const at = part.contains(document.activeElement) && document.activeElement.closest("[data-request], tr[id]");
  const place = at && (at.id ? `#${CSS.escape(at.id)}` : `[data-request="${CSS.escape(at.dataset.request)}"]`);
  part.replaceChildren(...made.body.childNodes);
  if (place) part.querySelector(`${place} a`)?.focus();
  if (part.dataset.what) {
    document.title = `${count ? `(${count}) ` : ""}Inbox · hostguard`;
    if (news && count > was) news.textContent = `${count - was} more ${count - was === 1 ? "request waits" : "requests wait"}.`;
    else if (news && count < was) news.textContent = "";
  }
  tick();
}

function watch() {
  const stream = new EventSource("/events");
  const only = document.querySelector("[data-only]")?.dataset.only;
  stream.addEventListener("hello", () => { say(true, "live"); refresh(); });
  stream.addEventListener("request", (event) => {
    if (!only || JSON.parse(event.data).request === only) refresh();
  });
  stream.addEventListener("page", (event) => {
    if (JSON.parse(event.data).page === document.querySelector("[data-part]")?.dataset.page) refresh();
  });
  stream.addEventListener("over", () => location.reload());
  stream.addEventListener("error", () => {
    say(false, "not connected");
    if (stream.readyState === EventSource.CLOSED) setTimeout(watch, 3000);
  });
}

function move(step) {
  const cards = [...document.querySelectorAll("a.card")];
  if (!cards.length) return;
  const at = cards.indexOf(document.activeElement);
  cards[at < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, at + step))].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const focus = (selector) => document.querySelector(selector)?.focus();
  const keys = {
    j: () => move(1), k: () => move(-1), u: () => location.assign("/"),
    a: () => focus("button.approve"), d: () => focus("button.deny"), r: () => focus("#reason"),
    g: () => {
      const terms = document.querySelector("details.terms");
      if (terms) { terms.open = true; focus("#uses"); document.getElementById("uses").select(); }
    },
  };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});

if (body.hasAttribute("data-live")) {
  watch();
  setInterval(tick, 1000);
}
