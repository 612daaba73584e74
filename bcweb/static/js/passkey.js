// Passkeys: asks the browser for one and sends its answer with the form. Where the browser cannot,
// the form stays hidden and the page says why.
"use strict";

(() => {
  const form = document.querySelector("form[data-passkey]");
  if (!form) return;
  const byId = (id) => document.getElementById(id);
  // The standard ties a passkey to a name; an address in numbers has none.
  const isNumber = /^[\d.]+$|:/.test(location.hostname);
  if (!window.PublicKeyCredential || !window.isSecureContext || isNumber) {
    if (byId("passkey-unable")) byId("passkey-unable").hidden = false;
    return;
  }
  form.hidden = false;
  const kind = form.dataset.passkey;
  const told = () => JSON.parse(form.dataset.options);

  function creation() {
    const options = told().creation_options;
    const alone = byId("passkey-alone").checked;
    const wanted = { ...options.publicKey.authenticatorSelection };
    wanted.residentKey = alone ? "required" : "discouraged";
    wanted.requireResidentKey = alone;
    if (alone) wanted.userVerification = "required";
    return { ...options, publicKey: { ...options.publicKey, authenticatorSelection: wanted } };
  }

  async function answer() {
    if (kind === "add") return window.webauthnJSON.create(creation());
    if (kind === "confirm") return window.webauthnJSON.get(told().request_options);
    const reply = await fetch(form.action, { headers: { Accept: "application/json" } });
    if (!reply.ok) throw new Error(String(reply.status));
    return window.webauthnJSON.get((await reply.json()).request_options);
  }

  function why(error) {
    if (error.name === "NotAllowedError") {
      return gettext("Nothing was confirmed: it was called off, took too long, or this device holds no passkey for this account.");
    }
    if (error.name === "InvalidStateError") return gettext("This device or key is added already.");
    return gettext("The passkey could not be used. Try again, or sign in another way.");
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    byId("passkey-trouble").hidden = true;
    byId("passkey-go").disabled = true;
    try {
      byId("passkey-credential").value = JSON.stringify(await answer());
      form.submit();
    } catch (error) {
      byId("passkey-trouble").textContent = why(error);
      byId("passkey-trouble").hidden = false;
      byId("passkey-go").disabled = false;
    }
  });
})();
