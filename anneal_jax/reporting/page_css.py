"""The style sheets of report pages: light and dark, phone and desktop, without files or network."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1f24; --muted: #57606a; --rule: #d8dee4; --shade: #00000033;
  --accent: #005a8f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --ink: #e3e8ed; --muted: #9aa5b1; --rule: #333c46; --shade: #ffffff40;
    --accent: #6cb8ea;
  }
  figure img { filter: brightness(.9); }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.25rem 4rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  overflow-wrap: break-word;
}
h1 { margin: 0; font-size: 1rem; font-weight: 600; color: var(--accent); }
.result {
  margin: .5rem 0 2rem; max-width: 44rem;
  font-size: clamp(1.25rem, 1rem + 1.2vw, 1.65rem); line-height: 1.35; font-weight: 500;
  text-wrap: pretty;
}
h2 { margin: 3rem 0 .75rem; font-size: 1.2rem; line-height: 1.3; }
p, ul, dl { max-width: 44rem; }
code { font: .9em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
figure { margin: 1.5rem 0; max-width: 50rem; }
figure img {
  display: block; width: 100%; height: auto;
  background: #ffffff; border: 1px solid var(--rule); border-radius: 6px;
}
figcaption, .aside { margin: .5rem 0; max-width: 44rem; font-size: .9rem; color: var(--muted); }
.scroll { /* a shadow at an edge says that there is more beyond it */
  overflow-x: auto;
  background:
    linear-gradient(90deg, var(--paper) 30%, transparent) left / 2.5rem 100% local no-repeat,
    linear-gradient(270deg, var(--paper) 30%, transparent) right / 2.5rem 100% local no-repeat,
    linear-gradient(90deg, var(--shade), transparent) left / .75rem 100% no-repeat,
    linear-gradient(270deg, var(--shade), transparent) right / .75rem 100% no-repeat;
}
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { width: 100%; border-collapse: collapse; font-size: .875rem; line-height: 1.35; }
th, td {
  padding: .45rem .4rem; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; border-bottom: 1px solid var(--rule);
}
thead th { vertical-align: bottom; font-weight: 600; white-space: normal; }
thead small { display: block; font-weight: 400; color: var(--muted); }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
tbody th { font-weight: 400; }
dt { font-weight: 600; }
dd { margin: 0 0 .75rem; }
dl.pairs { max-width: none; columns: 2; column-gap: 2.5rem; font-size: .9rem; }
dl.pairs div {
  display: flex; gap: 1rem; justify-content: space-between; break-inside: avoid;
  padding: .3rem 0; border-bottom: 1px solid var(--rule);
}
dl.pairs dt { font-weight: 400; color: var(--muted); }
dl.pairs dd { margin: 0; text-align: right; min-width: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding-top: 1.5rem; }
  dl.pairs { columns: 1; }
  section ~ figure img { min-width: 34rem; } /* the curve fits, a gallery scrolls */
}
@media print { figure, tr { break-inside: avoid; } }
"""

QUERIES_CSS = (
    CSS
    + """
.queries table { max-width: 52rem; }
.queries td { padding: .3rem .2rem; text-align: left; }
.queries td:last-child, .queries th:last-child { text-align: right; }
.queries th { white-space: normal; text-align: left; }
.queries th small { display: block; color: var(--muted); }
.queries figure { display: flex; gap: 1rem; align-items: center; margin: 2rem 0 .5rem; }
.queries figcaption { color: inherit; }
.tile { position: relative; display: inline-block; }
.tile img {
  display: block; width: 4.5rem; height: 4.5rem; object-fit: cover;
  border: 4px solid; border-radius: 4px;
}
.tile img[src^="data:image/png"] { image-rendering: pixelated; } /* tiny tiles, pixel by pixel */
.tile.id { display: block; white-space: normal; overflow-wrap: anywhere; text-align: left; }
.tile b {
  position: absolute; right: 2px; bottom: 2px; width: 1.2rem; border-radius: .6rem;
  color: #ffffff; line-height: 1.2rem; text-align: center; font-size: .8rem;
}
.tile.id b { position: static; display: inline-block; margin-right: .3rem; }
.right img { border-color: #007a5a; } .right b { background: #007a5a; }
.wrong img { border-color: #c44601; } .wrong b { background: #c44601; }
@media (max-width: 40rem) {
  .queries thead { display: none; }
  .queries tr {
    display: grid; grid-template-columns: repeat(5, 1fr) 2.6rem; align-items: center;
    border-bottom: 1px solid var(--rule);
  }
  .queries tbody th { grid-column: 1 / -1; padding-bottom: 0; }
  .queries tbody th, .queries td { border-bottom: 0; }
  .queries th small { display: inline; }
  td .tile, td .tile img { width: 100%; } td .tile img { height: auto; aspect-ratio: 1; }
  td .tile.id { font-size: .7rem; }
}
@media print { .tile b { print-color-adjust: exact; } }
"""
)
"""Style sheet of the page of queries."""
