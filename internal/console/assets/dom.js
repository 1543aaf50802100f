// Elements, and what every part of the page does with them. Text is text: nothing here makes markup from it.

// $ returns the element of an id.
export const $ = (id) => document.getElementById(id);

// h makes an element. Attributes that are functions are listeners; false, null and undefined leave one out.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name in { textContent: 1, value: 1, checked: 1, hidden: 1, disabled: 1 }) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

let quiet;
// say tells something for a moment, to screen readers, and on the screen where that doesn't show it already.
export function say(text, shown = true) {
  const box = document.querySelector("dialog[open]:last-of-type .said") || $("said");
  box.textContent = text;
  box.classList.toggle("shown", shown);
  clearTimeout(quiet);
  quiet = setTimeout(() => { box.classList.remove("shown"); box.textContent = ""; }, 4000);
}

// copier makes a button copy a text, which it is asked for when it is pressed.
export function copier(button, what, text, copied = () => {}) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      copied();
      button.textContent = "Copied";
      say(`${what} copied`, false);
    } catch {
      say(`${what} could not be copied: select it, and copy it by hand`);
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
  return button;
}

// modal shows a dialog with a heading, and returns it with a promise of its end. What it held is gone when it closes.
export function modal(heading, { wide, side, close } = {}, ...content) {
  const id = `d${Math.random().toString(36).slice(2)}`;
  const dialog = h("dialog", { "aria-labelledby": id, class: side ? "side" : wide ? "wide" : "" },
    h("h2", { id, tabindex: "-1", textContent: heading }), h("p", { class: "said", role: "status" }), ...content);
  const before = document.activeElement;
  dialog.ended = new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    dialog.remove();
    if (before && before.isConnected) before.focus();
    resolve(dialog.returnValue);
  }));
  dialog.addEventListener("cancel", (event) => { if (close && !close()) event.preventDefault(); });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const units = [["year", 31557600], ["month", 2629800], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

// ago says how far a time is from now.
export function ago(stamp) {
  const seconds = (Date.parse(stamp) - Date.now()) / 1000;
  for (const [unit, length] of units) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return seconds > 0 ? "in a moment" : "just now";
}
export const onDay = (stamp) => day.format(new Date(stamp));
export const at = (stamp) => moment.format(new Date(stamp));

// time makes an element of a time: a day, or how long ago.
export function time(stamp, how, none) {
  if (!stamp) return h("span", { class: "quiet", textContent: none });
  return h("time", { datetime: stamp, title: at(stamp), textContent: how(stamp) });
}

// badge makes an element of a state.
export const badge = (state) => h("span", { class: `badge ${state.toLowerCase()}`, textContent: state });
