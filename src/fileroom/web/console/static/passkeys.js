// Passkeys: asks the server for a question, the browser for the answer, and sends it with the form. Sentences for people
// stand in the form, as the server knows the reader's language.

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));

const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");

const known = (list = []) => list.map((one) => ({ ...one, id: bytes(one.id) }));

/** The server's question, at the address that the form names. Fails with the server's sentence. */
async function question(form) {
  const answer = await fetch(form.dataset.ask, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail);
  if (told.origin !== location.origin) throw new Error(form.dataset.elsewhere);
  return told.publicKey;
}

async function make(options) {
  const user = { ...options.user, id: bytes(options.user.id) };
  const excludeCredentials = known(options.excludeCredentials);
  const publicKey = { ...options, challenge: bytes(options.challenge), user, excludeCredentials };
  const made = await navigator.credentials.create({ publicKey });
  return {
    id: made.id,
    rawId: text(made.rawId),
    type: made.type,
    response: {
      clientDataJSON: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
    },
  };
}

async function show(options) {
  const allowCredentials = known(options.allowCredentials);
  const shown = await navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials },
  });
  const { clientDataJSON, authenticatorData, signature, userHandle } = shown.response;
  return {
    id: shown.id,
    rawId: text(shown.rawId),
    type: shown.type,
    response: {
      clientDataJSON: text(clientDataJSON),
      authenticatorData: text(authenticatorData),
      signature: text(signature),
      userHandle: userHandle?.byteLength ? text(userHandle) : null,
    },
  };
}

/** What went wrong, in a sentence of the form's. */
function sentence(form, error) {
  if (error.name === "InvalidStateError") return form.dataset.known;
  if (error instanceof DOMException) return form.dataset.refused;
  return error.message;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const told = form.querySelector("[role=alert]");
  if (!window.PublicKeyCredential || !window.isSecureContext) {
    // Browsers have them over https and at localhost only.
    for (const one of document.querySelectorAll("[data-without-passkeys]")) one.hidden = false;
    continue;
  }
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    told.hidden = true;
    try {
      const work = form.dataset.passkey === "make" ? make : show;
      form.elements.credential.value = JSON.stringify(await work(await question(form)));
      form.submit();
    } catch (error) {
      told.textContent = sentence(form, error);
      told.hidden = false;
      button.disabled = false;
    }
  });
}
