"""The report's page: one jinja template. The page stands alone: plots are inline SVG, videos are embedded."""

from jinja2 import Environment, StrictUndefined

TEMPLATE = """\
<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>{{ title }}</title><style>
body{font:16px/1.55 system-ui,"Segoe UI",sans-serif;color:#1d2733;background:#fff;max-width:1080px;margin:44px auto;
  padding:0 24px}
h1{font-size:32px;line-height:1.2;margin:0 0 6px}
h2{font-size:21px;margin:48px 0 14px;border-bottom:1px solid #dde3ea;padding-bottom:6px}
p.sub,p.note,figcaption,summary{color:#5b6b7c}p.sub{margin:0}p.note,figcaption,summary,pre{font-size:14px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:9px 12px;border-bottom:1px solid #e6ebf0;white-space:nowrap}
th{color:#5b6b7c;font-weight:600;font-size:14px}td i{color:#5b6b7c;font-style:normal;font-size:14px}
th:first-child,td:first-child{text-align:left;white-space:normal}
.two{display:grid;grid-template-columns:1fr 1fr;gap:26px 22px;align-items:start}
figure{margin:0}video{display:block;width:100%;border-radius:8px;background:#000;margin-bottom:6px}
svg{width:100%;height:auto}svg.timeline{height:96px;display:block;cursor:col-resize;touch-action:none}
.timeline .good{fill:#cfe8d8}.timeline .bad{fill:#f3f5f7}.timeline .now{stroke:#b8402f;stroke-width:2}
.timeline polyline{fill:none;stroke:#1d2733;stroke-width:2;vector-effect:non-scaling-stroke}
b.good{color:#2f7d4f}b.bad{color:#b8402f}
@media(max-width:720px){.two{grid-template-columns:1fr}table{font-size:14px}}
</style>
<h1>{{ title }}</h1><p class=sub>{{ made_by }}</p>
{%- macro plot(svg, caption) %}<figure>{{ svg|safe }}<figcaption>{{ caption }}</figcaption></figure>{% endmacro %}
{%- macro shown(video) %}<figure><video controls autoplay loop muted playsinline
src="data:video/mp4;base64,{{ video.data }}"></video>{{ video.timeline|safe }}<figcaption>{{ video.caption }}:
{% if video.success is none %}cut off, no outcome{% elif video.success %}<b class=good>success</b>
{%- else %}<b class=bad>failure</b>{% endif %}</figcaption></figure>
{%- endmacro %}
{%- if evaluations %}
<h2>Success and throughput</h2>
<table><tr><th>policy<th>episodes<th>success<th>successes an hour<th>time of a success</tr>
{%- for name, row in evaluations.items() %}
<tr><td>{{ name }}<td>{{ row.n }}
<td>{{ "{:.1%}".format(row.success_rate) }} <i>({{ "{:.1%} to {:.1%}".format(row.ci_low, row.ci_high) }})</i>
<td>{{ "{:.0f}".format(row.throughput_per_hour) }}
<i>({{ "{:.0f} to {:.0f}".format(row.throughput_ci_low, row.throughput_ci_high) }})</i>
<td>{{ "-" if row.mean_time_s is none else "{:.1f} s".format(row.mean_time_s) }}</tr>
{%- endfor %}</table>
<p class=note>95 % intervals: Wilson for success, bootstrap over episodes for throughput, or Wilson where all
or none succeeded. {{ note }}</p>
<div class=two>{% for svg, caption in bars %}{{ plot(svg, caption) }}{% endfor %}</div>
{%- endif %}
{%- if trainings %}
<h2>Training</h2><div class=two>{% for svg, caption in trainings %}{{ plot(svg, caption) }}{% endfor %}</div>
{%- endif %}
{%- for section, svg in sections %}
<h2>{{ section.title }}</h2><div class=two>
{%- if svg %}{{ plot(svg, section.caption) }}{% endif %}
{%- if section.rows %}<table>
{%- if section.columns %}<tr>{% for column in section.columns %}<th>{{ column }}{% endfor %}</tr>{% endif %}
{%- for row in section.rows %}<tr>{% for cell in row %}<td>{{ cell }}{% endfor %}</tr>{% endfor %}</table>
{%- endif %}</div>
{%- endfor %}
{%- for title, text, videos in video_sections %}
<h2>{{ title }}</h2><p>{{ text }}</p><div class=two>{% for video in videos %}{{ shown(video) }}{% endfor %}</div>
{%- endfor %}
{%- if config %}
<h2>How it was made</h2><details><summary>all options</summary><pre>{{ config }}</pre></details>
{%- endif %}
{%- if timelines %}
<script>
for (const plot of document.querySelectorAll("svg.timeline")) {
  const video = plot.parentElement.querySelector("video"), now = plot.querySelector(".now")
  const width = plot.viewBox.baseVal.width
  const follow = () => {
    const x = width * (video.currentTime / video.duration || 0)
    now.setAttribute("x1", x); now.setAttribute("x2", x)
    requestAnimationFrame(follow)
  }
  const seek = event => {
    if (!event.buttons) return
    const place = plot.getBoundingClientRect()
    video.pause()
    video.currentTime = video.duration * Math.min(Math.max((event.clientX - place.left) / place.width, 0), 0.999)
  }
  plot.onpointerdown = plot.onpointermove = seek
  follow()
}
</script>
{%- endif %}
"""


def render(**content) -> str:
    """Return the page; every text in `content` is escaped, plots are not."""
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE).render(**content)
