"use strict";
const at = (id) => document.getElementById(id);
const [scroller, list, form, text, send] = ["scroll", "messages", "form", "text", "send"].map(at);
const NEW_LINE = "\n";
let about = { model: "", context: 0, chats: true, examples: [] };
let history = [];
let running = null; // the AbortController of the answer under way
let key = "";

function make(kind, className, content = "") {
  const node = document.createElement(kind);
  node.className = className;
  node.textContent = content;
  return node;
}

// The model's words become text nodes only; backticks choose between plain text, code and a block of code.
function show(node, words) {
  node.replaceChildren();
  for (const [n, block] of words.split("```").entries()) {
    if (n % 2) {
      const pre = node.appendChild(make("pre", ""));
      pre.append(make("code", "", block.replace(/^[\w+-]*\n/, "").replace(/\n$/, "")));
      continue;
    }
    let end = n && block.startsWith(NEW_LINE) ? 1 : 0; // a block of code ends its line already
    for (const found of block.matchAll(/(``?)([^`\n]+)\1/g)) {
      node.append(block.slice(end, found.index), make("code", "", found[2]));
      end = found.index + found[0].length;
    }
    node.append(block.slice(end));
  }
}

function atBottom() { return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60; }
function toBottom() { scroller.scrollTop = scroller.scrollHeight; }

function add(role, words) {
  const node = list.appendChild(make("div", "message " + role));
  show(node, words);
  toBottom();
  return node;
}
function note(words, wrong) {
  list.append(make("div", wrong ? "note wrong" : "note", words));
  toBottom();
}

function headers() {
  const all = { "Content-Type": "application/json" };
  if (key) all.Authorization = "Bearer " + key;
  return all;
}

function request(prompt) {
  const body = { model: about.model, stream: true, temperature: Number(at("temperature").value) };
  body.max_tokens = Math.max(1, Math.floor(Number(at("most").value)) || 256);
  if (about.chats) return ["/v1/chat/completions", { ...body, messages: history, drop_oldest: true }];
  return ["/v1/completions", { ...body, prompt }];
}

async function refused(response) {
  if (response.status === 401) at("keyform").hidden = false;
  try { return (await response.json()).error.message; } catch { return "The server answered " + response.status + "."; }
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (waiting + value).split(NEW_LINE);
    waiting = lines.pop();
    for (const line of lines) {
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}

async function answer(prompt) {
  const node = add("assistant", "");
  const turns = history; // a new chat begins a new list: what still comes for the old one is dropped
  node.classList.add("live");
  running = new AbortController();
  refresh();
  let words = "", finish = null, error = "";
  try {
    const [path, body] = request(prompt);
    const response = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(body), signal: running.signal });
    if (!response.ok) throw new Error(await refused(response));
    const dropped = Number(response.headers.get("X-Dropped-Messages"));
    if (dropped) {
      turns.splice(0, dropped);
      node.before(make("div", "note", "The oldest messages were left out: the model reads " + about.context + " tokens at once."));
    }
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      const choice = event.choices[0];
      if (!choice) continue;
      const follow = atBottom();
      words += (choice.delta ? choice.delta.content : choice.text) || "";
      finish = choice.finish_reason || finish;
      show(node, words);
      if (follow) toBottom();
    }
  } catch (problem) {
    if (problem.name === "AbortError") finish = "stopped";
    else error = problem instanceof TypeError ? "The server cannot be reached. Is it still running?" : problem.message;
  }
  node.classList.remove("live");
  if (turns !== history) return;
  running = null;
  ended(node, words, finish, error);
}

function ended(node, words, finish, error) {
  const reason = { length: "Ended at the longest answer allowed, or at the end of what the model reads.", stopped: "Stopped." }[finish];
  if (reason) node.append(make("span", "end", reason));
  if (words || finish === "stop") history.push({ role: "assistant", content: words });
  else { // nothing came: the question goes back to where it was typed
    const question = node.previousElementSibling;
    text.value = history.pop().content;
    node.remove();
    if (question && question.classList.contains("user")) question.remove();
  }
  if (error) note(error, true);
  refresh();
  text.focus();
}

function ask(question) {
  if (running || !question.trim()) return;
  at("welcome").hidden = true;
  history.push({ role: "user", content: question });
  add("user", question);
  text.value = "";
  answer(question);
}

function refresh() {
  document.body.classList.toggle("busy", running !== null);
  send.disabled = running === null && !text.value.trim();
  send.setAttribute("aria-label", running ? "Stop" : "Send");
  text.style.height = "auto";
  text.style.height = text.scrollHeight + "px";
  at("temperature_shown").value = Number(at("temperature").value).toFixed(1);
}

function settings(open) {
  at("panel").hidden = !open;
  at("settings").setAttribute("aria-expanded", String(open));
}

async function start() {
  const response = await fetch("/v1/scratchlm/about", { headers: headers() });
  if (!response.ok) return note(await refused(response), true);
  about = await response.json();
  document.title = about.model + " – scratchLM";
  at("model").textContent = about.model;
  at("about").textContent = about.chats
    ? "A language model built from scratch, running on this server. It reads " + about.context + " tokens at once."
    : "This model was never taught to converse: it continues whatever text you begin.";
  if (!about.chats) {
    at("greeting").textContent = "Begin a text";
    text.placeholder = "Once upon a time";
    at("temperature").value = 0.8;
  }
  at("examples").replaceChildren(...about.examples.map((question) => {
    const button = make("button", "example");
    show(button, question);
    button.addEventListener("click", () => ask(question));
    return button;
  }));
  refresh();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) running.abort();
  else ask(text.value);
});
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask(text.value);
});
text.addEventListener("input", refresh);
at("temperature").addEventListener("input", refresh);
at("settings").addEventListener("click", () => settings(at("panel").hidden));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (!at("panel").hidden) settings(false);
  else if (running) running.abort();
});
scroller.addEventListener("click", () => settings(false));
at("fresh").addEventListener("click", () => {
  if (running) running.abort();
  running = null;
  history = [];
  list.replaceChildren();
  at("welcome").hidden = false;
  settings(false);
  text.focus();
});
at("keyform").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value;
  at("keyform").hidden = true;
  list.replaceChildren();
  start();
});
start().catch(() => note("The server cannot be reached. Is it still running?", true));
refresh();
