// Generate New Key: the form, and how making a key goes.

import { h, modal, onDay } from "./dom.js";
import { change, get } from "./wire.js";
import { reveal } from "./token.js";

const units = { s: "second", h: "hour", d: "day", w: "week", y: "year" };

// inWords writes an expiry for people: 90d is 90 days.
function inWords(expiry) {
  const parts = /^(\d+)([shdwy])$/.exec(expiry);
  if (!parts) return expiry;
  return `${parts[1]} ${units[parts[2]]}${parts[1] === "1" ? "" : "s"}`;
}

// until says when a key that is made now expires.
function until(expiry) {
  const parts = /^(\d+)([shdwy])$/.exec(expiry);
  if (!parts) return "The key works until somebody revokes it. Prefer an end where you can.";
  const end = new Date();
  if (parts[2] === "y") end.setFullYear(end.getFullYear() + Number(parts[1]));
  else end.setSeconds(end.getSeconds() + Number(parts[1]) * { s: 1, h: 3600, d: 86400, w: 604800 }[parts[2]]);
  return `The key stops working on ${onDay(end)}.`;
}

// slug makes the name of an object from a name for people.
const slug = (text) => text.normalize("NFKD").toLowerCase().replace(/[\u0300-\u036f]/g, "").replace(/[^a-z0-9]+/g, "-").slice(0, 63).replace(/^-+|-+$/g, "");

// field makes a labelled input with a place for what is wrong with it.
function field(id, label, input, help) {
  input.id = id;
  input.setAttribute("aria-describedby", `${id}-wrong ${id}-help`);
  return h("div", { class: "field", "data-field": id }, h("label", { for: id, textContent: label }), input,
    h("p", { class: "wrong", id: `${id}-wrong` }), help ? h("p", { class: "help", id: `${id}-help`, textContent: help }) : null);
}

function choice(scope, description) {
  const id = `scope-${scope}`;
  return h("div", { class: "check" },
    h("input", { type: "checkbox", id, name: "scope", value: scope, "aria-describedby": description ? `${id}-d` : null }),
    h("label", { for: id }, h("code", { textContent: scope === "*" ? "* (full access)" : scope })),
    description ? h("span", { id: `${id}-d`, class: "quiet", textContent: description }) : null);
}

function scopesOf(offer) {
  const box = h("fieldset", { class: "field", "data-field": "scopes", tabindex: "-1", "aria-describedby": "scopes-wrong" },
    h("legend", { textContent: "Scopes" }), h("p", { class: "help", textContent: offer.free || "What the key may do. The fewer, the less a leak costs." }),
    h("p", { class: "wrong", id: "scopes-wrong" }));
  if (offer.free) {
    box.append(h("textarea", { name: "written", rows: 3, "aria-label": "Scopes, one a line", spellcheck: "false" }));
    return box;
  }
  for (const group of offer.groups) {
    const id = `group-${group.resource}`;
    box.append(h("div", { role: "group", "aria-labelledby": id, class: "group" },
      h("h3", { id, textContent: group.resource }), group.scopes.map((s) => choice(s.name, s.description))));
  }
  if (offer.everything) {
    box.append(h("details", { class: "everything" }, h("summary", { textContent: "Full access" }),
      h("p", { class: "note warn", textContent: "A key with full access may do everything that the tenant may, also what is added later. Whoever finds it may too. Choose single scopes where you can." }),
      choice("*", offer.everything.description)));
  }
  return box;
}

function expiryOf(offer) {
  const usual = ["90d", "30d", "1y"].find((e) => offer.expiries.includes(e)) || offer.expiries[0];
  const select = h("select", { name: "expiry" }, offer.expiries.map((e) => h("option", { value: e, textContent: inWords(e), selected: e === usual })));
  const box = field("expiry", "Expiry", select, until(usual));
  select.addEventListener("change", () => { box.querySelector(".help").textContent = until(select.value); });
  return box;
}

const entries = (text) => text.split(/[\s,]+/).filter(Boolean);

// filled reads the form.
function filled(form) {
  const of = (name) => form.elements[name]?.value.trim() || "";
  let scopes = form.elements.written ? entries(of("written")) : [...form.querySelectorAll("[name=scope]:checked")].map((c) => c.value);
  if (scopes.includes("*")) scopes = ["*"];
  return {
    name: of("name"), displayName: of("displayName"), scopes, expiry: of("expiry"), allowedCIDRs: entries(of("allowedCIDRs")),
    rotateEvery: of("rotateEvery"), rotateOverlap: of("rotateOverlap"),
  };
}

// mark shows what is wrong, at its fields and in all, and leads to the first.
function mark(form, summary, problem) {
  for (const box of form.querySelectorAll("[data-field]")) {
    const wrong = problem?.fields?.find((f) => f.field === box.dataset.field);
    box.querySelector(".wrong").textContent = wrong ? wrong.message : "";
    box.classList.toggle("invalid", !!wrong);
    const input = box.querySelector("input:not([type=checkbox]), select, textarea");
    if (input) input.toggleAttribute("aria-invalid", false);
    if (wrong) {
      input?.setAttribute("aria-invalid", "true");
      box.closest("details")?.setAttribute("open", "");
    }
  }
  summary.textContent = problem ? problem.message : "";
  summary.hidden = !problem;
  const first = form.querySelector(".invalid");
  if (first) (first.querySelector("input:not([type=checkbox]), select, textarea") || first).focus();
}

function formOf(offer) {
  const display = h("input", { name: "displayName", required: true, maxlength: 128, autocomplete: "off", placeholder: "Warehouse Integration" });
  const name = h("input", { name: "name", maxlength: 253, autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
  let own = false;
  name.addEventListener("input", () => { own = name.value !== ""; });
  display.addEventListener("input", () => { if (!own) name.value = slug(display.value); });
  return h("form", { novalidate: true, autocomplete: "off" },
    field("displayName", "Display name", display, "What uses the key."),
    field("name", "Name in Kubernetes", name, "Of the ApiKey and of the Secret that holds its token. It can't be changed later."),
    scopesOf(offer), expiryOf(offer),
    h("details", {}, h("summary", { textContent: "Restrict and rotate" }),
      field("allowedCIDRs", "Allowed IP addresses", h("textarea", { name: "allowedCIDRs", rows: 3, spellcheck: "false", placeholder: "203.0.113.0/24" }), "One block a line. Left blank, requests may come from anywhere."),
      h("div", { class: "pair" },
        field("rotateEvery", "Rotate every", h("input", { name: "rotateEvery", autocomplete: "off", placeholder: "30d" }), "A new token by itself, such as each 30d."),
        field("rotateOverlap", "Overlap", h("input", { name: "rotateOverlap", autocomplete: "off", placeholder: "1d" }), "How long the old token works beside the new one."))));
}

// generate asks for a key, has it made, and shows its token once. It returns the row of what was made, if anything was.
export async function generate() {
  const body = h("div", { "aria-busy": "true" }, h("span", { class: "bone" }), h("span", { class: "bone" }));
  const dialog = modal("Generate New Key", { wide: true }, body);
  const cancel = h("button", { type: "button", textContent: "Cancel", click: () => dialog.close() });
  let result = null;
  try {
    const offer = await get("/form");
    const form = formOf(offer);
    const summary = h("p", { class: "note bad", role: "alert", hidden: true });
    const status = h("p", { class: "busy", role: "status", hidden: true });
    const submit = h("button", { class: "primary", textContent: "Generate key" });
    form.prepend(summary);
    if (offer.full) form.prepend(h("p", { class: "note warn", textContent: offer.full }));
    form.append(status, h("div", { class: "feet" }, cancel, submit));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (submit.getAttribute("aria-disabled")) return;
      mark(form, summary, null);
      submit.setAttribute("aria-disabled", "true");
      status.hidden = false;
      status.textContent = "Asking for the key…";
      try {
        result = await change("/keys", filled(form), (message) => { status.textContent = message; });
        dialog.close();
      } catch (problem) {
        status.hidden = true;
        mark(form, summary, problem);
      } finally {
        submit.removeAttribute("aria-disabled");
      }
    });
    body.replaceChildren(form);
    body.removeAttribute("aria-busy");
    form.elements.displayName.focus();
  } catch (problem) {
    body.replaceChildren(h("p", { class: "note bad", role: "alert", textContent: problem.message }), h("div", { class: "feet" }, cancel));
  }
  await dialog.ended;
  if (!result) return null;
  const { row } = result;
  await reveal(result, "Copy your key now");
  return row;
}
