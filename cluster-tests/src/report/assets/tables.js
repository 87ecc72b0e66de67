// What is read, not looked at: the verdict, faults and recovery, judges, coverage, evidence.

const S = D.summary;
const C = D.control;

function commandBox(command) {
  const said = el("button", { type: "button" }, "Copy");
  said.addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(command);
    } catch {
      // A page opened from a file may not use the clipboard; a selection may be copied.
      const range = document.createRange();
      range.selectNodeContents(said.previousSibling);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      done = document.execCommand("copy");
    }
    said.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { said.textContent = "Copy"; }, 2000);
  });
  return el("div", { class: "command" }, el("code", { tabindex: 0 }, command), said);
}

function verdict() {
  const recovered = S.faults.filter((f) => f.recovers).map((f) => f.recovered);
  const never = recovered.includes(null);
  const figure = (value, unit, words, bad) => el("div", { class: bad ? "bad" : undefined }, el("dt", {}, words), el("dd", {}, value, unit ? el("small", {}, " " + unit) : null));
  const wrong = D.judges.filter((judge) => judge.verdict === "failed");
  const broken = D.judges.filter((judge) => judge.verdict === "failed" || judge.verdict === "unknown");
  const inSeconds = (us) => lasted(us).split(" ");
  const facts = [
    ["cluster", `${ABOUT.server || ABOUT.cluster}, ${ABOUT.nodes} members`],
    ["seed", String(ABOUT.seed)],
    ["workloads", ABOUT.workloads.join(", ")],
    ["carried by", ABOUT.carrier],
    ["election timeout", ABOUT["election-timeout-ms"] + " ms"],
    ["started", ABOUT.started],
    ["laboratory", ABOUT.laboratory],
    ["planted bug", ABOUT.canary],
  ];
  $("verdict").className = D.headline.overall;
  put($("verdict"),
    el("p", { class: "word" }, el("span", { class: "mark", "aria-hidden": "true" }), D.headline.word),
    el("h1", {}, D.headline.first),
    D.headline.rest ? el("p", { class: "rest" }, D.headline.rest) : null,
    broken.length ? el("ul", { class: "broken" }, broken.map(brokenPromise)) : null,
    el("dl", { class: "figures" },
      figure(grouped(S.counts.ok), null, `answers, ${grouped(S.per_second)} a second`),
      figure(String(wrong.length), `of ${D.judges.filter((judge) => judge.verdict !== "not-applicable").length}`, "promises broken", wrong.length > 0),
      figure(String(FAULTS.length), null, FAULTS.length === 1 ? "fault" : "faults"),
      figure(String(percent(S.availability.served, S.availability.of)), "%", `of ${grouped(S.availability.of)} seconds acknowledged a write`),
      recovered.length ? figure(...(never ? ["none", "seen"] : inSeconds(Math.max(...recovered))), "slowest return to service", never) : null,
      figure(...inSeconds(S.latency.p99), `p99 latency; p50 ${lasted(S.latency.p50)}`),
      figure(String(S.elections), null, S.elections === 1 ? "change of leader" : "changes of leader")),
    el("dl", { class: "facts" }, facts.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    commandBox(ABOUT.command),
    ABOUT.trouble.length ? el("ul", { class: "plain" }, ABOUT.trouble.map((trouble) => el("li", {}, trouble))) : null);
}

function brokenPromise(judge) {
  const number = D.scenes.findIndex((scene) => scene.judge === judge.judge);
  const scene = D.scenes[number];
  return el("li", { class: judge.verdict },
    el("b", {}, judge.judge), judge.verdict === "unknown" ? " could not decide. " : ". ", (scene && scene.title) || judge.summary, " ",
    scene ? el("a", { href: "#scene-" + number }, "See it ↓") : null,
    el("p", {}, "The promise: " + judge.promise));
}

function faultTable() {
  const section = $("faults");
  if (!S.faults.length) { section.hidden = true; return; }
  const longest = Math.max(1, ...FAULTS.map((f) => Math.max(f.bound, f.recovered || 0)), ...(D.same_schedule ? C.faults.map((f) => f.recovered || 0) : []));
  put(section,
    el("h2", {}, "Faults, and the way back"),
    el("p", { class: "lead" }, "Seconds of each fault in which a write was acknowledged, and how long after its end the cluster served again. The mark is the bound: eight election timeouts, and three seconds where a member has to start."),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Faults and recovery" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", {}, "fault"), el("th", {}, "when"), el("th", {}, "seconds that served"), el("th", {}, "longest silence"), el("th", {}, "back after"), el("th", { class: "number" }, "ok"), el("th", { class: "number" }, "refused"), el("th", { class: "number" }, "unknown"), el("th", { class: "number" }, "elections"))),
      el("tbody", {}, S.faults.map((fault, number) => faultLine(fault, number, longest))))));
}

function faultLine(fault, number, longest) {
  const name = el("th", { scope: "row" },
    fault.skipped ? chip(fault.family, fault.label) : el("button", { type: "button", class: "link", onclick: () => { showFault(fault); $("timeline").scrollIntoView(); } }, chip(fault.family, fault.label)),
    el("small", {}, fault.text));
  if (fault.skipped) return el("tr", { class: "skipped" }, name, el("td", { colspan: 8 }, "not done: " + fault.skipped));
  const other = D.same_schedule ? C.faults[number] : null;
  const at = (us) => Math.min(100, (100 * us) / longest) + "%";
  const late = fault.recovered === null || fault.recovered > fault.bound;
  return el("tr", {}, name,
    el("td", {}, `${clock(fault.began, 1)}`, el("small", { class: "nowrap" }, "for " + lasted(fault.ended - fault.began))),
    el("td", {}, `${fault.availability.served} of ${fault.availability.of}`, el("small", {}, fault.must_serve ? "must serve" : "may stand still"), other ? el("small", {}, `${C.cluster}: ${other.availability.served} of ${other.availability.of}`) : null),
    el("td", {}, lasted(fault.silence), other ? el("small", {}, `${C.cluster}: ${lasted(other.silence)}`) : null),
    el("td", {}, !fault.recovers ? el("span", { class: "skipped" }, "another fault lasted on")
      : [fault.recovered === null ? el("span", { class: "verdict-word failed" }, "not seen") : lasted(fault.recovered),
        el("span", { class: "track", "aria-hidden": "true" },
          el("b", { class: late ? "bad" : undefined, style: "width:" + at(fault.recovered === null ? longest : fault.recovered) }),
          other && other.recovers && other.recovered !== null ? el("u", { style: "left:" + at(other.recovered) }) : null,
          el("i", { style: `left:calc(${at(fault.bound)} - 2px)` })),
        other && other.recovers ? el("small", {}, `${C.cluster}: ${other.recovered === null ? "not seen" : lasted(other.recovered)}`) : null]),
    el("td", { class: "number" }, grouped(fault.counts.ok)),
    el("td", { class: "number" }, grouped(fault.counts.refused)),
    el("td", { class: "number" }, grouped(fault.counts.unknown)),
    el("td", { class: "number" }, String(fault.elections)));
}

function compare() {
  if (!C) return;
  const section = $("compare");
  section.hidden = false;
  const slowest = (summary) => {
    const all = summary.faults.filter((f) => f.recovers).map((f) => f.recovered);
    return !all.length ? "–" : all.includes(null) ? "not seen" : lasted(Math.max(...all));
  };
  const served = (summary) => {
    const all = summary.faults.filter((f) => !f.skipped);
    const sum = (field) => all.reduce((total, f) => total + f.availability[field], 0);
    return `${sum("served")} of ${sum("of")} s`;
  };
  const rows = [
    ["answers a second", (s) => grouped(s.per_second)],
    ["p50 latency", (s) => lasted(s.latency.p50)],
    ["p99 latency", (s) => lasted(s.latency.p99)],
    ["slowest answer", (s) => lasted(s.latency.max)],
    ["served, of the whole run", (s) => `${s.availability.served} of ${s.availability.of} s`],
    ["served, during faults", served],
    ["longest silence", (s) => lasted(s.silence)],
    ["slowest return to service", slowest],
    ["changes of leader", (s) => grouped(s.elections)],
    ["refused calls", (s) => grouped(s.counts.refused)],
    ["calls left unknown", (s) => grouped(s.counts.unknown)],
  ];
  put(section,
    el("h2", {}, "Side by side"),
    el("p", { class: "lead" }, D.same_schedule
      ? "The same faults in the same order, on the same machine; the table of faults above shows both too, this run as a bar, the other as a ring."
      : "The other run had another schedule: these numbers are of different faults, and say little of each other."),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Side by side" }, el("table", { style: "width:auto;min-width:min(100%,40rem)" },
      el("thead", {}, el("tr", {}, el("th", {}), el("th", { class: "number" }, S.server || S.cluster), el("th", { class: "number" }, C.server || C.cluster))),
      el("tbody", {}, rows.map(([words, of]) => el("tr", {}, el("th", { scope: "row" }, words), el("td", { class: "number" }, of(S)), el("td", { class: "number" }, of(C))))))));
}

const VERDICTS = { passed: "✓ held", failed: "✕ broken", unknown: "? undecided", known: "✕ known fault", "not-applicable": "– not judged" };

function judges() {
  const section = $("judges");
  const order = { failed: 0, unknown: 1, known: 2, passed: 3, "not-applicable": 4 };
  const rows = D.judges.slice().sort((a, b) => order[a.verdict] - order[b.verdict]);
  put(section,
    el("h2", {}, "Promises"),
    el("p", { class: "lead" }, "Every judge reads the same recording, and says the same of it whenever it is asked."),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Promises" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", {}, "promise"), el("th", {}, "verdict"), el("th", { class: "number" }, "evaluated"), el("th", {}, "what was found"))),
      el("tbody", {}, rows.map((judge) => el("tr", {},
        el("th", { scope: "row" }, judge.promise, el("small", {}, judge.judge)),
        el("td", { class: "verdict-word " + judge.verdict }, VERDICTS[judge.verdict]),
        el("td", { class: "number" }, judge.evaluated ? grouped(judge.evaluated) : "–"),
        el("td", {}, judge.summary, judge.margin ? el("small", {}, judge.margin) : null)))))));
}

function coverage() {
  const { workloads, rows, sometimes } = D.coverage;
  const section = $("coverage");
  const most = Math.max(1, ...rows.flatMap((row) => row.answered.flat()));
  // A cell that is empty because nobody served just then is no hole in the run; a workload that was
  // answered nothing in all of a fault is.
  const cell = (count, first, hole) => {
    const heat = count ? 0.08 + 0.6 * (Math.log(1 + count) / Math.log(1 + most)) : 0;
    return el("td", { class: (first ? "first " : "") + (hole ? "never" : count ? "" : "none"), style: count ? `background:rgb(var(--heat) / ${heat.toFixed(2)})` : undefined }, compact(count));
  };
  const heat = rows.length ? el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Answers by fault, workload and phase" }, el("table", { class: "heat" },
    el("thead", {},
      el("tr", {}, el("th", {}), el("th", { class: "number" }, "done"), workloads.map((name) => el("th", { colspan: 3, class: "first gap" }, name)), el("th", { class: "first" }, "leaders"), el("th", {}, "refused"), el("th", {}, "unknown"))),
    el("tbody", {}, rows.map((row) => el("tr", {},
      el("th", { scope: "row", title: row.skipped || undefined }, chip(row.family || "crash", row.nemesis)),
      el("td", { class: row.struck ? undefined : "never" }, row.struck ? row.struck + "×" : "never"),
      row.struck ? row.answered.map((phases) => phases.map((count, i) => cell(count, i === 0, phases.every((none) => !none)))) : el("td", { class: "first", colspan: workloads.length * 3, style: "text-align:left" }, row.skipped ? "not done: " + row.skipped : "was asked for and not done"),
      row.struck ? [cell(row.elections, true, false), cell(row.refused, false, false), cell(row.unknown, false, false)] : el("td", { colspan: 3 })))))) : null;
  put(section,
    el("h2", {}, "What was covered"),
    el("p", { class: "lead" }, "A run in which little happened proves little. Answers that each workload was given in each fault: as it struck (its first second), while it lasted, as it healed (the second after). What never happened is red."),
    heat,
    el("ul", { class: "sometimes" }, sometimes.map((one) => el("li", {}, one.what,
      one.times ? el("span", {}, grouped(one.times) + "×") : one.knowable ? el("span", { class: "never" }, "never") : el("span", { class: "untold" }, "not told")))));
}

function evidence() {
  const dir = "DIR";
  put($("evidence"),
    el("h2", {}, "Evidence"),
    el("p", { class: "lead" }, "All that was judged lies beside this page. Anybody can judge it again, offline:"),
    commandBox(`cargo run --release -p cluster-tests -- check ${dir}`),
    D.files.length ? el("div", { class: "scroll" }, el("table", { class: "files" }, el("tbody", {}, D.files.map((file) => el("tr", {},
      el("th", { scope: "row" }, el("a", { href: encodeURI(file.name) }, el("code", {}, file.name))), el("td", { class: "number" }, bytes(file.bytes)), el("td", {}, file.about)))))) : null,
    ABOUT.cannot.length ? [el("h3", {}, "What this cluster cannot express"), el("ul", { class: "plain" }, ABOUT.cannot.map((sentence) => el("li", {}, sentence)))] : null,
    el("details", {}, el("summary", {}, "The schedule"), el("pre", { class: "schedule" }, D.schedule.join("\n"))));
}
