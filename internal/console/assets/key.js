// One key: its details, and what may be done about it.

import { ago, at, badge, copier, h, modal, time } from "./dom.js";
import { change, get, keyPath } from "./wire.js";
import { reveal } from "./token.js";

// changes are what may be done, in words.
const changes = {
  rotate: {
    verb: "Rotate", right: "change", busy: "Rotating…",
    what: "A new token replaces the present one. The present one goes on working for the overlap, a day unless the key says otherwise; programs have to read the new one by then.",
    more: "A token that has leaked is not ended by this: revoke the key instead.",
  },
  suspend: { verb: "Suspend", right: "change", busy: "Suspending…", done: "is suspended", what: "Requests with this key are refused until somebody resumes it." },
  resume: { verb: "Resume", right: "create", busy: "Resuming…", done: "works again", what: "Requests with this key are let through again, with the same token." },
  revoke: {
    verb: "Revoke", right: "change", busy: "Revoking…", done: "is revoked", danger: true,
    what: "Requests with this key are refused from now on, for good. A revoked key can't come back.",
  },
};

// allowed says which changes of a row make sense and are worth offering.
const allowed = (row, may) => (row.may || []).filter((c) => may.change && may[changes[c].right] && !(c === "rotate" && row.state === "Expired" && !may.create));

function use(row) {
  const prefix = row.prefix ? [h("code", { textContent: row.prefix }), " "] : ["It "];
  if (!row.lastUsed) return h("p", {}, prefix, "has never been used.");
  return h("p", {}, prefix, "was last used ", h("strong", { textContent: ago(row.lastUsed) }), ` (${at(row.lastUsed)}).`);
}

// ask asks whether a change is meant. It names the key, and says when it was last used and what would undo the change.
export async function ask(which, row, perform) {
  const c = changes[which];
  const warning = h("p", { class: "note warn", hidden: true });
  const body = h("div", {}, use(row), h("p", { textContent: c.what }), c.more ? h("p", { class: "quiet", textContent: c.more }) : null, warning);
  const yes = h("button", { class: c.danger ? "primary danger" : "primary", textContent: `${c.verb} key` });
  const no = h("button", { textContent: "Cancel", click: () => dialog.close() });
  const feet = h("div", { class: "feet" }, no, yes);
  const dialog = modal(`${c.verb} ${row.displayName}?`, {}, body, feet);
  if (c.danger) no.focus(); else yes.focus();
  yes.addEventListener("click", () => perform(which, row, dialog, body, feet));
  get(keyPath(row.name)).then((d) => {
    const text = d.warnings && d.warnings[which];
    warning.textContent = text || "";
    warning.hidden = !text;
  }, () => {});
  await dialog.ended;
}

const duration = (ms) => (ms < 1000 ? `${ms} ms` : `${Math.round(ms / 100) / 10} s`);

// perform makes a change, and shows in its dialog how that goes.
export async function perform(which, row, dialog, body, feet) {
  const c = changes[which];
  const status = h("p", { role: "status", class: "busy" });
  body.replaceChildren(status);
  feet.replaceChildren(h("button", { textContent: "Close", click: () => dialog.close() }));
  status.textContent = c.busy;
  feet.firstChild.focus();
  try {
    const result = await change(keyPath(row.name, which), {}, (message) => { status.textContent = message; });
    status.className = "good";
    if (which === "rotate") {
      dialog.close();
      await reveal(result, "Copy your new token now");
      return;
    }
    dialog.firstChild.textContent = `${row.displayName} ${c.done}`;
    const after = which === "revoke" ? ` It took ${duration(result.took)}.` : "";
    status.textContent = result.message + after;
  } catch (problem) {
    body.replaceChildren(h("p", { class: "note bad", role: "alert", textContent: problem.message }));
  }
}

function fact(name, ...value) { return h("div", {}, h("dt", { textContent: name }), h("dd", {}, ...value)); }

const scopes = (all) => all.map((s) => h("code", { class: s === "*" ? "scope all" : "scope", textContent: s }));

function facts(d) {
  const { row } = d;
  const same = d.granted && d.granted.join() === row.scopes.join();
  return h("dl", { class: "facts" },
    fact("State", badge(row.state), row.why ? h("span", { class: "why", textContent: row.why }) : null),
    fact("Name in Kubernetes", row.name),
    fact("Prefix", row.prefix ? h("code", { textContent: row.prefix }) : "not issued"),
    fact(same ? "Scopes" : "Scopes asked for", ...scopes(row.scopes)),
    same ? null : fact("Scopes granted", ...(d.granted ? scopes(d.granted) : ["none yet"])),
    fact("Allowed IP addresses", d.allowedCIDRs ? d.allowedCIDRs.join(", ") : "any"),
    fact("Created", time(row.created, at, "")),
    fact("Last used", time(row.lastUsed, ago, "Never")),
    fact("Expires", row.expires ? time(row.expires, at, "") : row.issued ? "Never" : `${d.expiry} after its issue`),
    d.nextRotation ? fact("Next rotation", time(d.nextRotation, at, "")) : null,
    fact("Token", d.where),
    d.owner ? fact("Applied by", d.owner) : null);
}

function condition(c) {
  return h("li", { class: c.tone || null },
    h("strong", { textContent: c.heading }), " ", h("span", { class: "quiet" }, time(c.since, ago, "")),
    h("p", { textContent: c.message }), c.advice ? h("p", { class: "todo" }, h("b", { textContent: "To do: " }), c.advice) : null);
}

function happened(e) {
  return h("li", { class: e.warning ? "bad" : null },
    h("strong", { textContent: e.reason }), " ", time(e.time, ago, ""), e.count > 1 ? ` (${e.count} times)` : "", h("p", { textContent: e.message }));
}

function token(c) {
  return h("li", {}, h("code", { textContent: c.id }), ` made ${at(c.issued)}, `,
    c.lastUsed ? `last used ${ago(c.lastUsed)}` : "never used", c.validUntil ? `, valid until ${at(c.validUntil)}` : "");
}

// details shows all about a key beside the list, and follows it.
export function details(name, may, act) {
  const body = h("div", { "aria-busy": "true" }, h("span", { class: "bone" }), h("span", { class: "bone" }));
  const feet = h("div", { class: "feet" });
  const dialog = modal(name, { side: true }, body, feet);
  const heading = dialog.firstChild;
  const close = h("button", { textContent: "Close", click: () => dialog.close() });
  feet.append(close);
  const load = async () => {
    try {
      show(await get(keyPath(name)));
    } catch (problem) {
      body.replaceChildren(h("p", { class: "note bad", role: "alert", textContent: problem.message }));
    }
  };
  const show = (d) => {
    last = d;
    heading.textContent = d.row.displayName;
    body.removeAttribute("aria-busy");
    const yaml = h("pre", { tabindex: "0", role: "region", "aria-label": "YAML" , textContent: d.yaml });
    body.replaceChildren(facts(d),
      h("h3", { textContent: "Conditions" }),
      d.conditions.length ? h("ul", { class: "words" }, d.conditions.map(condition)) : h("p", { class: "quiet", textContent: "None: no controller has seen the key yet." }),
      h("h3", { textContent: "Events" }),
      d.events.length ? h("ul", { class: "words" }, d.events.map(happened)) : h("p", { class: "quiet", textContent: d.noEvents }),
      h("h3", { textContent: "Tokens" }),
      d.credentials.length ? h("ul", { class: "words" }, d.credentials.map(token)) : h("p", { class: "quiet", textContent: "None yet." }),
      h("div", { class: "split" }, h("h3", { textContent: "YAML for Git" }), copier(h("button", { class: "copy", textContent: "Copy YAML" }), "YAML", () => d.yaml)), yaml);
    const held = document.activeElement?.dataset?.change;
    feet.replaceChildren(...allowed(d.row, may).map((c) => h("button", {
      class: changes[c].danger ? "danger" : "", "data-change": c, textContent: changes[c].verb, click: () => act(c, name),
    })), close);
    if (held) (feet.querySelector(`[data-change=${held}]`) || close).focus();
  };
  let soon;
  let last = null;
  const again = () => { if (last) show(last); };
  const changed = (event) => {
    if (event.detail !== name) return;
    clearTimeout(soon);
    soon = setTimeout(load, 300);
  };
  addEventListener("key", changed);
  addEventListener("rights", again);
  dialog.ended.then(() => { removeEventListener("key", changed); removeEventListener("rights", again); clearTimeout(soon); });
  load();
  return dialog;
}
