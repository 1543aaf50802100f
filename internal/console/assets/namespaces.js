// The choice of a namespace, where kubectl apikey ui serves the page: what the console writes into it for others.

import { $, h } from "./dom.js";
import { fetchJSON, showUser } from "./wire.js";

showUser();
try {
  const { known, problem } = await fetchJSON("/api/namespaces");
  $("unlisted").textContent = problem || "";
  $("unlisted").hidden = !problem;
  $("choices").replaceChildren(...(known || []).map(({ name, tenant, path }) =>
    h("li", {}, h("a", { href: path, textContent: name }), " ", h("span", { class: "quiet", textContent: tenant }))));
  $("choices").hidden = !known?.length;
} catch (error) {
  $("unlisted").textContent = error.message;
  $("unlisted").hidden = false;
}
