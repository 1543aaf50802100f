// The page: the tenant, and the list of keys as the stream tells of them.

import { $, ago, at, badge, copier, h, onDay, say, time } from "./dom.js";
import { follow, namespace, showUser } from "./wire.js";
import { generate } from "./create.js";
import { ask, details, perform } from "./key.js";

// seen is what is on the screen by an object's name: its row, its element and what it is found by.
const seen = new Map();
const may = { list: true, create: false, change: false, readSecrets: false };
const sort = { by: "created", down: true };
let fresh = null; // The names that a list under way has told of; null when there is none.
let synced = false;
let order = true; // Whether the order may have changed.
let drawing = false;
let refused = null; // Why there is no list.

const list = (row) => row.scopes.join(", ");

// sortable are what columns are sorted by. What never was comes last, and what never ends too.
const states = [...$("state").options].map((o) => o.value).filter(Boolean);
const sortable = {
  displayName: (r) => r.displayName.toLowerCase(),
  prefix: (r) => r.prefix || "\uffff",
  scopes: list,
  created: (r) => r.created,
  lastUsed: (r) => r.lastUsed || "",
  expires: (r) => r.expires || (r.issued ? "9999" : "9998"),
  state: (r) => states.indexOf(r.state),
};

function newEntry(row) {
  const name = h("button", { class: "name", click: () => open(row.name) });
  const revoke = h("button", { class: "link danger", textContent: "Revoke", click: () => act("revoke", row.name) });
  const cells = ["Name", "Prefix", "Scopes", "Created", "Last used", "Expires", "State", ""].map((label, i) =>
    h("td", { role: "cell", "data-label": label, class: i === 7 ? "act" : null }));
  cells[0].append(name, h("span", { class: "object quiet" }));
  cells[7].append(revoke);
  return { cells, name, revoke, element: h("tr", { role: "row", "data-name": row.name }, cells) };
}

// fill puts a row into its element, cell by cell, so that what has the focus keeps it.
function fill(entry, row) {
  const { cells } = entry;
  entry.row = row;
  entry.text = `${row.displayName} ${row.name} ${row.prefix || ""} ${list(row)}`.toLowerCase();
  entry.element.dataset.state = row.state;
  entry.name.textContent = row.displayName;
  cells[0].lastChild.textContent = row.name;
  cells[1].replaceChildren(row.prefix ? h("code", { textContent: row.prefix }) : h("span", { class: "quiet", textContent: "not issued" }));
  const shown = row.scopes.slice(0, 3).map((s) => h("code", { class: s === "*" ? "scope all" : "scope", textContent: s }));
  if (row.scopes.length > 3) shown.push(h("span", { class: "quiet", textContent: `+${row.scopes.length - 3}`, title: list(row) }));
  cells[2].replaceChildren(...shown);
  cells[3].replaceChildren(time(row.created, onDay, ""));
  cells[4].replaceChildren(time(row.lastUsed, ago, "Never"));
  cells[5].replaceChildren(time(row.expires, onDay, row.issued ? "Never" : "–"));
  cells[6].replaceChildren(badge(row.state));
  if (row.why) cells[6].append(h("span", { class: "why quiet", title: row.why, textContent: row.why }));
  entry.revoke.setAttribute("aria-label", `Revoke ${row.displayName}`);
  entry.revoke.hidden = !may.change || !(row.may || []).includes("revoke");
}

// put shows a row that the stream has told of.
function put(row, live) {
  let entry = seen.get(row.name);
  const before = entry && entry.row;
  if (before && JSON.stringify(before) === JSON.stringify(row)) return;
  if (!entry) seen.set(row.name, entry = newEntry(row));
  fill(entry, row);
  order ||= !before || sortable[sort.by](before) !== sortable[sort.by](row);
  if (live) {
    entry.element.classList.remove("changed");
    void entry.element.offsetWidth; // Begins the animation anew.
    entry.element.classList.add("changed");
    if (before && before.state !== row.state && !document.querySelector("dialog[open]")) say(`${row.displayName} is now ${row.state}`);
    dispatchEvent(new CustomEvent("key", { detail: row.name }));
  }
  draw();
}

function drop(name) {
  seen.get(name)?.element.remove();
  seen.delete(name);
  dispatchEvent(new CustomEvent("key", { detail: name }));
  draw();
}

// draw has the list drawn once, however much changes until then.
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; paint(); });
}

function paint() {
  if (!synced && !refused) return head(0); // Not before all are there: each part would move what the one before has drawn.
  if (order) {
    order = false;
    const value = sortable[sort.by];
    const way = sort.down ? -1 : 1;
    const sorted = [...seen.values()].map((e) => [value(e.row), e]).sort(([a, x], [b, y]) =>
      (a < b ? -way : a > b ? way : 0) || (x.row.name < y.row.name ? -way : way));
    const focus = document.activeElement;
    $("rows").replaceChildren(...sorted.map(([, e]) => e.element));
    if (focus && focus !== document.activeElement && focus.isConnected) focus.focus({ preventScroll: true });
  }
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = $("state").value;
  let shown = 0;
  for (const entry of seen.values()) {
    const wanted = (!state || entry.row.state === state) && words.every((w) => entry.text.includes(w));
    if (entry.element.hidden === wanted) entry.element.hidden = !wanted;
    if (wanted) shown++;
  }
  $("loading").hidden = synced || !!refused;
  $("table").hidden = shown === 0 || !!refused;
  $("generate").hidden = !may.create;
  $("tools").hidden = !!refused;
  head(shown);
  nothing(shown);
}

const number = new Intl.NumberFormat();
const keys = (n) => `${number.format(n)} ${n === 1 ? "key" : "keys"}`;

function head(shown) {
  let text = keys(seen.size);
  if (!synced) text = "Loading keys…";
  else if (refused) text = "";
  else if (shown !== seen.size) text = `Showing ${number.format(shown)} of ${keys(seen.size)}`;
  if (synced && $("table").classList.contains("stale")) text += `, as of ${$("table").dataset.asOf}`;
  if ($("count").textContent !== text) $("count").textContent = text;
}

// nothing says why there is nothing to see, and what to do.
function nothing(shown) {
  const box = $("empty");
  let content = [];
  if (refused) content = refused;
  else if (synced && seen.size === 0) {
    content = [h("h3", { textContent: "No keys yet" }), h("p", {
      textContent: may.create ? "Generate a key for each program that calls the API, so that each can be revoked alone."
        : "You may look at keys here, and not make any: ask for a RoleBinding to the ClusterRole apikey-admin.",
    })];
    if (may.create) content.push(h("button", { textContent: "Generate the first key", click: make }));
  } else if (synced && shown === 0) {
    content = [h("h3", { textContent: "No key matches" }), h("p", { textContent: `None of ${keys(seen.size)} is like that.` }),
      h("button", { textContent: "Clear search and filter", click: clear })];
  }
  const what = content.map((c) => c.textContent).join("\n");
  if (box.dataset.what !== what) box.replaceChildren(...content);
  box.dataset.what = what;
  box.hidden = content.length === 0;
}

function clear() {
  $("search").value = "";
  $("state").value = "";
  paint();
  $("search").focus();
}

// tell takes a line of the stream.
function tell(line) {
  const took = {
    reset() { fresh = new Set(); },
    rows() { for (const row of line.rows) { fresh?.add(row.name); put(row, false); } },
    synced() {
      for (const name of [...seen.keys()]) if (fresh && !fresh.has(name)) drop(name);
      fresh = null;
      synced = true;
      refused = null;
      stale(null);
      draw();
    },
    row() { put(line.rows[0], true); },
    gone() { drop(line.name); },
    rights() { Object.assign(may, line.rights); for (const e of seen.values()) fill(e, e.row); dispatchEvent(new Event("rights")); draw(); },
    tenant() { tenant(line.tenant); },
    problem() { trouble(line.problem); },
  }[line.type];
  if (took) took();
}

// trouble shows what is wrong: instead of the list where there can be none, above it where it may come back.
function trouble({ reason, message }) {
  if (reason === "forbidden" || reason === "notInstalled") {
    const heading = reason === "forbidden" ? `You may not list keys in namespace ${namespace}` : "There are no API keys in this cluster";
    refused = [h("h3", { textContent: heading }), h("p", { textContent: message }),
      h("p", {}, h("a", { href: "/namespaces", textContent: "Choose another namespace" }))];
    synced = true;
    stale(null);
    draw();
    return;
  }
  const what = `${message.split(". ")[0].replace(/\.$/, "")}.`;
  stale(synced ? `${what} The list shows what was known before, and follows again by itself.` : `${what} Trying again…`);
  draw();
}

// stale marks the list as one of before, with why, or as one of now.
function stale(why) {
  const table = $("table");
  $("banner").hidden = !why;
  if ($("banner").textContent !== (why || "")) $("banner").textContent = why || "";
  if (why && !table.classList.contains("stale")) table.dataset.asOf = new Date().toLocaleTimeString();
  table.classList.toggle("stale", !!why);
  document.body.classList.toggle("away", !!why);
}

function tenant(t) {
  const put = (id, text) => { $(id).textContent = text || "–"; };
  $("tenant").setAttribute("aria-busy", "false");
  put("tenant-name", [t.name, t.environment === "Test" && "(test)", t.suspended && "– suspended: all of its keys are refused"].filter(Boolean).join(" "));
  put("tenant-id", t.id);
  put("tenant-url", t.baseURL);
  $("copy-id").hidden = !t.id;
  $("copy-url").hidden = !t.baseURL;
  if (t.most) {
    const full = t.active >= t.most;
    $("tenant-keys").replaceChildren(`${t.active} of ${t.most}`,
      h("meter", { min: 0, max: t.most, high: t.most * 0.8, optimum: 0, value: t.active, "aria-label": "Keys used", class: full ? "full" : null }));
  } else put("tenant-keys", "");
  $("tenant").hidden = !!t.problem && !t.id;
  $("tenant-problem").textContent = t.problem || "";
  $("tenant-problem").hidden = !t.problem;
}

async function make() {
  const row = await generate(may);
  if (row) put(row, true);
}

// act asks whether a change is meant, and makes it.
async function act(change, name) {
  const entry = seen.get(name);
  if (entry) await ask(change, entry.row, perform);
}

// open shows the details of a key at an address of their own, so that going back leaves them.
function open(name, push = true) {
  const home = `/namespaces/${encodeURIComponent(namespace)}`;
  if (push) history.pushState({ name }, "", `${home}/keys/${encodeURIComponent(name)}`);
  const dialog = details(name, may, act);
  dialog.ended.then((why) => { if (why !== "left" && location.pathname !== home) history.pushState({}, "", home); });
}

addEventListener("popstate", () => {
  document.querySelector("dialog.side[open]")?.close("left");
  const [, , , , name] = location.pathname.split("/");
  if (name) open(decodeURIComponent(name), false);
});

for (const column of document.querySelectorAll("th[data-sort]")) {
  column.firstElementChild.addEventListener("click", () => {
    const by = column.dataset.sort;
    sort.down = sort.by === by ? !sort.down : ["created", "lastUsed"].includes(by);
    sort.by = by;
    order = true;
    arrows();
    paint();
  });
}

function arrows() {
  for (const column of document.querySelectorAll("th[data-sort]")) {
    if (column.dataset.sort === sort.by) column.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
    else column.removeAttribute("aria-sort");
  }
}

// Times that pass: how long ago, and what has expired meanwhile though nobody has said so.
setInterval(() => {
  const now = new Date().toISOString();
  for (const entry of seen.values()) {
    const { row } = entry;
    if (row.expires && row.expires <= now && ["Active", "Expiring"].includes(row.state)) put({ ...row, state: "Expired", may: ["rotate", "revoke"] }, true);
    const used = entry.cells[4].firstChild;
    if (row.lastUsed && used.textContent !== ago(row.lastUsed)) used.textContent = ago(row.lastUsed);
  }
}, 15000);

$("search").addEventListener("input", draw);
$("state").addEventListener("change", draw);
$("generate").addEventListener("click", make);
copier($("copy-id"), "Tenant ID", () => $("tenant-id").textContent);
copier($("copy-url"), "API base URL", () => $("tenant-url").textContent);
arrows();
follow(tell);
showUser().catch(() => {}); // The list says what is wrong.
if (document.body.dataset.key) open(document.body.dataset.key, false);
