// The rule editor: names of attributes while one types, and whether the condition is one. Both come from the API; without this
// script the page does the same when it is saved.

const WAIT_MS = 250;
const form = document.getElementById("editor");
const when = document.getElementById("when");
const names = document.getElementById("names");
const verdict = document.getElementById("verdict");
const token = form.querySelector("[name=form_token]").value;
let waiting = 0;
let asked = 0;

async function ask(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { "content-type": "application/json", "x-form-token": token } });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

function conditionOf(text) {
  if (!text.trim().startsWith("{")) return text.trim();
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function element(name, text, kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

async function check() {
  const condition = conditionOf(when.value);
  const mine = ++asked;
  if (!condition) return verdict.replaceChildren();
  let told;
  try {
    told = await ask(form.dataset.check, { method: "POST", body: JSON.stringify({ when: condition }) });
  } catch {
    return;
  }
  if (mine !== asked) return;
  when.setAttribute("aria-invalid", String(!told.valid));
  if (told.valid) {
    const looks = told.attributes.length ? `${verdict.dataset.fine} ${told.attributes.join(", ")}` : verdict.dataset.every;
    verdict.replaceChildren(element("span", told.late ? `${looks}. ${verdict.dataset.late}` : looks, "state good"));
    return;
  }
  const parts = [element("span", told.problem, "state bad")];
  if (typeof condition === "string") {
    const end = told.position + Math.max(told.length, 1);
    const shown = element("code", condition.slice(0, told.position));
    shown.append(element("mark", condition.slice(told.position, end) || " "), condition.slice(end));
    parts.push(document.createElement("br"), shown);
  }
  verdict.replaceChildren(...parts);
}

/** The name that is being written at the cursor, unless it stands in a text. */
function begun() {
  const before = when.value.slice(0, when.selectionStart);
  if ((before.match(/"/g) ?? []).length % 2) return "";
  return before.match(/[A-Za-z][\w.]*$/)?.[0] ?? "";
}

function hide() {
  names.hidden = true;
  names.replaceChildren();
}

function take(option) {
  const start = when.selectionStart - begun().length;
  when.setRangeText(option.dataset.keyword, start, when.selectionStart, "end");
  hide();
  when.focus();
  check();
}

async function complete() {
  const text = begun();
  if (text.length < 2) return hide();
  let found;
  try {
    found = await ask(`${form.dataset.names}?${new URLSearchParams({ text, limit: 12 })}`);
  } catch {
    return hide();
  }
  if (begun() !== text || document.activeElement !== when) return;
  const options = found.items.filter((one) => one.keyword !== text).map((one, place) => {
    const option = element("li", "");
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", String(place === 0));
    option.dataset.keyword = one.keyword.endsWith("()") && !one.keyword.startsWith("age_in") ? one.keyword.slice(0, -1) : one.keyword;
    option.append(element("strong", one.keyword), element("span", [one.tag, one.vr, one.name].filter(Boolean).join(" · "), "quiet small"));
    option.addEventListener("mousedown", (event) => (event.preventDefault(), take(option)));
    return option;
  });
  names.replaceChildren(...options);
  names.style.top = `${when.offsetTop + when.offsetHeight + 2}px`;
  names.hidden = !options.length;
}

when.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => (check(), complete()), WAIT_MS);
});
when.addEventListener("blur", hide);
when.addEventListener("keydown", (event) => {
  if (names.hidden) return;
  const now = names.querySelector("[aria-selected=true]");
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (step) {
    const next = now?.[step];
    if (next) {
      now.setAttribute("aria-selected", "false");
      next.setAttribute("aria-selected", "true");
      next.scrollIntoView({ block: "nearest" });
    }
  } else if (event.key === "Tab" && now) take(now);
  else if (event.key === "Escape") hide();
  else return;
  event.preventDefault();
});
if (when.value.trim() && !verdict.textContent.trim()) check();
