"""What a browser shows of `sim.teleop.page`: one HTML page that asks for the newest step five times a second.

Whatever comes from outside, the instruction above all, is set as text, never as HTML.
"""

HTML = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>robot</title><style>
body{font:16px/1.45 system-ui,"Segoe UI",sans-serif;margin:0;background:#12161b;color:#dfe5ec}
main{max-width:1180px;margin:0 auto;padding:22px 24px}
h1{font-size:26px;line-height:1.25;margin:0}p{margin:4px 0 0;min-height:1.45em;color:#9fb0c3}
.line{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0}
.line span{padding:4px 12px;border-radius:14px;background:#222a33;font-size:14px}
.line .good{background:#1d4a32;color:#b9f0cf}.line .warn{background:#5a4313;color:#ffe2a6}
.line .bad{background:#6d221c;color:#ffd5d0}
#cameras{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:16px}
figure{margin:0}img{width:100%;display:block;border-radius:10px;image-rendering:pixelated;background:#000}
figcaption,h2{font-size:13px;font-weight:600;color:#9fb0c3;margin:6px 0 0}
#cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:16px;margin-top:18px}
section{background:#1a2028;border-radius:10px;padding:12px 16px}
table{width:100%;border-collapse:collapse;font-size:15px;font-variant-numeric:tabular-nums}
td{padding:4px 0;text-align:right}td:first-child{text-align:left;color:#9fb0c3}
</style><main><h1 id=instruction></h1><p id=subtask></p><div class=line id=status></div><div id=cameras></div>
<div id=cards><section><h2>found</h2><table id=found></table></section>
<section><h2>joints, and what the guard changed</h2><table id=joints></table></section>
<section><h2>motion guard</h2><table id=guard></table></section></div></main><script>
const element = id => document.getElementById(id);
let cameras = "";
function make(kind, text, name) {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = name || "";
  return made;
}
function fill(id, rows, none) {
  element(id).replaceChildren(...(rows.length ? rows : [[none]]).map(row => {
    const line = document.createElement("tr");
    line.append(...row.map(cell => make("td", cell)));
    return line;
  }));
}
function show(now) {
  element("instruction").textContent = now.instruction;
  element("subtask").textContent = now.subtask ? "now: " + now.subtask : "";
  if (cameras !== now.cameras.join()) {
    cameras = now.cameras.join();
    element("cameras").replaceChildren(...now.cameras.map(name => {
      const figure = document.createElement("figure"), image = document.createElement("img");
      image.src = "/image/" + encodeURIComponent(name);
      figure.append(image, make("figcaption", name + " camera"));
      return figure;
    }));
  }
  if (!now.actor) return;
  const old = now.age_s > 0.2, stopped = now.guard_latched;
  element("status").replaceChildren(
    make("span", now.actor + " acts", now.actor === "the policy" ? "" : "warn"),
    make("span", stopped ? "stopped by the motion guard: " + stopped : "motion guard: free", stopped ? "bad" : "good"),
    make("span", "images " + Math.round(1e3 * now.age_s) + " ms old", old ? "warn" : ""),
    make("span", "gripper " + Math.round(100 * now.gripper_open) + " % open"),
    ...(now.success ? [make("span", "success", "good")] : []));
  fill("found", Object.entries(now.found).map(([name, one]) =>
    [name, one.pos_m.map(x => x.toFixed(3)).join(", ") + " m", "within " + one.within_mm_95 + " mm"]),
    "this policy does not say where things are");
  fill("joints", now.joints_deg.map((angle, i) => {
    const change = now.requested_minus_executed_deg[i];
    return ["J" + (i + 1), angle.toFixed(1) + "\\u00b0", change ? (change > 0 ? "+" : "") + change.toFixed(2) : ""];
  }), "");
  fill("guard", Object.entries(now.guard).map(([reason, times]) => [reason, "\\u00d7 " + times]),
    "nothing was changed in this episode");
}
async function update() {
  try {
    show(await (await fetch("/now")).json());
  } catch (error) {
    element("status").replaceChildren(make("span", "the program has ended", "bad"));
    return;
  }
  setTimeout(update, 200);
}
update();
</script></html>"""
