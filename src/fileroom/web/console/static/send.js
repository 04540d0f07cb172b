// An order to send: its state anew every second, until it is over.

import { fetchPart, say } from "./parts.js";

const WAIT_MS = 1000;

async function look() {
  const address = document.getElementById("job")?.dataset.live;
  if (!address) return;
  if (!document.hidden) {
    try {
      const held = document.createElement("template");
      held.innerHTML = (await fetchPart(address)).trim();
      document.getElementById("job").replaceWith(held.content.querySelector("#job"));
    } catch (error) {
      say(error.message);
    }
  }
  setTimeout(look, WAIT_MS);
}

setTimeout(look, WAIT_MS);
