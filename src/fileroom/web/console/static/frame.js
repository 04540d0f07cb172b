// The frame's script: theme without a reload, search everywhere, the list of keys. Pages work without it.

import { fetchPart, say } from "./parts.js";

const root = document.documentElement;
const find = document.getElementById("find");
const found = document.getElementById("found");
const help = document.getElementById("help");

/** Does the person write into something just now? */
export const isTyping = (target) => target.closest("input, select, textarea, [contenteditable], dialog") !== null;

// --- theme ---

document.querySelector(".looks")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const theme = event.submitter.value;
  root.dataset.theme = theme;
  for (const button of event.target.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
  await fetch("/preferences", { method: "POST", body: new URLSearchParams(new FormData(event.target, event.submitter)), redirect: "manual" });
});

// --- search everywhere ---

const WAIT_MS = 150;
let waiting = 0;
let asked = 0;

async function showFound() {
  const text = find.value.trim();
  const number = ++asked;
  if (!text) {
    found.hidden = true;
    return;
  }
  try {
    const html = await fetchPart(`/search?q=${encodeURIComponent(text)}`);
    if (number !== asked) return;
    found.innerHTML = html;
    found.hidden = document.activeElement !== find;
  } catch (error) {
    say(error.message);
  }
}

function step(by) {
  const links = [...found.querySelectorAll("a")];
  if (found.hidden || !links.length) return;
  const now = links.findIndex((link) => link.classList.contains("chosen"));
  links[now]?.classList.remove("chosen");
  const next = links[(now + by + links.length) % links.length];
  next.classList.add("chosen");
  next.scrollIntoView({ block: "nearest" });
}

if (find) {
  find.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(showFound, WAIT_MS);
  });
  find.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") step(1);
    else if (event.key === "ArrowUp") step(-1);
    else if (event.key === "Escape") {
      found.hidden = true;
      find.blur();
    } else if (event.key === "Enter" && !found.hidden && found.querySelector("a.chosen")) {
      location.href = found.querySelector("a.chosen").href;
    } else return;
    event.preventDefault();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".find")) found.hidden = true;
  });
}

// --- copying what is hard to type: UIDs and addresses ---

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    say(button.dataset.copied);
  } catch {
    say(button.dataset.copy); // A browser copies only on a page that came over HTTPS or from this machine.
  }
});

// --- keys of every page ---

document.addEventListener("keydown", (event) => {
  if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    find?.select();
  } else if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    find?.select();
  } else if (event.key === "?") {
    help.showModal();
  }
});
