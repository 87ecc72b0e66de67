// The page: every part once, then again whenever the moment, the width or the theme changes.

const PARTS = [
  ["verdict", "Verdict", verdict],
  ["violations", "What is wrong", violations],
  ["timeline", "What happened", timeline],
  ["faults", "Faults", faultTable],
  ["compare", "Side by side", compare],
  ["judges", "Promises", judges],
  ["watches", "Watchers", watches],
  ["coverage", "Coverage", coverage],
  ["evidence", "Evidence", evidence],
];

document.body.append(patterns());
for (const [, , draw] of PARTS) draw();
put($("links"), ...PARTS.filter(([id]) => !$(id).hidden).map(([id, words]) => el("a", { href: "#" + id }, words)));

// The cursor starts where there is something to see: in the middle of the first wrong thing, or fault.
const first = D.scenes.find((scene) => scene.at !== null);
const fault = FAULTS[0];
view.at = first ? first.at : fault ? (fault.began + fault.ended) / 2 : 0;
redraw();

function restyle() {
  style = getComputedStyle(document.documentElement);
  redraw();
}
const KEPT = "quorate-report-theme";
function kept(value) {
  // Where a page may not store anything, the choice lasts as long as the page.
  try {
    if (value) localStorage.setItem(KEPT, value);
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}
const chosen = kept();
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", restyle);
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  kept(document.documentElement.dataset.theme);
  restyle();
});
addEventListener("scroll", untip, { passive: true });
if (chosen) restyle();
