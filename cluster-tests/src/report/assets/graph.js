// Who can talk to whom at the moment of the cursor, and what everybody said of itself.

const GRAPH = 240;

function placeOf(number, count) {
  const angle = -Math.PI / 2 + (2 * Math.PI * number) / count;
  const radius = GRAPH / 2 - 34;
  return { x: GRAPH / 2 + radius * Math.cos(angle), y: GRAPH / 2 + radius * Math.sin(angle) };
}

const weatherAt = (at) => (lastAt(D.strip.weather, at, (change) => change[0]) || [0, []])[1];

/// One link: whole, cut both ways, one way only, or bad.
function drawLink(a, b, ways, absent) {
  const quality = (from, to) => {
    const way = ways.find((w) => w[0] === from && w[1] === to);
    return way ? D.strip.qualities[way[2]] : undefined;
  };
  const [there, back] = [quality(a.node, b.node), quality(b.node, a.node)];
  const line = (attributes) => sv("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, ...attributes });
  if (absent) return line({ stroke: "var(--line)", "stroke-width": 1 });
  const [cutThere, cutBack] = [there && there.cut, back && back.cut];
  const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  if (cutThere && cutBack) {
    const cross = (dx, dy) => sv("line", { x1: middle.x - dx, y1: middle.y - dy, x2: middle.x + dx, y2: middle.y + dy, stroke: "var(--cut)", "stroke-width": 2.5, "stroke-linecap": "round" });
    return sv("g", {}, line({ stroke: "var(--rule)", "stroke-width": 1, "stroke-dasharray": "2 5" }), cross(5, 5), cross(5, -5));
  }
  if (cutThere || cutBack) {
    // The arrow points where messages still arrive.
    const [from, to] = cutThere ? [b, a] : [a, b];
    const long = Math.hypot(to.x - from.x, to.y - from.y) || 1;
    const [ux, uy] = [(to.x - from.x) / long, (to.y - from.y) / long];
    const tipAt = { x: to.x - ux * 25, y: to.y - uy * 25 };
    const wing = (side) => `${tipAt.x - ux * 11 + side * uy * 6},${tipAt.y - uy * 11 - side * ux * 6}`;
    return sv("g", {},
      sv("line", { x1: from.x, y1: from.y, x2: tipAt.x - ux * 8, y2: tipAt.y - uy * 8, stroke: "var(--cut)", "stroke-width": 2 }),
      sv("polygon", { points: `${tipAt.x},${tipAt.y} ${wing(1)} ${wing(-1)}`, fill: "var(--cut)" }));
  }
  if (there || back) return line({ stroke: "var(--link)", "stroke-width": 2, "stroke-dasharray": "7 4" });
  return line({ stroke: "var(--faint)", "stroke-width": 1.5 });
}

function drawGraph(box) {
  const ways = weatherAt(view.at);
  const known = D.strip.nodes.filter((node) => node.spans.some((span) => span.from <= view.at));
  const shown = (known.length ? known : D.strip.nodes).filter((node) => spanAt(node, view.at).role !== "gone");
  const places = shown.map((node, number) => ({ node: node.node, data: node, span: spanAt(node, view.at), ...placeOf(number, shown.length) }));
  const away = (place) => ["down", "power-cut", "gone"].includes(place.span.role);
  const links = [];
  places.forEach((a, i) => places.slice(i + 1).forEach((b) => links.push(drawLink(a, b, ways, away(a) || away(b)))));
  const circles = places.map((place) => {
    const role = place.span.role;
    const leads = role === "leader";
    const known = role !== "silent";
    return sv("g", {},
      sv("circle", { cx: place.x, cy: place.y, r: 20, fill: known ? ofRole(role) : "var(--paper)", stroke: leads ? "var(--leader)" : "var(--rule)", "stroke-width": leads ? 2 : 1.25, "stroke-dasharray": known ? undefined : "3 3" }),
      sv("circle", { cx: place.x, cy: place.y, r: away(place) || role === "paused" ? 11 : 0, fill: "var(--paper)" }),
      sv("text", { x: place.x, y: place.y + (place.span.term ? -1 : 4), "text-anchor": "middle", class: "strong", style: leads ? "fill:var(--on-leader)" : role === "candidate" ? "fill:#15181d" : undefined }, "n" + place.node),
      place.span.term ? sv("text", { x: place.x, y: place.y + 11, "text-anchor": "middle", style: "font-size:9px;" + (leads ? "fill:var(--on-leader)" : role === "candidate" ? "fill:#15181d" : "fill:var(--soft)") }, "t" + place.span.term) : null);
  });
  const spoken = places.map((p) => `n${p.node} ${ROLES[p.span.role] || p.span.role}`).join(", ");
  const cuts = ways.filter((way) => D.strip.qualities[way[2]].cut).map((way) => `n${way[0]} to n${way[1]}`).join(", ");
  put(box,
    sv("svg", { viewBox: `0 0 ${GRAPH} ${GRAPH}`, role: "img", "aria-label": `At ${clock(view.at)}: ${spoken}. ${cuts ? "Cut: " + cuts : "No link is cut"}.` }, links, circles));
}

function drawReadout(box) {
  const faults = faultsAt(view.at);
  const bucket = Math.floor(view.at / D.load.width);
  const perSecond = (list) => (list[bucket] || 0) / (D.load.width / 1e6);
  const rows = D.strip.nodes.filter((node) => node.spans.some((span) => span.from <= view.at)).map((node) => {
    const span = spanAt(node, view.at);
    const position = lastAt(node.positions, view.at, (p) => p[0]);
    return el("tr", {},
      el("th", { scope: "row" }, "n" + node.node),
      el("td", {}, el("span", { class: "chip" }, swatch(span.role), ROLES[span.role] || span.role)),
      el("td", { class: "number" }, span.term || "–"),
      el("td", { class: "number optional" }, position ? grouped(position[2]) : "–"),
      el("td", { class: "number optional" }, position ? grouped(position[3]) : "–"));
  });
  put(box,
    el("div", { class: "clock" }, clock(view.at)),
    el("div", { class: "faults" }, faults.length ? faults.map((fault) => el("div", {}, chip(fault.family, fault.label), el("div", {}, fault.text))) : "No fault"),
    el("div", {}, `${grouped(perSecond(D.load.ok))} answers/s, p50 ${lasted(D.load.p50[bucket] || 0)}, p99 ${lasted(D.load.p99[bucket] || 0)}`),
    el("table", {},
      el("thead", {}, el("tr", {}, el("th", {}), el("th", {}, "role"), el("th", { class: "number" }, "term"), el("th", { class: "number optional", title: "committed log index" }, "committed"), el("th", { class: "number optional", title: "applied log index" }, "applied"))),
      el("tbody", {}, rows)));
}
