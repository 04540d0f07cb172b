// The study list: searching while typing, the keyboard, marking, and rows that change while studies arrive.

import { isTyping } from "./frame.js";
import { fetchPart, say } from "./parts.js";

const results = document.getElementById("results");
const form = document.getElementById("question");
const bulkBar = document.getElementById("bulk-bar");
const isList = results.classList.contains("list");
const fields = () => [...document.querySelectorAll('[form="question"]')];
const rows = () => [...results.querySelectorAll("tbody tr[data-uid]")];
const rowOf = (uid) => results.querySelector(`tr[data-uid="${CSS.escape(uid)}"]`);

// --- search: the rows follow what is typed; the fields themselves stay, with what is being typed ---

const WAIT_MS = 250;
let waiting = 0;
let asking = null;

const asked = () => {
  const pairs = fields().map((field) => [field.name, field.value.trim()]);
  return new URLSearchParams(pairs.filter(([, value]) => value)).toString();
};

async function search() {
  const question = asked();
  if (question === results.dataset.asked && results.dataset.first === "true") return;
  asking?.abort();
  asking = new AbortController();
  const address = question ? `/?${question}` : "/";
  try {
    const html = await fetchPart(address, { signal: asking.signal });
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const body of ["arriving", "found"]) {
      document.getElementById(body).replaceChildren(...fresh.getElementById(body).children);
    }
    for (const field of fields()) {
      const told = fresh.querySelector(`[form="question"][name="${field.name}"]`);
      field.toggleAttribute("aria-invalid", told?.hasAttribute("aria-invalid") ?? false);
    }
    results.querySelector(".pages").replaceWith(fresh.querySelector(".pages"));
    results.dataset.asked = question;
    results.dataset.first = "true";
    results.scrollTop = 0;
    document.querySelector('.menu input[name="question"]').value = question;
    for (const back of document.querySelectorAll('input[name="back"]')) back.value = address;
    history.replaceState(null, "", address);
    choose(null);
    showMarked();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  }
}

if (isList) {
  results.addEventListener("input", (event) => {
    if (event.target.form !== form) return;
    clearTimeout(waiting);
    waiting = setTimeout(search, WAIT_MS);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search();
  });
}

// --- marking ---

const marks = () => [...results.querySelectorAll('tbody input[name="uid"]')];

function showMarked() {
  let count = 0;
  for (const mark of marks()) {
    mark.closest("tr").classList.toggle("marked", mark.checked);
    count += mark.checked;
  }
  document.getElementById("marked").textContent = count;
  bulkBar.hidden = count === 0;
  const all = document.getElementById("mark-all");
  if (all) {
    all.checked = count > 0 && count === marks().length;
    all.indeterminate = count > 0 && !all.checked;
  }
}

function markAll(checked) {
  for (const mark of marks()) mark.checked = checked;
  showMarked();
}

results.addEventListener("change", (event) => {
  if (event.target.id === "mark-all") markAll(event.target.checked);
  else if (event.target.name === "uid") showMarked();
});
document.getElementById("unmark").addEventListener("click", () => markAll(false));

// --- the row that the keyboard acts on ---

let chosen = null;

function choose(row) {
  chosen?.classList.remove("chosen");
  chosen = row;
  if (!row) return;
  row.classList.add("chosen");
  row.scrollIntoView({ block: "nearest" });
  const head = results.querySelector("thead")?.getBoundingClientRect().bottom ?? 0;
  const above = head - row.getBoundingClientRect().top;
  if (above > 0) results.scrollTop -= above;
}

function step(by) {
  const all = rows();
  const now = all.indexOf(chosen);
  const next = now < 0 ? (by > 0 ? 0 : all.length - 1) : now + by;
  if (all[next]) choose(all[next]);
}

const open = (row) => (location.href = row.querySelector("th a").href);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isTyping(event.target)) event.target.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || (isTyping(event.target) && event.target.name !== "uid")) return;
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "Enter" && chosen && !event.target.closest("a, button, summary")) open(chosen);
  else if (event.key === "v" && chosen) location.href = `/viewer?StudyInstanceUIDs=${chosen.dataset.uid}`;
  else if (event.key === "x" && chosen) {
    const mark = chosen.querySelector('input[name="uid"]');
    mark.checked = !mark.checked;
    showMarked();
  } else if (event.key === "f") results.querySelector('[name="PatientName"]')?.focus();
  else if (event.key === "Escape") markAll(false);
  else return;
  event.preventDefault();
});

results.addEventListener("dblclick", (event) => {
  const row = event.target.closest("tbody tr[data-uid]");
  if (row && !event.target.closest("a, input")) open(row);
});
results.addEventListener("click", (event) => {
  const row = event.target.closest("tbody tr[data-uid]");
  if (row && !event.target.closest("a, input")) choose(row);
});

// --- live: a changed study's row is asked for and put in its place ---

const SHOW_EVERY_MS = 1000;
const LOOK_EVERY_MS = 15000;
const ARRIVING_MAX = 12;
const live = document.getElementById("live");
const fresh = document.getElementById("fresh");
let source = null;
let changed = new Set();
let showing = 0;

async function showChanged() {
  showing = 0;
  const uids = [...changed].slice(0, 100);
  changed = new Set([...changed].slice(100));
  if (!uids.length) return;
  if (!isList) {
    location.reload(); // The first study of all has come.
    return;
  }
  try {
    const html = await fetchPart(`/studies/rows?uid=${uids.join(",")}&${results.dataset.asked}`);
    const body = new DOMParser().parseFromString(`<table><tbody>${html}</tbody></table>`, "text/html");
    const told = [...body.querySelectorAll("tr[data-uid]")];
    for (const row of told) put(row);
    const there = new Set(told.map((row) => row.dataset.uid));
    // Asked for and not answered: deleted, or no longer what is searched for.
    for (const uid of uids) if (!there.has(uid)) rowOf(uid)?.remove();
    if (!chosen?.isConnected) choose(null);
    showMarked();
  } catch (error) {
    say(error.message);
  }
  if (changed.size) later();
}

function put(row) {
  const old = rowOf(row.dataset.uid);
  if (old) {
    row.querySelector('input[name="uid"]').checked = old.querySelector('input[name="uid"]').checked;
    if (old === chosen) {
      row.classList.add("chosen");
      chosen = row;
    }
    old.replaceWith(row);
  } else if (results.dataset.first !== "true") {
    fresh.hidden = false;
  } else if (results.querySelector("tbody tr:hover") || results.scrollTop > 0) {
    fresh.hidden = false; // What is under the pointer stays where it is.
  } else {
    results.querySelector(".none")?.remove();
    const arriving = document.getElementById("arriving");
    row.classList.add("came");
    arriving.prepend(row);
    while (arriving.children.length > ARRIVING_MAX) arriving.lastElementChild.remove();
  }
}

const later = () => (showing ||= setTimeout(showChanged, SHOW_EVERY_MS));

function listen() {
  if (source || document.hidden) return;
  source = new EventSource("/events/studies");
  source.onopen = () => (live.hidden = false);
  source.onerror = () => {
    live.hidden = true;
    if (source?.readyState === EventSource.CLOSED) {
      // Too many pages are told already: look now and then.
      source = null;
      setTimeout(listen, LOOK_EVERY_MS);
    }
  };
  source.addEventListener("studies", (event) => {
    for (const uid of JSON.parse(event.data)) changed.add(uid);
    later();
  });
}

// Nothing is sent about what is deleted: now and then the rows that stand here are asked for again.
const LOOK_AGAIN_EVERY_MS = 60000;
setInterval(() => {
  if (document.hidden || !isList) return;
  for (const row of rows()) changed.add(row.dataset.uid);
  if (changed.size) later();
}, LOOK_AGAIN_EVERY_MS);

// A page in the background holds no connection: a browser has only six for each server.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
    live.hidden = true;
  } else {
    listen();
    for (const row of rows()) changed.add(row.dataset.uid);
    if (changed.size) later();
  }
});
fresh.addEventListener("click", () => (location.href = results.dataset.asked ? `/?${results.dataset.asked}` : "/"));
listen();
showMarked();
