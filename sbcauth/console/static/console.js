// What the pages do besides being pages: they all work without it.
"use strict";

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "short" });
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

function inReadersZone(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const at = new Date(each.dateTime);
    if (!Number.isNaN(at.getTime())) {
      const today = day.format(at) === day.format(new Date());
      each.title = whole.format(at);
      each.textContent = today ? time.format(at) : `${day.format(at)}, ${time.format(at)}`;
    }
  }
}

// Says that what stands here may be old, once nothing has been heard for some seconds.
const lost = document.querySelector("#lost");
let losing = 0;
function heard() { clearTimeout(losing); losing = 0; if (lost) lost.hidden = true; }
function notHeard() { losing ||= setTimeout(() => { if (lost) lost.hidden = false; }, 5000); }

// The page Now: the server sends the same HTML that it has put into the page at first.
function follow(place) {
  const said = document.querySelector("#said");
  let refused = Number(place.querySelector("[data-refused]")?.dataset.refused ?? 0);
  let next = 0;
  let events = null;
  function show(event) {
    heard();
    if (place.contains(document.activeElement) && document.activeElement !== document.body
        && place.querySelector(":focus-visible")) return; // who reads there is not disturbed
    if (!getSelection().isCollapsed && place.contains(getSelection().anchorNode)) return;
    const open = place.querySelector("details")?.open;
    place.innerHTML = event.data;
    if (open) place.querySelector("details")?.setAttribute("open", "");
    inReadersZone(place);
    const now = Number(place.querySelector("[data-refused]")?.dataset.refused ?? refused);
    if (now > refused && Date.now() > next) {
      said.textContent = `${now - refused} more refused`;
      next = Date.now() + 15000;
      refused = now;
    }
  }
  async function failed() {
    notHeard();
    if (events?.readyState !== EventSource.CLOSED) return; // else it tries again by itself
    events = null;
    if (await isLoggedIn()) setTimeout(turn, 5000);
  }
  // A browser has few connections to a site: a page that is not seen holds none.
  function turn() {
    if (document.hidden) { events?.close(); events = null; }
    if (document.hidden || events) return;
    events = new EventSource(place.dataset.live);
    events.onmessage = show;
    events.onerror = failed;
  }
  document.addEventListener("visibilitychange", turn);
  turn();
}

// Whose session has ended is led to the login.
async function isLoggedIn() {
  try {
    const answer = await fetch(location.href, { headers: { "X-Part": "1", "X-Unattended": "1" } });
    if (answer.status !== 401) return true;
    location.reload();
    return false;
  } catch { return true; } // nothing answers so far
}

// The page of a user: what is known of it, again and again, while somebody looks.
function lookAgain(place) {
  async function look() {
    const began = Date.now();
    if (!document.hidden && !place.querySelector(":focus-visible") && getSelection().isCollapsed) {
      try {
        const answer = await fetch(place.dataset.again, { headers: { "X-Part": "1", "X-Unattended": "1" } });
        if (answer.status === 401) return location.reload();
        const text = await answer.text();
        if (answer.ok) heard(); else notHeard();
        if (answer.ok && !place.querySelector(":focus-visible")) {
          place.innerHTML = text;
          inReadersZone(place);
        }
      } catch { notHeard(); }
    }
    setTimeout(look, Math.max(2000, 10 * (Date.now() - began)));
  }
  setTimeout(look, 2000);
}

// Forms that search as one types: the answer is the part of the page that changes.
function searchAsOneTypes(form) {
  const target = document.querySelector(form.dataset.search);
  let waiting = 0;
  let asking = new AbortController();
  async function ask() {
    asking.abort();
    asking = new AbortController();
    const address = `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
    try {
      const answer = await fetch(address, { headers: { "X-Part": "1" }, signal: asking.signal });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) return;
      target.innerHTML = await answer.text();
      inReadersZone(target);
      history.replaceState(null, "", address);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, 120); });
}

// The configuration: numbers beside its lines, those with a mistake marked, while one types.
function checkAsOneTypes(form) {
  const text = form.querySelector("textarea");
  const gutter = form.querySelector("#gutter");
  const findings = document.querySelector("#findings");
  let waiting = 0;
  let asking = new AbortController();
  function number() {
    const marked = new Map();
    for (const each of findings.querySelectorAll("li[data-line]")) {
      marked.set(Number(each.dataset.line), each.parentElement.classList.contains("error") ? "error" : "warning");
    }
    const count = text.value.split("\n").length;
    gutter.replaceChildren(...Array.from({ length: count }, (_, place) => {
      const line = document.createElement("span");
      line.textContent = String(place + 1);
      if (marked.has(place + 1)) line.className = marked.get(place + 1);
      return line;
    }));
    gutter.scrollTop = text.scrollTop;
  }
  async function check() {
    asking.abort();
    asking = new AbortController();
    try {
      const answer = await fetch(form.dataset.check, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        signal: asking.signal,
      });
      if (answer.status === 401) return location.reload();
      if (answer.ok) findings.innerHTML = await answer.text();
      number();
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }
  text.addEventListener("input", () => { number(); clearTimeout(waiting); waiting = setTimeout(check, 300); });
  text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
  findings.addEventListener("click", (event) => {
    const line = Number(event.target.dataset?.go ?? 0);
    if (!line) return;
    const begin = text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    const end = text.value.indexOf("\n", begin);
    text.focus();
    text.setSelectionRange(begin, end < 0 ? text.value.length : end);
    text.scrollTop = (line - 4) * (text.scrollHeight / text.value.split("\n").length);
  });
  number();
}

inReadersZone(document);
for (const each of document.querySelectorAll("[data-zone]")) {
  each.textContent = `Times: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
}
for (const each of document.querySelectorAll("[data-live]")) follow(each);
for (const each of document.querySelectorAll("[data-again]")) lookAgain(each);
for (const each of document.querySelectorAll("[data-search]")) searchAsOneTypes(each);
for (const each of document.querySelectorAll("[data-check]")) checkAsOneTypes(each);
document.addEventListener("click", async (event) => {
  const from = event.target.dataset?.copy;
  if (!from) return;
  await navigator.clipboard.writeText(document.querySelector(from).textContent);
  event.target.textContent = "Copied";
});
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  const first = document.querySelector("[data-first]");
  if (event.key === "/" && !typing && first) {
    event.preventDefault();
    first.focus();
  }
});
// Who follows a link to what is folded sees it open, and may type.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target?.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView();
  target.querySelector("input:not([type=hidden]), select")?.focus();
}
addEventListener("hashchange", openTarget);
openTarget();
