"""What the page of queries adds to the style sheet of a report page."""

from anneal_jax.reporting.page_css import CSS

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
