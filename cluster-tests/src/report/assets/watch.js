// What watchers were told: revision against time, one picture a watcher, all on the same axes.

const WATCH = { left: 46, right: 6, high: 110, bottom: 18 };

function watches() {
  const lanes = D.watch.lanes;
  if (!lanes.length) return;
  const section = $("watches");
  section.hidden = false;
  const boxes = lanes.map((lane) => el("div", { class: "watcher" }));
  put(section,
    el("h2", {}, "What watchers were told"),
    el("p", { class: "lead" }, `${counted(D.watch.events, "event", "events")} to ${counted(D.watch.of, "watcher", "watchers")}, revision against time. A vertical line is a new stream; from there on nothing may be missing and nothing may come twice.`),
    el("div", { class: "watchers" }, boxes),
    lanes.length < D.watch.of ? el("p", { class: "note" }, `${lanes.length} of ${D.watch.of} watchers are drawn, those with something wrong first, then of every workload those that were told most.`) : null);
  const most = Math.max(1, ...lanes.flatMap((lane) => lane.points.map((point) => point[1])));
  const draw = () => lanes.forEach((lane, i) => drawWatcher(boxes[i], lane, most));
  view.redraws.push(draw);
  new ResizeObserver(draw).observe(section);
}

function drawWatcher(box, lane, most) {
  const wide = Math.max(200, box.clientWidth);
  const [left, width] = [WATCH.left, wide - WATCH.left - WATCH.right];
  const floor = WATCH.high - WATCH.bottom;
  const x = (at) => left + (at / Math.max(D.end, 1)) * width;
  const y = (revision) => floor - (revision / most) * (floor - 6);
  const parts = FAULTS.map((fault) => sv("rect", { x: x(fault.began), width: Math.max(1, x(fault.ended) - x(fault.began)), y: 0, height: floor, fill: ofFamily(fault.family), opacity: 0.1, ...hover(`${fault.label}\n${fault.text}`) }));
  for (const revision of ticks(0, most, 2).at) {
    parts.push(sv("line", { class: "grid", x1: left, x2: left + width, y1: y(revision), y2: y(revision) }));
    parts.push(sv("text", { x: left - 6, y: y(revision) + 4, "text-anchor": "end" }, compact(revision)));
  }
  for (const at of ticks(0, D.end, Math.max(2, width / 90)).at) {
    parts.push(sv("text", { x: x(at), y: WATCH.high - 4, "text-anchor": at === 0 ? "start" : x(at) > left + width - 12 ? "end" : "middle" }, (at / 1e6).toFixed(0) + " s"));
  }
  for (const [number, stream] of lane.streams.entries()) {
    const from = stream.start_revision ? `from revision ${stream.start_revision}` : "from now on";
    parts.push(sv("g", hover(`stream ${number + 1} on n${stream.node}, ${from}\nopened ${clock(stream.opened)}`),
      sv("line", { x1: x(stream.opened), x2: x(stream.opened), y1: 0, y2: floor, stroke: "var(--rule)" }),
      sv("rect", { x: x(stream.opened) - 4, width: 8, y: 0, height: floor, fill: "transparent" })));
    if (stream.cancelled !== null && stream.ended !== null) {
      const at = x(stream.ended);
      parts.push(sv("path", { d: `M${at - 4},${floor - 8}l8,8m0,-8l-8,8`, stroke: "var(--doubt)", "stroke-width": 2, fill: "none", ...hover(`cancelled: ${stream.reason}`) }));
    }
  }
  if (lane.points.length) {
    // Steps: between two events nothing was told.
    let path = `M${x(lane.points[0][0]).toFixed(1)},${y(lane.points[0][1]).toFixed(1)}`;
    for (const [at, revision] of lane.points.slice(1)) path += `H${x(at).toFixed(1)}V${y(revision).toFixed(1)}`;
    parts.push(sv("path", { d: path, fill: "none", stroke: "var(--leader)", "stroke-width": 1.5, "stroke-linejoin": "round" }));
  }
  for (const flaw of lane.flaws) {
    const at = x(flaw.at);
    parts.push(sv("g", hover(`${flaw.judge}: ${flaw.title}\nrevision ${flaw.from} → ${flaw.to}, ${clock(flaw.at, 3)}`),
      sv("line", { x1: at, x2: at, y1: y(flaw.from), y2: y(flaw.to), stroke: "var(--bad)", "stroke-width": 3 }),
      sv("circle", { cx: at, cy: y(flaw.to), r: 6, fill: "var(--paper)", stroke: "var(--bad)", "stroke-width": 2.5 })));
  }
  const cancelled = lane.streams.filter((stream) => stream.cancelled !== null);
  put(box,
    el("h3", {}, lane.watcher, el("span", {}, `${counted(lane.events, "event", "events")}, ${counted(lane.streams.length, "stream", "streams")}`)),
    sv("svg", { viewBox: `0 0 ${wide} ${WATCH.high}`, height: WATCH.high, role: "img", "aria-label": `${lane.watcher}: ${lane.events} events on ${lane.streams.length} streams, ${lane.flaws.length} wrong` }, parts),
    lane.flaws.map((flaw) => el("p", { class: "flaw" }, `${flaw.title} (${flaw.judge}, revision ${grouped(flaw.from)} → ${grouped(flaw.to)} at ${clock(flaw.at)})`)),
    cancelled.length ? el("ul", {}, cancelled.slice(0, 3).map((stream) => el("li", {}, `cancelled at ${stream.ended === null ? "?" : clock(stream.ended)}: ${stream.reason || "no reason given"}${stream.cancelled ? `, compacted at ${grouped(stream.cancelled)}` : ""}`)), cancelled.length > 3 ? el("li", {}, `and ${cancelled.length - 3} more`) : null) : null);
}
