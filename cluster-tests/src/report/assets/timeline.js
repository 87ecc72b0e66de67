// One picture, one time axis: faults, nodes, seconds that served, throughput, latency.

const CHART = { left: 62, right: 12, fault: 18, node: 46, role: 18 };
const LATENCY_LEAST = 100;

/// Rows for faults that overlap.
function packed(faults) {
  const ends = [];
  return faults.map((fault) => {
    let row = ends.findIndex((end) => end <= fault.began);
    if (row < 0) row = ends.push(0) - 1;
    ends[row] = fault.ended;
    return { fault, row };
  });
}

function timeline() {
  const section = $("timeline");
  const charts = el("div", { class: "charts" });
  const slider = el("input", { type: "range", min: 0, "aria-label": "Moment of the run, in seconds", step: "any" });
  const graph = el("div", { class: "graph" });
  const readout = el("div", { class: "readout" });
  const back = el("button", { type: "button", onclick: () => zoom(0, D.end) }, "Whole run");
  const said = el("span", { class: "grow" });
  const thinned = [];
  if (D.load.dots.length < D.load.dots_of) {
    thinned.push(`Of ${grouped(D.load.dots_of)} calls ${grouped(D.load.dots.length)} are drawn as dots: the slowest of every ${lasted(D.load.width)} and an even share of the others; lines and sums are of all.`);
  }
  if (D.strip.weather_of) {
    thinned.push(`Of ${grouped(D.strip.weather_of)} changes of links ${grouped(D.strip.weather.length)} are here.`);
  }
  put(section,
    el("h2", {}, "What happened"),
    el("p", { class: "lead" }, "Move over the picture, or the slider, to see who could talk to whom. Drag to look closer; select a fault to see it alone."),
    el("div", { class: "stage" },
      el("div", {},
        el("div", { class: "tools" }, said, back),
        el("div", { class: "slider" }, slider),
        charts,
        el("ul", { class: "legend" },
          ["leader", "follower", "candidate", "learner", "paused", "down"].map((role) => el("li", {}, swatch(role), ROLES[role])),
          Object.entries(FAMILIES).filter(([family]) => FAULTS.some((fault) => fault.family === family)).map(([family, words]) => el("li", {}, el("span", { class: "swatch", style: `background:${ofFamily(family)}` }), words)),
          el("li", {}, "◆ snapshot installed"),
          el("li", {}, "▲ started anew")),
        el("p", { class: "note" }, "In each member's lane: the role it said it was in, with its term, and below it the applied (filled) and committed (line) log index; a lane that stays flat while others rise was cut off from what they agreed on. ", thinned.join(" "))),
      el("div", { class: "aside" }, graph, readout)));

  let chart = null;
  const draw = () => {
    chart = drawChart(charts);
    slider.min = view.from;
    slider.max = view.to;
    slider.style.left = chart.left - 8 + "px";
    slider.style.width = chart.width + 16 + "px";
    back.disabled = whole();
    said.textContent = whole() ? "" : `${clock(view.from, 1)} to ${clock(view.to, 1)}`;
  };
  view.redraws.push(draw);
  view.watchers.push(() => {
    slider.value = view.at;
    slider.setAttribute("aria-valuetext", clock(view.at));
    const x = chart ? chart.x(view.at) : 0;
    if (chart) {
      chart.cursor.setAttribute("x1", x);
      chart.cursor.setAttribute("x2", x);
      chart.cursor.style.display = view.at < view.from || view.at > view.to ? "none" : "";
    }
    drawGraph(graph);
    drawReadout(readout);
  });
  slider.addEventListener("input", () => moveTo(Number(slider.value)));
  slider.addEventListener("keydown", (event) => {
    const step = (view.to - view.from) / (event.shiftKey ? 20 : 200);
    const steps = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageDown: -10 * step, PageUp: 10 * step };
    if (event.key in steps) {
      event.preventDefault();
      moveTo(view.at + steps[event.key]);
    }
  });
  brushing(charts, () => chart);
  new ResizeObserver(() => { draw(); moveTo(view.at); }).observe(charts);
}

function brushing(charts, current) {
  let from = null;
  const timeAt = (event) => {
    const chart = current();
    const x = event.clientX - charts.getBoundingClientRect().left;
    return view.from + ((x - chart.left) / chart.width) * (view.to - view.from);
  };
  const clamp = (at) => Math.max(view.from, Math.min(view.to, at));
  charts.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType === "mouse") from = { at: clamp(timeAt(event)), x: event.clientX };
  });
  charts.addEventListener("pointermove", (event) => {
    const at = clamp(timeAt(event));
    moveTo(at);
    const brush = current().brush;
    const drags = from && Math.abs(event.clientX - from.x) > 4;
    brush.style.display = drags ? "" : "none";
    if (drags) {
      const [a, b] = [current().x(Math.min(at, from.at)), current().x(Math.max(at, from.at))];
      brush.setAttribute("x", a);
      brush.setAttribute("width", b - a);
    }
  });
  addEventListener("pointerup", (event) => {
    if (!from) return;
    const start = from;
    from = null;
    current().brush.style.display = "none";
    if (Math.abs(event.clientX - start.x) > 4) {
      const at = clamp(timeAt(event));
      zoom(Math.min(at, start.at), Math.max(at, start.at));
    } else {
      const fault = event.target.closest ? event.target.closest("[data-fault]") : null;
      if (fault) showFault(FAULTS[Number(fault.dataset.fault)]);
    }
  });
  charts.addEventListener("dblclick", () => zoom(0, D.end));
}

function showFault(fault) {
  const around = Math.max(1e6, (fault.ended - fault.began) / 3);
  zoom(fault.began - around, fault.ended + around);
  moveTo(fault.began);
}

function drawChart(box) {
  const outer = box.clientWidth;
  const left = outer < 560 ? 48 : CHART.left;
  const width = Math.max(50, outer - left - CHART.right);
  const x = (at) => left + ((at - view.from) / (view.to - view.from)) * width;
  const seen = (from, to) => to >= view.from && from <= view.to;
  const span = (from, to) => {
    const [a, b] = [Math.max(x(from), left), Math.min(x(to), left + width)];
    return { x: a, width: Math.max(b - a, 0.75) };
  };
  const parts = [];
  let y = 4;

  const rows = packed(FAULTS);
  const deep = rows.length ? Math.max(...rows.map((row) => row.row)) + 1 : 0;
  const faultsAt = y;
  y += deep * (CHART.fault + 3) + (deep ? 8 : 0);
  const nodesAt = y;
  y += D.strip.nodes.length * CHART.node + 6;
  const servedAt = y;
  y += 30;
  const rateAt = y;
  const rateHigh = 84;
  y += rateHigh + 26;
  const latencyAt = y;
  const latencyHigh = 150;
  y += latencyHigh;
  const high = y + 24;

  // Faults shade all that happened below them.
  rows.forEach(({ fault, row }, number) => {
    if (!seen(fault.began, fault.ended)) return;
    const at = span(fault.began, fault.ended);
    const top = faultsAt + row * (CHART.fault + 3);
    parts.push(sv("rect", { ...at, y: top, height: latencyAt + latencyHigh - top, fill: ofFamily(fault.family), opacity: 0.1 }));
    // A name may run on to the next fault of its row.
    const next = rows.slice(number + 1).find((other) => other.row === row);
    const room = (next ? Math.min(x(next.fault.began), left + width) : left + width) - at.x;
    const fits = room > fault.label.length * 6.6 + 14;
    parts.push(sv("g", { class: "fault", "data-fault": number, ...hover(`${fault.label}, ${clock(fault.began, 1)} to ${clock(fault.ended, 1)}\n${fault.text}`) },
      sv("rect", { ...at, y: top, height: CHART.fault, rx: 2, fill: ofFamily(fault.family), opacity: fits ? 0.24 : 0.9 }),
      sv("rect", { x: at.x, y: top, width: Math.min(3, at.width), height: CHART.fault, fill: ofFamily(fault.family) }),
      fits ? sv("text", { x: at.x + 8, y: top + 13, class: "strong" }, fault.label) : null));
  });

  parts.push(drawNodes(x, seen, span, nodesAt, left, width));

  // Seconds that served.
  label(parts, left, servedAt + 12, outer < 560 ? "acks" : "writes ok");
  D.load.served.forEach((served, second) => {
    const [from, to] = [second * 1e6, Math.min((second + 1) * 1e6, D.stopped)];
    if (!seen(from, to)) return;
    const at = span(from, to);
    const gap = at.width > 4 ? 1 : 0;
    parts.push(sv("rect", { x: at.x, width: at.width - gap, y: servedAt + 3, height: 10, rx: gap, fill: served ? "var(--good)" : "var(--paper)", stroke: served ? "none" : "var(--bad)", opacity: served ? 0.75 : 1 }));
  });

  drawRate(parts, x, seen, left, width, rateAt, rateHigh);
  const dots = drawLatency(parts, x, seen, left, width, latencyAt, latencyHigh);

  const { at: marks, step } = ticks(view.from, view.to, Math.max(2, width / 90));
  for (const at of marks) {
    parts.push(sv("line", { class: "axis", x1: x(at), x2: x(at), y1: latencyAt + latencyHigh, y2: latencyAt + latencyHigh + 4 }));
    parts.push(sv("text", { x: x(at), y: high - 6, "text-anchor": x(at) > left + width - 12 ? "end" : "middle" }, (at / 1e6).toFixed(step < 1e6 ? (step < 1e5 ? 2 : 1) : 0) + " s"));
  }
  for (const scene of D.scenes) {
    if (scene.at === null || !seen(scene.at, scene.at)) continue;
    const at = x(scene.at);
    parts.push(sv("g", hover(`${scene.judge}: ${scene.title}`),
      sv("line", { x1: at, x2: at, y1: nodesAt, y2: latencyAt + latencyHigh, stroke: "var(--bad)", "stroke-width": 1.5 }),
      sv("path", { d: `M${at - 6},${nodesAt - 9}h12l-6,9z`, fill: "var(--bad)" })));
  }
  const cursor = sv("line", { class: "cursor", y1: 0, y2: latencyAt + latencyHigh, "pointer-events": "none" });
  const brush = sv("rect", { class: "brush", y: 0, height: latencyAt + latencyHigh, style: "display:none" });
  const canvas = el("canvas", { "aria-hidden": "true" });
  put(box,
    sv("svg", { viewBox: `0 0 ${outer} ${high}`, height: high, role: "img", "aria-label": spokenTimeline() }, parts, brush, cursor), canvas);
  paintDots(canvas, outer, high, dots);
  return { x, left, width, cursor, brush };
}

const spokenTimeline = () =>
  `Timeline of ${clock(D.end, 0)}: ${FAULTS.map((f) => `${f.label} from ${clock(f.began, 1)} to ${clock(f.ended, 1)}`).join("; ") || "no faults"}. The tables below hold the same numbers.`;

function label(parts, left, y, text, strong) {
  parts.push(sv("text", { x: left - 10, y, "text-anchor": "end", class: strong ? "strong" : undefined }, text));
}

function drawNodes(x, seen, span, top, left, width) {
  const group = sv("g", {});
  const most = Math.max(1, ...D.strip.nodes.flatMap((node) => node.positions.map((p) => Math.max(p[1], p[2], p[3]))));
  D.strip.nodes.forEach((node, number) => {
    const y = top + number * CHART.node;
    const parts = [];
    label(parts, left, y + 13, "n" + node.node, true);
    parts.push(sv("line", { class: "grid", x1: left, x2: left + width, y1: y + CHART.role / 2, y2: y + CHART.role / 2, "stroke-dasharray": "1 4" }));
    for (const s of node.spans) {
      if (!seen(s.from, s.to)) continue;
      const at = span(s.from, s.to);
      parts.push(sv("rect", { ...at, y, height: CHART.role, fill: ofRole(s.role), ...hover(`n${node.node}: ${ROLES[s.role] || s.role}${s.term ? ", term " + s.term : ""}\n${clock(s.from)} to ${clock(s.to)}`) }));
      if (s.term && at.width > 22) {
        const on = s.role === "leader" ? "fill:var(--on-leader)" : s.role === "candidate" ? "fill:#15181d" : undefined;
        parts.push(sv("text", { x: at.x + 5, y: y + 13, style: on, "pointer-events": "none" }, s.role === "leader" && at.width > 80 ? `term ${s.term}` : String(s.term)));
      }
    }
    for (const [from, to, share] of node.slowed) {
      if (!seen(from, to)) continue;
      parts.push(sv("rect", { ...span(from, to), y: y + CHART.role - 3, height: 3, fill: "var(--pause)", ...hover(`${share}% of a processor`) }));
    }
    // Applied is filled, committed a line: where it leaves the filled shape, agreed entries wait.
    const [floor, room] = [y + CHART.node - 5, CHART.node - CHART.role - 9];
    const points = node.positions.filter((p, i, all) => seen((all[i - 1] || p)[0], (all[i + 1] || p)[0]));
    if (points.length > 1) {
      const heightOf = (index) => floor - (index / most) * room;
      const inside = (at) => Math.max(left, Math.min(left + width, x(at)));
      const line = (field) => points.map((p) => `${inside(p[0]).toFixed(1)},${heightOf(p[field]).toFixed(1)}`).join("L");
      parts.push(sv("path", { d: `M${inside(points[0][0])},${floor}L${line(3)}L${inside(points[points.length - 1][0])},${floor}Z`, fill: "var(--leader)", opacity: 0.16 }));
      parts.push(sv("path", { d: "M" + line(2), fill: "none", stroke: "var(--leader)", "stroke-width": 1.25, opacity: 0.8 }));
    }
    parts.push(sv("line", { class: "grid", x1: left, x2: left + width, y1: floor, y2: floor }));
    for (const [at, count] of node.snapshots) {
      if (seen(at, at)) parts.push(sv("path", { d: `M${x(at)},${y + CHART.role + 1}l5,5l-5,5l-5,-5z`, fill: "var(--ink)", ...hover(`n${node.node}: snapshot ${count} installed, ${clock(at)}`) }));
    }
    for (const at of node.boots) {
      if (seen(at, at)) parts.push(sv("path", { d: `M${x(at)},${y + CHART.role + 1}l5,8h-10z`, fill: "var(--soft)", ...hover(`n${node.node}: started anew, ${clock(at)}`) }));
    }
    group.append(...parts);
  });
  return group;
}

function drawRate(parts, x, seen, left, width, top, high) {
  const load = D.load;
  const scale = 1e6 / load.width;
  const whole = load.ok.map((ok, i) => (ok + load.refused[i] + load.unknown[i]) * scale);
  const most = Math.max(1, ...whole);
  const y = (value) => top + high - (value / most) * high;
  for (const value of ticks(0, most, 2).at) {
    parts.push(sv("line", { class: "grid", x1: left, x2: left + width, y1: y(value), y2: y(value) }));
    label(parts, left, y(value) + 4, compact(value));
  }
  parts.push(sv("text", { x: left + 4, y: top - 6, class: "strong" }, "Calls per second"));
  const layer = (values, below, fill, opacity) => {
    const edges = [[], []];
    values.forEach((value, i) => {
      const [from, to] = [i * load.width, (i + 1) * load.width];
      if (!seen(from, to)) return;
      const inside = (at) => Math.max(left, Math.min(left + width, x(at))).toFixed(1);
      edges[0].push(`${inside(from)},${y(below[i] + value).toFixed(1)} ${inside(to)},${y(below[i] + value).toFixed(1)}`);
      edges[1].unshift(`${inside(to)},${y(below[i]).toFixed(1)} ${inside(from)},${y(below[i]).toFixed(1)}`);
    });
    if (edges[0].length && values.some((value) => value > 0)) parts.push(sv("polygon", { points: edges[0].join(" ") + " " + edges[1].join(" "), fill, opacity }));
  };
  const scaled = (values) => values.map((value) => value * scale);
  const [ok, refused, unknown] = [scaled(load.ok), scaled(load.refused), scaled(load.unknown)];
  layer(ok, ok.map(() => 0), "var(--leader)", 0.55);
  layer(refused, ok, "var(--faint)", 0.7);
  layer(unknown, ok.map((value, i) => value + refused[i]), "var(--doubt)", 0.9);
  legendAt(parts, left + width, top - 6, [["ok", "var(--leader)"], ["refused", "var(--faint)"], ["unknown", "var(--doubt)"]]);
}

/// Words of a legend, right-aligned in one line.
function legendAt(parts, right, y, words) {
  let x = right;
  for (const [word, fill] of words.slice().reverse()) {
    const wide = word.length * 6.2;
    parts.push(sv("text", { x: x - wide, y }, word));
    parts.push(sv("rect", { x: x - wide - 13, y: y - 8, width: 9, height: 9, rx: 2, fill }));
    x -= wide + 26;
  }
}

function drawLatency(parts, x, seen, left, width, top, high) {
  const load = D.load;
  const most = Math.max(LATENCY_LEAST * 10, ...load.max, ...load.dots.map((dot) => dot[1]));
  const logOf = (us) => Math.log10(Math.max(us, LATENCY_LEAST));
  const [low, up] = [logOf(LATENCY_LEAST), logOf(most)];
  const y = (us) => top + high - ((logOf(us) - low) / (up - low)) * high;
  for (let us = LATENCY_LEAST; us <= most; us *= 10) {
    parts.push(sv("line", { class: "grid", x1: left, x2: left + width, y1: y(us), y2: y(us) }));
    label(parts, left, y(us) + 4, us < 1000 ? us + " µs" : us < 1e6 ? us / 1000 + " ms" : us / 1e6 + " s");
  }
  parts.push(sv("text", { x: left + 4, y: top - 6, class: "strong" }, "Latency of calls"));
  const line = (values, stroke, wide, dash) => {
    let path = "";
    let pen = "M";
    values.forEach((value, i) => {
      const at = (i + 0.5) * load.width;
      if (!value || !seen(at, at)) { pen = "M"; return; }
      path += `${pen}${x(at).toFixed(1)},${y(value).toFixed(1)}`;
      pen = "L";
    });
    if (path) parts.push(sv("path", { d: path, fill: "none", stroke, "stroke-width": wide, "stroke-dasharray": dash, "stroke-linejoin": "round", "pointer-events": "none" }));
  };
  line(load.max, "var(--faint)", 1, "1 3");
  line(load.p99, "var(--ink)", 1.25);
  line(load.p50, "var(--leader)", 2);
  legendAt(parts, left + width, top - 6, [["p50", "var(--leader)"], ["p99", "var(--ink)"], ["max", "var(--faint)"]]);
  return { x, y, seen };
}

function paintDots(canvas, wide, high, { x, y, seen }) {
  const ratio = devicePixelRatio || 1;
  canvas.width = wide * ratio;
  canvas.height = high * ratio;
  canvas.style.width = wide + "px";
  canvas.style.height = high + "px";
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.scale(ratio, ratio);
  const inks = [colour("leader"), colour("faint"), colour("doubt")];
  const alphas = [D.load.dots.length > 3000 ? 0.22 : 0.35, 0.7, 0.9];
  for (const outcome of [0, 1, 2]) {
    pen.fillStyle = inks[outcome];
    pen.strokeStyle = inks[outcome];
    pen.globalAlpha = alphas[outcome];
    for (const [at, latency, of] of D.load.dots) {
      if (of !== outcome || !seen(at, at)) continue;
      const [px, py] = [x(at), y(latency)];
      if (outcome === 0) pen.fillRect(px - 1, py - 1, 2, 2);
      else if (outcome === 1) pen.fillRect(px - 1.5, py - 1.5, 3, 3);
      else {
        pen.beginPath();
        pen.moveTo(px - 2.5, py - 2.5); pen.lineTo(px + 2.5, py + 2.5);
        pen.moveTo(px + 2.5, py - 2.5); pen.lineTo(px - 2.5, py + 2.5);
        pen.stroke();
      }
    }
  }
}
