// A token, shown once: it is in this dialog and nowhere else, and gone with it.

import { copier, h, modal } from "./dom.js";

// reveal shows what has come of making a token, until whoever looks is done.
export async function reveal(result, heading) {
  if (!result.token) {
    const done = h("button", { class: "primary", textContent: "Done", click: () => dialog.close() });
    const dialog = modal(heading === "Copy your key now" ? "Your key is ready" : "The new token is ready", { wide: true },
      h("p", { textContent: result.message }), h("p", { textContent: result.where }), forGit(result), h("div", { class: "feet" }, done));
    done.focus();
    await dialog.ended;
    return;
  }
  let copied = false;
  const field = h("input", { id: "token", readonly: true, spellcheck: "false", autocomplete: "off", value: result.token, focus: () => field.select(), copy: () => { copied = true; } });
  const copy = copier(h("button", { class: "primary", textContent: "Copy token" }), "Token", () => field.value, () => { copied = true; });
  const warning = h("p", { class: "note warn", textContent: "This is the only time that the token is shown. Keep it like a password." });
  // close asks once more where nothing was copied.
  const close = () => {
    if (copied) return true;
    copied = true;
    warning.textContent = "You have not copied the token. Press again to close all the same.";
    warning.setAttribute("role", "alert");
    return false;
  };
  const command = result.curl;
  const dialog = modal(heading, { wide: true, close },
    h("p", {}, h("strong", { textContent: result.row.displayName }), ": ", result.message),
    warning,
    h("div", { class: "field" }, h("label", { for: "token", textContent: "Token" }), h("div", { class: "join" }, field, copy)),
    h("div", { class: "split" }, h("h3", { textContent: "Try it" }), copier(h("button", { class: "copy", textContent: "Copy curl command" }), "Command", () => command, () => { copied = true; })),
    h("pre", { tabindex: "0", role: "region", "aria-label": "curl command", textContent: command }),
    h("p", { class: "quiet", textContent: `Programs in the cluster need no copy. ${result.where}` }),
    forGit(result),
    h("div", { class: "feet" }, h("button", { textContent: "Done", click: () => { if (close()) dialog.close(); } })));
  copy.focus();
  dialog.ended.then(() => { field.value = ""; result.token = ""; result.curl = ""; });
  await dialog.ended;
}

function forGit(result) {
  return h("details", {}, h("summary", { textContent: "YAML for Git" }),
    h("p", { class: "quiet", textContent: "What was made, without the token: commit it, and whatever applies your repository keeps the key as it is." }),
    h("pre", { tabindex: "0", role: "region", "aria-label": "YAML", textContent: result.yaml }),
    copier(h("button", { class: "copy", textContent: "Copy YAML" }), "YAML", () => result.yaml));
}
