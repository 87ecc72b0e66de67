"use strict";
// What all parts use: the data, words, elements, colours, and the one moment that everything shows.

const D = JSON.parse(document.getElementById("data").textContent);
const ABOUT = D.about;
const SVG = "http" + "://www.w3.org/2000/svg";

const FAMILIES = {
  cut: "links cut",
  link: "links bad",
  crash: "killed",
  pause: "slow or stopped",
  change: "members or leader changed",
};
const ROLES = {
  leader: "leader",
  follower: "follower",
  candidate: "candidate",
  learner: "learner",
  paused: "stands still",
  down: "down",
  "power-cut": "lost power",
  gone: "removed",
  silent: "not heard of",
};

// --- Elements. Text goes in as text: what a key or an error says is never markup.

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(9)) {
    if (child !== undefined && child !== null && child !== false) made.append(child);
  }
  return made;
}
/// In place of what was in it.
const put = (box, ...children) => { box.replaceChildren(); return fill(box, {}, children); };
const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const sv = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const $ = (id) => document.getElementById(id);

// --- Words.

const grouped = (number) => Math.round(number).toLocaleString("en");
const compact = (number) =>
  number < 1000 ? String(number) : number < 99500 ? (number / 1000).toFixed(number < 9950 ? 1 : 0) + "k" : (number / 1e6).toFixed(1) + "M";
function lasted(us) {
  if (us < 1000) return us + " µs";
  if (us < 999500) return (us / 1000).toFixed(us < 9950 ? 1 : 0) + " ms";
  const s = us / 1e6;
  return (s < 9.995 ? s.toFixed(2) : s < 99.95 ? s.toFixed(1) : String(Math.round(s))) + " s";
}
const clock = (us, digits) => (us / 1e6).toFixed(digits ?? 2) + " s";
const counted = (number, one, many) => grouped(number) + " " + (number === 1 ? one : many);
const bytes = (count) => (count < 1000 ? count + " B" : count < 1e6 ? Math.round(count / 1000) + " kB" : (count / 1e6).toFixed(1) + " MB");
const percent = (part, whole) => (whole ? Math.round((1000 * part) / whole) / 10 : 0);

// --- Colours, as the style says; asked anew when the theme changes.

let style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue("--" + name).trim();
const ofFamily = (family) => `var(--${family in FAMILIES ? family : "crash"})`;
const ofRole = (role) =>
  role === "down" || role === "power-cut" || role === "gone"
    ? "url(#hatch)"
    : role === "paused"
      ? "url(#dots)"
      : `var(--${role in ROLES && role !== "silent" ? role : "follower"})`;

// Patterns: what is down is not only another grey.
function patterns() {
  return sv("svg", { width: 0, height: 0, style: "position:absolute", "aria-hidden": "true" },
    sv("defs", {},
      sv("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        sv("rect", { width: 6, height: 6, fill: "var(--absent)" }),
        sv("line", { x1: 0, y1: 0, x2: 0, y2: 6, stroke: "var(--hatch)", "stroke-width": 2 })),
      sv("pattern", { id: "dots", width: 5, height: 5, patternUnits: "userSpaceOnUse" },
        sv("rect", { width: 5, height: 5, fill: "var(--absent)" }),
        sv("circle", { cx: 2.5, cy: 2.5, r: 1.1, fill: "var(--hatch)" }))));
}
function swatch(role) {
  const kind = ofRole(role);
  if (kind === "url(#hatch)") return el("span", { class: "swatch hatched" });
  if (kind === "url(#dots)") return el("span", { class: "swatch dotted" });
  return el("span", { class: "swatch", style: "background:" + kind });
}
const chip = (family, text) => el("span", { class: "chip" }, el("i", { style: "background:" + ofFamily(family) }), text);

// --- The moment. Charts show a stretch of the run; the cursor is a moment of it.

const view = { from: 0, to: Math.max(D.end, 1), at: 0, watchers: [], redraws: [] };
const whole = () => view.from === 0 && view.to === Math.max(D.end, 1);
function moveTo(at) {
  view.at = Math.max(0, Math.min(Math.max(D.end, 1), at));
  for (const watcher of view.watchers) watcher();
}
function zoom(from, to) {
  const end = Math.max(D.end, 1);
  const least = Math.min(end, 200000);
  view.from = Math.max(0, Math.min(from, end - least));
  view.to = Math.min(end, Math.max(to, view.from + least));
  redraw();
}
function redraw() {
  for (const draw of view.redraws) draw();
  moveTo(view.at);
}
/// To a moment on the timeline, with what is around it.
function show(at, around) {
  zoom(at - around, at + around);
  moveTo(at);
  $("timeline").scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
}
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const FAULTS = D.summary.faults.filter((fault) => !fault.skipped);
const faultsAt = (at) => FAULTS.filter((fault) => fault.began <= at && at < fault.ended);
/// The last of a list sorted by its first field that is not after `at`.
function lastAt(list, at, time) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (time(list[middle]) <= at) low = middle + 1;
    else high = middle;
  }
  return low ? list[low - 1] : undefined;
}
function spanAt(node, at) {
  const span = lastAt(node.spans, at, (s) => s.from);
  return span && at < span.to ? span : { role: "silent", term: 0 };
}

// --- Ticks and the tip.

function ticks(from, to, wanted) {
  const rough = (to - from) / Math.max(wanted, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) || rough;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return { at: found, step };
}
function tip(event, text) {
  const box = $("tip");
  box.textContent = text;
  box.hidden = false;
  const wide = box.offsetWidth;
  box.style.left = Math.max(8, Math.min(event.clientX + 14, innerWidth - wide - 8)) + "px";
  const below = event.clientY + 18;
  box.style.top = (below + box.offsetHeight > innerHeight ? event.clientY - box.offsetHeight - 12 : below) + "px";
}
const untip = () => { $("tip").hidden = true; };
const hover = (text) => ({ onpointermove: (event) => tip(event, text), onpointerleave: untip });
