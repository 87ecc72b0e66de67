// A violation: who asked what when, what cannot be, and the state it contradicts. Time is compressed
// to the order of events, as porcupine draws it: what matters is what came before what.

const LANE = { left: 96, row: 46, box: 34, least: 46, right: 14 };

function violations() {
  if (!D.scenes.length) return;
  const section = $("violations");
  section.hidden = false;
  put(section,
    el("h2", {}, D.scenes.length === 1 ? "What is wrong" : `What is wrong, ${D.scenes.length} pictures`),
    el("p", { class: "lead" }, "Every picture shows the fewest events that cannot all be true together."),
    D.scenes.map((scene, number) => drawScene(scene, number)),
    D.scenes_more ? el("p", { class: "note" }, `${counted(D.scenes_more, "further violation is", "further violations are")} in report.json.`) : null);
}

function drawScene(scene, number) {
  const lanes = el("div", { class: "lanes", tabindex: 0, role: "group", "aria-label": "Operations by client and time" });
  const table = el("div", { class: "scroll" });
  const around = scene.operations.filter((operation) => operation.part === "around").length;
  const only = el("input", { type: "checkbox" });
  const draw = () => {
    const shown = scene.operations.filter((operation) => only.checked || operation.part !== "around");
    drawLanes(lanes, shown);
    drawOperations(table, shown, lanes);
  };
  only.addEventListener("change", draw);
  const body = [];
  if (scene.operations.length) {
    body.push(lanes);
    const tools = [];
    if (around) tools.push(el("label", {}, only, `show ${counted(around, "other call", "other calls")} on ${scene.key || "this key"} around it`));
    if (scene.left_out) tools.push(el("span", { class: "note" }, `${counted(scene.left_out, "earlier call", "earlier calls")} of this violation not drawn`));
    if (tools.length) body.push(el("div", { class: "tools" }, tools));
    body.push(table);
    view.redraws.push(draw);
    new ResizeObserver(draw).observe(lanes);
  }
  if (scene.responses.length) body.push(drawResponses(scene));
  return el("article", { class: "scene", id: "scene-" + number },
    el("p", { class: "judge" }, scene.judge + (scene.key ? ", key " + scene.key : "")),
    el("h3", {}, scene.title),
    scene.explanation ? el("p", {}, scene.explanation) : null,
    scene.contradicts ? el("div", { class: "contradicts" }, el("span", {}, "contradicts"), scene.contradicts) : null,
    scene.at !== null ? el("p", { class: "note" }, "It shows at ", el("button", { type: "button", class: "link", onclick: () => show(scene.at, 1.5e6) }, clock(scene.at, 3)), faultWords(scene.at)) : null,
    body);
}

function faultWords(at) {
  const faults = faultsAt(at);
  if (faults.length) return ", during " + faults.map((fault) => fault.label).join(" and ") + ".";
  const before = FAULTS.filter((fault) => fault.ended <= at).pop();
  return before ? `, ${lasted(at - before.ended)} after ${before.label} healed.` : ", before any fault.";
}

/// Places every beginning and end on an axis of order, with a little of the true distance kept.
function orderAxis(operations, wide) {
  const times = [...new Set(operations.flatMap((o) => (o.open ? [o.invoked] : [o.invoked, o.completed])))].sort((a, b) => a - b);
  const weights = times.map((at, i) => (i ? 1 + Math.log10(1 + (at - times[i - 1]) / 1000) * 0.25 : 0));
  const total = weights.reduce((sum, weight) => sum + weight, 0) + 1;
  const unit = Math.max(LANE.least, (wide - LANE.left - LANE.right) / total);
  const places = new Map();
  let x = LANE.left;
  times.forEach((at, i) => {
    x += weights[i] * unit;
    places.set(at, x);
  });
  return { times, places, end: x + unit };
}

function drawLanes(box, operations) {
  const clients = [...new Set(operations.map((o) => o.client))];
  const { times, places, end } = orderAxis(operations, Math.max(box.clientWidth, 300));
  const high = clients.length * LANE.row + 30;
  const parts = [];
  clients.forEach((client, row) => {
    const y = row * LANE.row;
    parts.push(sv("text", { x: 0, y: y + 22, class: "strong" }, client.length > 14 ? client.slice(0, 13) + "…" : client));
    parts.push(sv("line", { class: "grid", x1: LANE.left, x2: end, y1: y + LANE.row - 3, y2: y + LANE.row - 3 }));
  });
  const start = times[0] || 0;
  let free = 0;
  for (const at of times) {
    const x = places.get(at);
    parts.push(sv("line", { class: "grid", x1: x, x2: x, y1: 0, y2: high - 24, "stroke-dasharray": "1 3" }));
    if (x < free) continue;
    const words = at === start ? clock(at, 3) : "+" + lasted(at - start);
    parts.push(sv("text", { x, y: high - 8, "text-anchor": "middle", class: "faint" }, words));
    free = x + words.length * 6 + 18;
  }
  operations.forEach((operation, i) => parts.push(drawBox(operation, i, clients.indexOf(operation.client) * LANE.row, places, end)));
  put(box, sv("svg", { width: end + LANE.right, height: high, role: "img", "aria-label": `${operations.length} calls of ${clients.length} clients; the table below lists them in order` }, parts));
}

function drawBox(operation, number, y, places, end) {
  const x = places.get(operation.invoked);
  const wide = Math.max((operation.open ? end : places.get(operation.completed)) - x - 3, 8);
  const offends = operation.part === "offender";
  const faint = operation.part === "around";
  const ok = operation.outcome === "ok";
  const fill = offends ? "var(--bad)" : ok && !faint ? "var(--follower)" : "var(--raised)";
  const edge = offends ? "var(--bad)" : ok && !faint ? "var(--leader)" : "var(--rule)";
  const ink = offends ? "fill:var(--on-bad)" : faint ? "fill:var(--faint)" : "fill:var(--ink)";
  const room = Math.floor((wide - 26) / 6.1);
  const cut = (text) => (text.length > room ? (room > 3 ? text.slice(0, room - 1) + "…" : "") : text);
  const text = `${number + 1}. ${operation.client}, n${operation.node}\n${operation.call}\n→ ${operation.answer}\n${clock(operation.invoked, 4)} to ${operation.open ? "unknown: it may take effect at any time after" : clock(operation.completed, 4)}`;
  return sv("g", { class: "box", "data-operation": number, ...hover(text) },
    sv("rect", { x, y: y + 3, width: wide, height: LANE.box, rx: 3, fill, stroke: edge, "stroke-dasharray": operation.open ? "4 3" : undefined }),
    sv("text", { x: x + 6, y: y + 17, style: ink + ";font-weight:650" }, String(number + 1)),
    sv("text", { x: x + 22, y: y + 17, style: ink }, cut(operation.call)),
    sv("text", { x: x + 22, y: y + 31, style: ink + ";opacity:.8" }, cut(operation.answer)));
}

function drawOperations(box, operations, lanes) {
  const light = (number, on) => {
    for (const one of lanes.querySelectorAll(`[data-operation="${number}"]`)) one.classList.toggle("lit", on);
  };
  put(box, el("table", {},
    el("thead", {}, el("tr", {}, ["", "client", "member", "asked", "took", "call", "answer"].map((word) => el("th", {}, word)))),
    el("tbody", {}, operations.map((operation, number) =>
      el("tr", { class: operation.part, onpointerenter: () => light(number, true), onpointerleave: () => light(number, false) },
        el("th", { scope: "row", class: "number", title: `line ${operation.number + 1} of operations.jsonl` }, String(number + 1)),
        el("td", {}, operation.client),
        el("td", {}, "n" + operation.node),
        el("td", { class: "number" }, clock(operation.invoked, 4)),
        el("td", { class: "number" }, operation.open ? "unknown" : lasted(operation.completed - operation.invoked)),
        el("td", { class: "break" }, el("code", {}, operation.call)),
        el("td", { class: "break" }, el("code", {}, operation.answer), operation.part === "offender" ? el("small", {}, "cannot be") : null))))));
}

/// What a watcher was told around the response that is wrong: each response a step to its last revision.
function drawResponses(scene) {
  const responses = scene.responses;
  const wide = 60 + responses.length * 44;
  const high = 190;
  const [low, top] = [Math.min(...responses.map((r) => r.first)), Math.max(...responses.map((r) => r.last))];
  const y = (revision) => high - 44 - ((revision - low) / Math.max(1, top - low)) * (high - 74);
  const parts = [];
  responses.forEach((response, i) => {
    const x = 50 + i * 44;
    const before = responses[i - 1];
    if (before) parts.push(sv("line", { x1: x - 44, y1: y(before.last), x2: x, y2: y(response.first), stroke: response.wrong ? "var(--bad)" : "var(--rule)", "stroke-width": response.wrong ? 2.5 : 1.25, "stroke-dasharray": response.wrong ? "5 3" : undefined }));
    parts.push(sv("rect", { x: x - 5, width: 10, y: y(response.last) - 4, height: y(response.first) - y(response.last) + 8, rx: 3, fill: response.wrong ? "var(--bad)" : response.events ? "var(--leader)" : "var(--paper)", stroke: response.wrong ? "var(--bad)" : "var(--leader)", ...hover(`response ${response.number}, ${clock(response.at, 4)}\n${response.text}`) }));
    parts.push(sv("text", { x, y: y(response.last) - 10, "text-anchor": "middle", class: response.wrong ? "strong" : undefined, style: response.wrong ? "fill:var(--bad)" : undefined }, String(response.last)));
    parts.push(sv("text", { x, y: high - 8, "text-anchor": "middle", class: "faint" }, i ? "+" + lasted(response.at - responses[0].at) : clock(response.at)));
  });
  const watcher = scene.watch ? scene.watch[0] : "the watcher";
  return el("div", {},
    el("p", { class: "note" }, `Revisions that ${watcher} was told, response by response.`),
    el("div", { class: "lanes", tabindex: 0, role: "group", "aria-label": "Responses to " + watcher },
      sv("svg", { width: wide, height: high, role: "img", "aria-label": responses.map((r) => `${r.text}${r.wrong ? " (wrong)" : ""}`).join("; ") }, parts)));
}
