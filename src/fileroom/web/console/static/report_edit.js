// The editor of a report: saved while somebody types, and by Ctrl+S; Ctrl+Enter leads to the signature and signs there.
// What could not be saved is kept in this tab until it is, so that nothing typed is lost.

const QUIET_MS = 3000;
const AGAIN_MS = 10000;
const form = document.getElementById("editor");
const signature = document.getElementById("signature");

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  if (event.key === "Enter") {
    event.preventDefault();
    if (signature) signature.querySelector("button.main")?.click();
    else document.getElementById("sign")?.click();
  } else if (event.key.toLowerCase() === "s" && form) {
    event.preventDefault();
    save();
  }
});

const kept = form && `fileroom.report.${form.dataset.report}`;
const shown = document.getElementById("saved");
let waiting = 0;
let sending = null;
let stopped = false;
// What was refused is shown in the form: it is saved when the person says so, not by itself.
let byHand = Boolean(form?.dataset.unsaved);
let saved = form && !byHand ? words() : null;

function words() {
  return new URLSearchParams(new FormData(form)).toString().replace(/^form_token=[^&]*&edits=[^&]*&?/, "");
}

// Blanks at the ends of a text are not kept by the server.
function plain(said) {
  return JSON.stringify([...new URLSearchParams(said)].map(([name, value]) => [name, value.replaceAll("\r\n", "\n").trimEnd()]));
}

function tell(text, isBad = false) {
  shown.textContent = text;
  shown.classList.toggle("warn", isBad);
}

function keep(submitted = "") {
  try {
    const { edits } = form.elements;
    sessionStorage.setItem(kept, JSON.stringify({ edits: edits.value, words: words(), submitted }));
  } catch {
    // A browser that keeps nothing still saves to the server.
  }
}

function forget() {
  try {
    sessionStorage.removeItem(kept);
  } catch {
    // Nothing was kept.
  }
}

function restore() {
  let found;
  try {
    found = JSON.parse(sessionStorage.getItem(kept));
  } catch {
    return;
  }
  if (!found) return;
  const isSaved = found.submitted && Number(form.elements.edits.value) > Number(found.edits) && form.dataset.mine;
  if ((isSaved && found.submitted === "change") || plain(found.words) === plain(words())) return forget();
  const said = new URLSearchParams(found.words);
  const fields = form.querySelectorAll("input[name=heading]").length;
  if (said.getAll("heading").length !== fields) return rebuild(said, found.edits);
  put(said);
  form.elements.edits.value = found.edits;
  tell(form.dataset.back);
}

function put(said) {
  form.elements.title.value = said.get("title") ?? "";
  for (const name of ["heading", "text"]) {
    const values = said.getAll(name);
    form.querySelectorAll(`[name=${name}]`).forEach((field, place) => (field.value = values[place] ?? ""));
  }
}

// Sections came or went meanwhile: as many fields as there were.
function rebuild(said, edits) {
  const count = said.getAll("heading").length;
  let all = form.querySelectorAll(".section-field");
  while (all.length && all.length < count) {
    all[all.length - 1].after(all[all.length - 1].cloneNode(true));
    all = form.querySelectorAll(".section-field");
  }
  for (const one of [...all].slice(count)) one.remove();
  put(said);
  form.elements.edits.value = edits;
  tell(form.dataset.back);
}

function save() {
  clearTimeout(waiting);
  if (sending) return sending;
  const now = words();
  if (stopped || now === saved) return Promise.resolve();
  tell(form.dataset.saving);
  sending = post(now).finally(() => (sending = null));
  return sending;
}

async function post(now) {
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "x-fileroom-part": "1", accept: "application/json" },
      redirect: "manual",
    });
    const isOurs = answer.headers.get("content-type")?.startsWith("application/json");
    if (answer.ok && isOurs) {
      const told = await answer.json();
      form.elements.edits.value = told.edits;
      saved = now;
      byHand = false;
      tell(`${form.dataset.saved} ${told.saved}`);
      if (words() === saved) forget();
      else later();
    } else if (isOurs) {
      const told = await answer.json();
      stopped = Boolean(told.conflict);
      document.getElementById("compare").hidden = !stopped;
      tell(`${form.dataset.warn} ${told.told}`, true);
    } else if (answer.status >= 500) {
      throw new Error(String(answer.status));
    } else {
      tell(form.dataset.out, true);
    }
  } catch {
    tell(form.dataset.away, true);
    waiting = setTimeout(save, AGAIN_MS);
  }
}

function later() {
  clearTimeout(waiting);
  if (byHand) return;
  waiting = setTimeout(save, QUIET_MS);
}

if (signature) {
  try {
    sessionStorage.removeItem(`fileroom.report.${signature.dataset.report}`); // this page shows what was saved
  } catch {
    // Nothing was kept.
  }
}

if (form) {
  if (byHand) keep();
  else restore();
  form.addEventListener("input", () => {
    keep();
    if (!stopped) tell(form.dataset.typed);
    later();
  });
  form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    clearTimeout(waiting);
    if (button && !button.name && !button.formAction.endsWith("/discard") && !stopped) {
      event.preventDefault();
      await save();
      return;
    }
    if (button?.formAction.endsWith("/discard")) forget();
    else keep(button?.name || "save"); // the page that follows finds it there where the server could not take it
    if (!sending) return;
    // The number that a save on its way brings back belongs into the form.
    event.preventDefault();
    await sending;
    setTimeout(() => form.requestSubmit(button ?? undefined));
  });
}
