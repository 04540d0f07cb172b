// Nodes: an echo without leaving the page, and a file read into the form. Both work without this script, more slowly.

import { fetchPart, say } from "./parts.js";

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-echo]");
  if (!form) return;
  event.preventDefault();
  const button = event.submitter;
  const fields = new URLSearchParams(new FormData(form, button));
  button.disabled = true;
  form.setAttribute("aria-busy", "true");
  try {
    const html = await fetchPart(form.getAttribute("action"), { method: "POST", body: fields });
    const held = document.createElement("template");
    held.innerHTML = html.trim();
    const row = held.content.querySelector("[data-node]");
    form.closest("[data-node]").replaceWith(row);
    say(`${button.value}: ${row.querySelector(".node-last").textContent.trim().replace(/\s+/g, " ")}`);
    row.querySelector("button")?.focus();
  } catch (error) {
    say(error.message);
    button.disabled = false;
    form.removeAttribute("aria-busy");
  }
});

for (const input of document.querySelectorAll("[data-into]")) {
  input.closest("[hidden]").hidden = false;
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) document.getElementById(input.dataset.into).value = await file.text();
  });
}
