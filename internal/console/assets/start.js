// Keeps what lets this tab in, and leaves the link behind: going back does not lead to it.

import { keep } from "./session.js";

keep(document.querySelector("meta[name=session]").content);
location.replace(document.body.dataset.path);
