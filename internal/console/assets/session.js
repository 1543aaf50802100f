// What lets a tab in where kubectl apikey ui serves the page. It is in the session storage of this tab: other ports of the same address,
// which another account of the machine may listen at, have another storage, and no cookie tells them anything.

import { h } from "./dom.js";

const name = "apikey-session";
const own = document.body.hasAttribute("data-own");

export const keep = (session) => sessionStorage.setItem(name, session);

// stranger says that this tab has not come by the link, or that the page was started anew since.
export function stranger() {
  sessionStorage.removeItem(name);
  document.title = "This page is somebody else's · NexusCommerce";
  document.body.className = "narrow";
  document.body.replaceChildren(h("main", { class: "card" },
    h("h1", { textContent: "This page is somebody else's" }),
    h("p", { class: "lead", textContent: "It acts with the rights of whoever started it, and opens only by the link that was printed then, which is good once. Run kubectl apikey ui again." })));
}

// lent asks the tabs that are open already, of this very address and port, for what lets them in.
function lent() {
  const channel = new BroadcastChannel(name);
  return new Promise((resolve) => {
    const wait = setTimeout(() => resolve(null), 500);
    channel.onmessage = ({ data }) => {
      if (!data.session) return;
      clearTimeout(wait);
      keep(data.session);
      resolve(data.session);
    };
    channel.postMessage({ wanted: true });
  }).finally(() => channel.close());
}

// session is what lets this tab in; null where the browser has a cookie instead.
export const session = own ? sessionStorage.getItem(name) || await lent() : null;

if (own && !session) {
  stranger();
  await new Promise(() => {}); // Nothing of the page runs.
}

if (own) {
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => { if (data.wanted && sessionStorage.getItem(name)) channel.postMessage({ session }); };
}
