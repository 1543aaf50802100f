// Requests to the console. Nothing of what they bring is kept in the browser's storage.

import { session, stranger } from "./session.js";

const csrf = document.querySelector("meta[name=csrf-token]").content;
export const namespace = document.body.dataset.namespace;
const base = `/api/namespaces/${encodeURIComponent(namespace)}`;

// keyPath is the path of a key, or of a change of it.
export const keyPath = (name, change) => `/keys/${encodeURIComponent(name)}${change ? `/${change}` : ""}`;

// Problem is what went wrong, and the way out, in words for a person.
export class Problem extends Error {
  constructor({ reason, message, fields }) {
    super(message);
    this.reason = reason;
    this.fields = fields || [];
  }
}

const away = () => new Problem({ reason: "away", message: "The console can't be reached. Check your connection." });

// signIn leads to the log-in, and back to here.
export function signIn() {
  if (session) return stranger();
  location.assign(`/login?${new URLSearchParams({ next: location.pathname, why: "expired" })}`);
}

async function ask(path, { headers = {}, ...options } = {}) {
  let answer;
  try {
    const own = session ? { "X-Apikey-Session": session } : {};
    answer = await fetch(path, { ...options, headers: { ...headers, ...own }, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw away();
  }
  if (answer.ok) return answer;
  let problem = { reason: "away", message: `The console answers ${answer.status}. Load the page again.` };
  try { problem = await answer.json(); } catch { /* A proxy's answer, which is no JSON. */ }
  if (problem.reason === "session") signIn();
  throw new Problem(problem);
}

export const fetchJSON = async (path, signal) => (await ask(path, { signal })).json();
export const get = (path, signal) => fetchJSON(base + path, signal);

// showUser says who is signed in, where the page does not.
export async function showUser() {
  if (session) document.getElementById("user").textContent = (await fetchJSON("/api/user")).user;
}

// lines reads an answer of JSON, line by line.
async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

// change asks for a change, tells of its progress, and returns its result.
export async function change(path, content, progress) {
  const answer = await ask(base + path, {
    method: "POST", body: JSON.stringify(content || {}),
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
  });
  try {
    for await (const line of lines(answer)) {
      if (line.type === "progress") progress(line.message);
      if (line.type === "done") return line.result;
      if (line.type === "problem") {
        if (line.problem.reason === "session") signIn();
        throw new Problem(line.problem);
      }
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
  }
  throw new Problem({ reason: "slow", message: "The connection broke meanwhile. What was asked for stays asked for: the list shows what becomes of it." });
}

// silence is how long a stream may say nothing: it pings more often.
const silence = 35000;

// follow tells of all lines of the stream, for ever: it begins again when the stream ends. A problem is told as one more line.
export async function follow(tell) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 10000)) {
    const stop = new AbortController();
    let timer;
    const alive = () => { clearTimeout(timer); timer = setTimeout(() => stop.abort(), silence); };
    try {
      alive();
      for await (const line of lines(await ask(base + "/stream", { signal: stop.signal }))) {
        alive();
        if (line.type === "synced") wait = 500;
        if (line.type === "problem" && line.problem.reason === "session") return signIn();
        tell(line);
      }
      throw away();
    } catch (error) {
      const problem = error instanceof Problem ? error : away();
      if (problem.reason === "session") return;
      tell({ type: "problem", problem: { reason: problem.reason, message: problem.message } });
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
