// The audit trail's check and the associations that are open: pieces that are fetched again while something moves.

import { fetchPart, say } from "./parts.js";

const AGAIN_MS = 1000;

// --- a check of the trail that runs ---

async function follow() {
  const shown = document.getElementById("trail-state");
  if (!shown?.hasAttribute("data-running")) return;
  try {
    const fresh = new DOMParser().parseFromString(await fetchPart(shown.dataset.again), "text/html");
    shown.replaceWith(fresh.getElementById("trail-state"));
  } catch (error) {
    say(error.message);
  }
  setTimeout(follow, AGAIN_MS);
}
setTimeout(follow, AGAIN_MS);

// --- associations ---

const live = document.getElementById("live");
let isAsking = false;
let isAskedAgain = false;

async function refresh() {
  if (isAsking) {
    isAskedAgain = true;
    return;
  }
  isAsking = true;
  try {
    const fresh = new DOMParser().parseFromString(await fetchPart(live.dataset.again), "text/html");
    const shown = fresh.getElementById("live");
    live.replaceChildren(...shown.children);
    const first = document.getElementById("associations")?.dataset.newest ?? "";
    const more = document.getElementById("fresh");
    if (more) more.hidden = !live.dataset.first || shown.dataset.newest === first;
  } catch (error) {
    say(error.message);
  }
  isAsking = false;
  if (isAskedAgain) {
    isAskedAgain = false;
    setTimeout(refresh, AGAIN_MS);
  }
}

if (live) {
  const events = new EventSource("/events/associations");
  events.addEventListener("associations", refresh);
  events.addEventListener("open", refresh); // what happened before we listened
  addEventListener("pagehide", () => events.close());
}
